"""Keysets from the ledger, through the vault, against Tink; with a restart between any two steps."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import tink
from sqlalchemy import func, select, update

from ingest.app import App
from ingest.errors import AlreadyThere, LedgerConflict, RotationRefused, StillNeeded
from ingest.installation import Choices, initialise
from ingest.keyset_custody import (
    Stored,
    active_request_keysets,
    add_response_keyset,
    export_request_keyset,
    make_request_keyset,
    remove_keyset,
    response_keyset,
)
from ingest.ledger.audit import lines
from ingest.ledger.sealed import REQUEST_KEYSET
from ingest.ledger.tables import keysets
from ingest.rotation import rotate
from ingest.settings import load_settings
from keystore.errors import HpkeCannotOpen, KeysetRejected, MasterKeyWrong, RecordTampered
from keystore.hpke import Kem
from keystore.secret import Secret
from keystore.tink_keyset import OutputPrefix, PrivateKeyset
from tests.hpke import oracle

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEEP = timedelta(days=30)
MOMENT = timedelta(microseconds=1)
PLAIN = b'{"d": [{"identity": "Zq7-canary@example.com"}]}'
Result = TypeVar("Result")


class Office:
    """An installation whose process starts anew for every deed; the clock is set by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = START

    def do(self, deed: Callable[[App], Result]) -> Result:
        with closing(App(load_settings(self.folder / "sealdrop.toml"), now=lambda: self.now)) as app:
            return deed(app)

    def make(self, account: str = "acme", *, kem: Kem = Kem.X25519, rotate: bool = False) -> Stored:
        return self.do(
            lambda app: make_request_keyset(app, account, kem=kem, rotate=rotate, keep_former=KEEP, actor="test")
        )

    def add(self, data: bytes) -> Stored:
        return self.do(lambda app: add_response_keyset(app, "acme", data, keep_former=KEEP, actor="test"))

    def sealed_by_tink(self, account: str = "acme") -> bytes:
        """A request, as a customer makes it of the keyset that we hand out."""
        exported = self.do(lambda app: export_request_keyset(app, account, actor="test")).as_json()
        return oracle.seal(oracle.read_public(exported), PLAIN, account)

    def opened(self, sealed: bytes, account: str = "acme") -> tuple[str, bytes]:
        opened = self.do(lambda app: active_request_keysets(app, account).open(sealed, account, app.now()))
        return opened.slot, opened.plain


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original") / "installation"
    with closing(App(initialise(folder, Choices(host="127.0.0.1", port=2222, mail_host="", mail_port=587)))) as app:
        for account in ("acme", "other"):
            app.accounts.add(account, now=START, actor="test")
    return folder


@pytest.fixture
def office(original: Path, tmp_path: Path) -> Office:
    shutil.copytree(original, tmp_path / "installation")
    return Office(tmp_path / "installation")


@pytest.mark.parametrize("kem", Kem)
def test_tink_seals_to_what_we_hand_out_and_we_open_it_through_the_ledger(office: Office, kem: Kem) -> None:
    """FAULTS H1, H4."""
    office.make(kem=kem)
    sealed = office.sealed_by_tink()
    assert office.opened(sealed) == ("primary", PLAIN)
    office.make("other", kem=kem)
    with pytest.raises(HpkeCannotOpen):
        office.opened(sealed, "other")


def test_previous_opens_until_its_end_date_and_then_fails(office: Office) -> None:
    """FAULTS H7: with a restart between any two steps."""
    first = office.make()
    before = office.sealed_by_tink()
    office.now += timedelta(days=400)
    second = office.make(rotate=True)
    end = office.now + KEEP
    assert second.former == dataclasses.replace(first.keyset, slot="previous", until=end)
    after = office.sealed_by_tink()
    assert office.opened(before) == ("previous", PLAIN)
    office.now = end - MOMENT
    assert office.opened(before) == ("previous", PLAIN)
    with pytest.raises(RotationRefused):
        office.make(rotate=True)
    office.now = end
    with pytest.raises(HpkeCannotOpen):
        office.opened(before)
    assert office.opened(after) == ("primary", PLAIN)
    office.make(rotate=True)
    assert office.opened(after) == ("previous", PLAIN)


def test_process_that_runs_on_sees_the_end_too(office: Office) -> None:
    """FAULTS H7: what was opened before the end date opens nothing after it."""
    office.make()
    before = office.sealed_by_tink()
    office.make(rotate=True)
    active = office.do(lambda app: active_request_keysets(app, "acme"))
    assert active.open(before, "acme", START + KEEP - MOMENT).slot == "previous"
    with pytest.raises(HpkeCannotOpen):
        active.open(before, "acme", START + KEEP)


def test_keyset_that_has_ended_is_not_even_unsealed(office: Office) -> None:
    office.make()
    office.make(rotate=True)
    sealed = office.sealed_by_tink()
    with_damage = update(keysets).where(keysets.c.slot == "previous").values(public_keyset=b"")
    primary_half = select(keysets.c.sealed_private_keyset).where(keysets.c.slot == "primary").scalar_subquery()
    office.do(lambda app: execute(app, with_damage.values(sealed_private_keyset=primary_half)))
    with pytest.raises(RecordTampered):
        office.opened(sealed)
    office.now += KEEP
    assert office.opened(sealed) == ("primary", PLAIN)


def execute(app: App, statement: object) -> None:
    with app.database.write() as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def test_previous_that_is_removed_opens_nothing_more_and_primary_stays(office: Office) -> None:
    """FAULTS H7: destroyed before its end."""
    first = office.make().keyset
    before = office.sealed_by_tink()
    second = office.make(rotate=True).keyset
    office.do(lambda app: remove_keyset(app, first, actor="test"))
    with pytest.raises(HpkeCannotOpen):
        office.opened(before)
    with pytest.raises(StillNeeded):
        office.do(lambda app: remove_keyset(app, second, actor="test"))
    assert office.opened(office.sealed_by_tink()) == ("primary", PLAIN)


def test_account_without_a_keyset_opens_nothing_with_the_one_failure(office: Office) -> None:
    """FAULTS H5."""
    office.make()
    sealed = office.sealed_by_tink()
    with pytest.raises(HpkeCannotOpen) as none:
        office.opened(sealed, "other")
    office.make("other")
    with pytest.raises(HpkeCannotOpen) as wrong:
        office.opened(sealed, "other")
    assert none.value.args == wrong.value.args


def test_second_keyset_takes_no_place_unless_asked_to(office: Office) -> None:
    """FAULTS H7."""
    first = office.make()
    sealed = office.sealed_by_tink()
    with pytest.raises(AlreadyThere, match=first.keyset.keyset_id):
        office.make()
    assert office.opened(sealed) == ("primary", PLAIN)


def test_private_halves_cannot_be_swapped_between_accounts(office: Office) -> None:
    """FAULTS K1."""
    mine, theirs = office.make().keyset, office.make("other").keyset
    stolen = office.do(lambda app: app.keysets.with_private_half("acme"))[0][1]
    this = keysets.c.keyset_id == theirs.keyset_id
    for values in (
        {"sealed_private_keyset": stolen},
        {"sealed_private_keyset": stolen, "public_keyset": mine.public_keyset},
    ):
        office.do(lambda app, values=values: execute(app, update(keysets).where(this).values(values)))  # type: ignore[misc]
        for deed in (active_request_keysets, lambda app, name: export_request_keyset(app, name, actor="test")):
            with pytest.raises(RecordTampered):
                office.do(lambda app, deed=deed: deed(app, "other"))  # type: ignore[misc]
    office.do(lambda app: execute(app, update(keysets).where(this).values(keyset_id="gone")))
    moved = update(keysets).where(keysets.c.keyset_id == mine.keyset_id).values(account="other", slot="primary")
    office.do(lambda app: execute(app, keysets.delete().where(keysets.c.keyset_id == "gone")))
    office.do(lambda app: execute(app, moved))  # the whole row, ID and all
    with pytest.raises(RecordTampered):
        office.do(lambda app: active_request_keysets(app, "other"))


@pytest.mark.parametrize("position", [0, 1, 9, 21, 69, 81, -1])
def test_flipped_bit_in_a_private_half_opens_nothing(office: Office, position: int) -> None:
    """FAULTS K1."""
    office.make()
    content = bytearray(office.do(lambda app: app.keysets.with_private_half("acme"))[0][1])
    content[position] ^= 1
    changed = update(keysets).values(sealed_private_keyset=bytes(content))
    if position == 1:  # the ID of another master key, which the ledger does not name
        with pytest.raises(LedgerConflict):
            office.do(lambda app: execute(app, changed))
        return
    office.do(lambda app: execute(app, changed))
    with pytest.raises((RecordTampered, MasterKeyWrong)):
        office.do(lambda app: active_request_keysets(app, "acme"))


def test_what_is_handed_out_is_ours_whatever_stands_in_the_ledger(office: Office) -> None:
    """FAULTS K1: a public keyset put beside the sealed half reaches no customer."""
    office.make()
    thief = PrivateKeyset.generate()
    office.do(lambda app: execute(app, update(keysets).values(public_keyset=thief.public().as_binary())))
    sealed = office.sealed_by_tink()
    assert thief.opened(sealed, "acme") is None
    assert office.opened(sealed) == ("primary", PLAIN)


def test_rotation_of_the_master_key_takes_keysets_along(office: Office) -> None:
    """FAULTS K3: primary and previous, and the rows that have nothing sealed."""
    office.make()
    before = office.sealed_by_tink()
    office.make(rotate=True)
    after = office.sealed_by_tink()
    office.add(oracle.public_json(oracle.new(oracle.TEMPLATES[Kem.X25519, OutputPrefix.TINK])))
    rotated = office.do(lambda app: rotate(app, new_key=None, actor="test"))
    assert (rotated.secrets, rotated.damaged) == (3, ())
    assert rotated.old_key_file is not None
    rotated.old_key_file.unlink()
    assert office.opened(before) == ("previous", PLAIN)
    assert office.opened(after) == ("primary", PLAIN)
    under = select(REQUEST_KEYSET.under, func.count()).group_by(REQUEST_KEYSET.under)

    def counted(app: App) -> dict[bytes | None, int]:
        with app.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(under)}

    assert office.do(counted) == {bytes.fromhex(rotated.new_id): 2, None: 1}


@pytest.mark.parametrize(("kem", "prefix"), oracle.KINDS)
def test_what_we_seal_to_the_stored_response_keyset_tink_opens(office: Office, kem: Kem, prefix: OutputPrefix) -> None:
    """FAULTS H1, H7: JSON or binary; after a rotation the new one, and only that."""
    old, new = (oracle.new(oracle.TEMPLATES[kem, prefix]) for _ in range(2))
    assert office.add(oracle.public_json(old)).former is None
    assert office.add(oracle.public_binary(new)).former is not None
    public = office.do(lambda app: response_keyset(app, "acme"))
    assert public is not None
    sealed = public.seal(PLAIN, "acme")
    assert oracle.opened(new, sealed, "acme") == PLAIN
    with pytest.raises(tink.TinkError):
        oracle.opened(old, sealed, "acme")
    assert office.do(lambda app: response_keyset(app, "other")) is None


def test_keyset_that_is_refused_is_audited_and_not_stored(office: Office) -> None:
    """FAULTS H10: a private one, whose content is in no line."""
    private = oracle.private_json(oracle.new(oracle.TEMPLATES[Kem.X25519, OutputPrefix.TINK]))
    for data in (private, b"", b"{}", b"\x00" * 100, b"x" * (1 << 17)):
        with pytest.raises(KeysetRejected):
            office.add(data)
    assert office.do(lambda app: app.keysets.of_account("acme")) == []
    found = audited(office)
    assert found[-5:] == [("response_keyset.add", "acme", "acme", "refused: hpke.keyset_rejected")] * 5


def audited(office: Office) -> list[tuple[str, str | None, str, str]]:
    def read(app: App) -> list[tuple[str, str | None, str, str]]:
        with app.database.read() as connection:
            return [(line.action, line.account, line.subject, line.outcome) for line in lines(connection)]

    return office.do(read)


def test_our_own_request_keyset_is_no_response_keyset(office: Office) -> None:
    """Only we could open what is sealed to it: also the previous one, and under another ID."""
    office.make()
    ours = office.do(lambda app: export_request_keyset(app, "acme", actor="test"))
    renamed = dataclasses.replace(ours, keys=(dataclasses.replace(ours.keys[0], tink_key_id=1),))
    office.make(rotate=True)
    for data in (ours.as_json(), ours.as_binary(), renamed.as_json()):
        with pytest.raises(KeysetRejected, match="keyset of your own"):
            office.add(data)


def test_making_handing_out_and_refusals_are_audited(office: Office) -> None:
    """FAULTS H10."""
    made = office.make().keyset
    office.sealed_by_tink()
    with pytest.raises(AlreadyThere):
        office.make()
    with pytest.raises(StillNeeded):
        office.do(lambda app: remove_keyset(app, made, actor="test"))
    with pytest.raises(HpkeCannotOpen):
        office.sealed_by_tink("other")
    assert audited(office)[-5:] == [
        ("request_keyset.add", "acme", made.keyset_id, "done"),
        ("request_keyset.export", "acme", made.keyset_id, "done"),
        ("request_keyset.add", "acme", "acme", "refused: already_there"),
        ("request_keyset.remove", "acme", "acme", "refused: still_needed"),
        ("request_keyset.export", "other", "other", "refused: hpke.cannot_open"),
    ]


def test_private_half_is_nowhere_on_disk(office: Office) -> None:
    """FAULTS K5."""
    office.make()
    active = office.do(lambda app: active_request_keysets(app, "acme"))
    secret: Secret = active.primary.keys[0].key.raw
    public = active.primary.keys[0].key.public.raw
    content = b"".join(path.read_bytes() for path in office.folder.rglob("*") if path.is_file())
    assert public in content  # the search finds what is there
    assert secret.expose() not in content
    assert secret.expose().hex().encode() not in content

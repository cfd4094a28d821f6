"""The keyring: whose pair it is, whether it is active, and how long it stays unlocked."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from ingest.app import App
from ingest.custody import make_pair
from ingest.installation import Choices, initialise
from ingest.keyring import Keyring, passphrase_record, private_key_record
from ingest.ledger.pgp_keys import PgpKey
from ingest.ledger.tables import pgp_keys
from keystore.errors import EngineFailed, KeyRetired, KeyUnknown, MasterKeyWrong, RecordTampered
from keystore.pgp_keys import PrivateKey


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder: Path = tmp_path_factory.mktemp("keyring") / "installation"
    app = App(initialise(folder, Choices(host="127.0.0.1", port=2222, mail_host="", mail_port=587)))
    for account in ("acme", "other"):
        app.accounts.add(account, now=app.now(), actor="test")
    yield app
    app.close()


@pytest.fixture
def made(app: App) -> PgpKey:
    return make_pair(app, "acme", "cv25519", actor="test")


def keyring(app: App, keep_s: float = 60) -> Keyring:
    return Keyring(app.pgp_keys, app.open_vault, keep_s=keep_s, now=app.now)


def opened(ring: Keyring, account: str, key_id: str) -> PrivateKey:
    """The primary pair of this key ID, unlocked for a file whose manifest names it."""
    return next(pair for pair in ring.pairs(account, key_id) if pair.key_id == key_id).unlocked()


def change(app: App, key_id: str, **values: Any) -> None:
    with app.database.write() as connection:
        connection.execute(update(pgp_keys).where(pgp_keys.c.key_id == key_id).values(**values))


def test_pair_is_unlocked_once_and_kept(app: App, made: PgpKey) -> None:
    ring = keyring(app)
    unlocked = opened(ring, "acme", made.key_id)
    assert unlocked.fingerprint == made.fingerprint
    assert opened(ring, "acme", made.key_id) is unlocked


def test_key_of_another_account_is_unknown(app: App, made: PgpKey) -> None:
    """FAULTS P19: also when this keyring has it unlocked already."""
    ring = keyring(app)
    opened(ring, "acme", made.key_id)
    with pytest.raises(KeyUnknown, match=made.key_id):
        opened(ring, "other", made.key_id)
    with pytest.raises(KeyUnknown):
        opened(ring, "nobody", made.key_id)
    with pytest.raises(KeyUnknown):
        opened(ring, "acme", "00000000-0000-4000-8000-000000000000")


def test_retired_pair_opens_nothing_even_when_it_was_unlocked_before(app: App, made: PgpKey) -> None:
    """FAULTS P16, K8."""
    ring = keyring(app)
    unlocked = opened(ring, "acme", made.key_id)
    change(app, made.key_id, state="retired")
    for one in (ring, keyring(app)):
        with pytest.raises(KeyRetired, match="retired"):
            opened(one, "acme", made.key_id)
    with pytest.raises(EngineFailed):
        assert unlocked.transferable  # its secrets are not kept any longer


def test_pair_is_forgotten_when_nobody_needed_it_for_a_while(app: App, made: PgpKey) -> None:
    """FAULTS K5: told apart by the object, which a new unlocking makes anew."""
    ring = keyring(app, keep_s=0.05)
    first = opened(ring, "acme", made.key_id)
    ring.forget_old()
    time.sleep(0.1)
    ring.forget_old()
    second = opened(ring, "acme", made.key_id)
    assert second is not first
    time.sleep(0.1)
    assert opened(ring, "acme", made.key_id) is not second


def test_each_use_keeps_a_pair_longer(app: App, made: PgpKey) -> None:
    ring = keyring(app, keep_s=1)
    first = opened(ring, "acme", made.key_id)
    started = time.monotonic()
    while time.monotonic() < started + 1.2:
        time.sleep(0.1)
        assert opened(ring, "acme", made.key_id) is first


def test_sealed_pairs_cannot_be_swapped_between_records(app: App, made: PgpKey) -> None:
    """FAULTS K1."""
    theirs = make_pair(app, "other", "cv25519", actor="test")
    found = app.pgp_keys.sealed("acme", made.key_id, 1)
    assert found is not None
    change(app, theirs.key_id, sealed_private_key=found.private_key, sealed_passphrase=found.passphrase)
    with pytest.raises(RecordTampered):
        opened(keyring(app), "other", theirs.key_id)


def test_private_key_and_passphrase_cannot_be_swapped(app: App, made: PgpKey) -> None:
    """FAULTS K1: nor put in the place of each other."""
    found = app.pgp_keys.sealed("acme", made.key_id, 1)
    assert found is not None
    change(app, made.key_id, sealed_private_key=found.passphrase, sealed_passphrase=found.private_key)
    with pytest.raises(RecordTampered):
        opened(keyring(app), "acme", made.key_id)


def test_flipped_bit_in_the_ledger_opens_nothing(app: App, made: PgpKey) -> None:
    """FAULTS K1: in each part of a sealed record, by somebody whom no constraint stops."""
    found = app.pgp_keys.sealed("acme", made.key_id, 1)
    assert found is not None
    with closing(sqlite3.connect(str(app.database.engine.url.database), isolation_level=None)) as thief:
        for position in (0, 1, 8, 9, 20, 21, 68, 69, 80, 81, -1):
            content = bytearray(found.private_key)
            content[position] ^= 1
            statement = "UPDATE pgp_keys SET sealed_private_key = ? WHERE key_id = ?"
            thief.execute(statement, (bytes(content), made.key_id))
            with pytest.raises((RecordTampered, MasterKeyWrong)):
                opened(keyring(app), "acme", made.key_id)
        thief.execute(statement, (found.private_key, made.key_id))
    assert opened(keyring(app), "acme", made.key_id).fingerprint == made.fingerprint


def test_private_key_and_passphrase_are_sealed_as_different_records() -> None:
    assert private_key_record("acme", "id", 1) != passphrase_record("acme", "id", 1)
    assert private_key_record("acme", "id", 1) != private_key_record("other", "id", 1)
    assert private_key_record("acme", "id", 1) != private_key_record("acme", "id", 2)

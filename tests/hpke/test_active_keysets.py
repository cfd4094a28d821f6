"""Messages that open with Primary or Previous, and the one failure of all that do not."""

from __future__ import annotations

import dataclasses
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystore.active_keysets import ActiveKeysets, Opened, Previous, Slot
from keystore.errors import HpkeCannotOpen
from keystore.hpke import Kem
from keystore.tink_keyset import OutputPrefix, PrivateKeyset
from tests.hpke.points import LOW_ORDER

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
END = NOW + timedelta(days=30)
PLAIN = b'{"d": [{"identity": "Zq7-canary@example.com"}]}'
PRIMARY, PREVIOUS, STRANGER = (PrivateKeyset.generate() for _ in range(3))
ACTIVE = ActiveKeysets(PRIMARY, Previous(PREVIOUS, END))


def failure(active: ActiveKeysets, sealed: bytes, account: str = "acme", now: datetime = NOW) -> tuple[object, ...]:
    """Everything that the outside could see of the failure."""
    with pytest.raises(HpkeCannotOpen) as caught:
        active.open(sealed, account, now)
    error = caught.value
    return type(error), error.code, error.public, str(error), error.args, error.__cause__, error.__context__


THE_FAILURE = failure(ACTIVE, b"")


def test_primary_and_previous_open_and_the_answer_says_which_did() -> None:
    """FAULTS H7."""
    slots: list[tuple[Slot, PrivateKeyset]] = [("primary", PRIMARY), ("previous", PREVIOUS)]
    for slot, keyset in slots:
        sealed = keyset.public().seal(PLAIN, "acme")
        assert ACTIVE.open(sealed, "acme", NOW) == Opened(PLAIN, slot, keyset.keys[0].tink_key_id)
        # HPKE itself notices no replay: FAULTS H3 is the door's
        assert ACTIVE.open(sealed, "acme", NOW).plain == PLAIN


def test_previous_opens_until_its_end_and_not_a_moment_longer() -> None:
    """FAULTS H7."""
    sealed = PREVIOUS.public().seal(PLAIN, "acme")
    assert ACTIVE.open(sealed, "acme", END - timedelta(microseconds=1)).slot == "previous"
    assert failure(ACTIVE, sealed, now=END) == THE_FAILURE
    assert failure(ActiveKeysets(PRIMARY), sealed) == THE_FAILURE
    assert ACTIVE.open(PRIMARY.public().seal(PLAIN, "acme"), "acme", END).slot == "primary"


def test_keysets_with_one_id_open_in_order() -> None:
    """FAULTS H7: two keys with one ID, one of them in each keyset."""
    twin = PrivateKeyset((dataclasses.replace(PREVIOUS.keys[0], tink_key_id=PRIMARY.keys[0].tink_key_id),))
    active = ActiveKeysets(PRIMARY, Previous(twin, END))
    assert active.open(PRIMARY.public().seal(PLAIN, "acme"), "acme", NOW).slot == "primary"
    assert active.open(twin.public().seal(PLAIN, "acme"), "acme", NOW).slot == "previous"


@pytest.mark.parametrize("kem", Kem)
def test_keysets_without_prefixes_open_in_order(kem: Kem) -> None:
    """FAULTS H7: RAW keys are tried one after the other, also beside keys with a prefix and of another KEM."""
    raw = [PrivateKeyset.generate(kem, OutputPrefix.RAW) for _ in range(2)]
    active = ActiveKeysets(PrivateKeyset((*PRIMARY.keys, *raw[0].keys)), Previous(raw[1], END))
    for keyset, slot in ((PRIMARY, "primary"), (raw[0], "primary"), (raw[1], "previous")):
        opened = active.open(keyset.public().seal(PLAIN, "acme"), "acme", NOW)
        assert (opened.slot, opened.tink_key_id, opened.plain) == (slot, keyset.keys[0].tink_key_id, PLAIN)


NO_TEXT = "an account that is no text"  # fails before the library is called, with every key alike


def bad_messages() -> dict[str, tuple[bytes, str]]:
    sealed = PRIMARY.public().seal(PLAIN, "acme")
    prefix, body = sealed[:5], sealed[5:]
    return {
        "unknown prefix": (STRANGER.public().seal(PLAIN, "acme"), "acme"),
        "wrong key under a known prefix": (prefix + STRANGER.public().seal(PLAIN, "acme")[5:], "acme"),
        "right key under another's prefix": (PREVIOUS.keys[0].output_prefix + body, "acme"),
        "right key under an unknown prefix": (b"\x01\0\0\0\0" + body, "acme"),
        "no prefix": (body, "acme"),
        "version byte of LEGACY and CRUNCHY": (b"\0" + sealed[1:], "acme"),
        "bad tag": (sealed[:-1] + bytes([sealed[-1] ^ 1]), "acme"),
        "changed text": (sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:], "acme"),
        "changed encapsulated key": (sealed[:10] + bytes([sealed[10] ^ 1]) + sealed[11:], "acme"),
        "cut": (sealed[:-1], "acme"),
        "longer": (sealed + b"\0", "acme"),
        "another account's": (sealed, "other"),
        NO_TEXT: (sealed, "\ud800"),
        "plain": (PLAIN, "acme"),
        "nothing": (b"", "acme"),
    }


@pytest.mark.parametrize("case", bad_messages())
def test_every_failure_is_the_same(case: str) -> None:
    """FAULTS H4 and H5."""
    sealed, account = bad_messages()[case]
    assert failure(ACTIVE, sealed, account) == THE_FAILURE


@pytest.mark.parametrize("case", [case for case in bad_messages() if case != NO_TEXT])
def test_every_failure_costs_one_try_with_each_key(case: str) -> None:
    """FAULTS H5: whether a prefix is known does not decide what work is done."""
    sealed, account = bad_messages()[case]
    tries: list[object] = []

    def note(_frame: object, event: str, called: object) -> None:
        if event == "c_call" and getattr(called, "__name__", "") == "decrypt":
            tries.append(called)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        failure(ACTIVE, sealed, account)
    finally:
        sys.setprofile(before)
    assert len(tries) == 2


def test_the_log_is_told_whether_the_prefix_is_known_and_nothing_of_the_text() -> None:
    for case, known in (("bad tag", True), ("unknown prefix", False), ("another account's", True)):
        sealed, account = bad_messages()[case]
        with pytest.raises(HpkeCannotOpen) as caught:
            ACTIVE.open(sealed, account, NOW)
        assert (f"primary key {PRIMARY.keys[0].tink_key_id}" in caught.value.detail) is known
        assert "canary" not in caught.value.detail
    assert "canary" not in repr(ACTIVE.open(PRIMARY.public().seal(PLAIN, "acme"), "acme", NOW))


@pytest.mark.parametrize("kem", Kem)
@pytest.mark.parametrize("prefix", [OutputPrefix.TINK, OutputPrefix.RAW])
def test_degenerate_messages_fail_cleanly(kem: Kem, prefix: OutputPrefix) -> None:
    """FAULTS H8: too short, all zero, low-order points in the place of the encapsulated key."""
    keyset = PrivateKeyset.generate(kem, prefix)
    active, start = ActiveKeysets(keyset), keyset.keys[0].output_prefix
    whole = keyset.public().seal(b"", "acme")
    for length in range(len(whole)) if kem is Kem.X25519 else (0, 1, 4, 5, 37, 1124, 1125, len(whole) - 1):
        assert failure(active, whole[:length]) == THE_FAILURE
        assert failure(active, bytes(length)) == THE_FAILURE
        assert failure(active, start + bytes(length)) == THE_FAILURE
    assert active.open(whole, "acme", NOW).plain == b""
    at = len(whole) - 16 - 32  # the point of X25519 is the end of the encapsulated key, in X-Wing too
    for point in LOW_ORDER:
        assert failure(active, whole[:at] + point + whole[-16:]) == THE_FAILURE


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_bytes_fail_the_same(data: st.DataObject) -> None:
    """FAULTS H5 and H8."""
    prefix = data.draw(st.sampled_from([b"", PRIMARY.keys[0].output_prefix, PREVIOUS.keys[0].output_prefix]))
    assert failure(ACTIVE, prefix + data.draw(st.binary(max_size=200))) == THE_FAILURE

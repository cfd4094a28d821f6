"""Several signatures, odd orders, floods; where blocks end; and that nothing is told too early (RFC 9580 §10.3)."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystore.openpgp import Limits, SignaturePolicy, decrypt
from keystore.openpgp.facts import Facts
from keystore.openpgp.limits import Meter
from keystore.openpgp.packets import Feed
from keystore.openpgp.signed import MOST_SIGNATURES, Signatures, Signing, Verdict
from keystore.openpgp.stream import Inside, literal_data
from keystore.pgp_keys import PrivateKey
from tests.openpgp import packet_writer as write
from tests.openpgp.reading import judged, peak_memory, verdict
from tests.openpgp.signature_vectors import (
    LITERAL,
    NOW,
    OURS,
    OURS6,
    PLAIN,
    RSA,
    SIGNERS,
    STRANGER,
    VECTORS,
    YEAR,
    changed,
)
from tests.openpgp.signature_writer import SHA1, TEXT, Key, Options, one_pass, seconds, signature, signed

_ONE = {
    "good": (OURS, Options()),
    "bad": (OURS6, Options()),
    "expired": (OURS, Options(extra=seconds(3, YEAR))),
    "unchecked": (RSA, Options(hash_id=SHA1)),
    "unknown_signer": (STRANGER, Options()),
}
_BEST_FIRST = list(_ONE)


def around(literal: bytes, *states: str) -> bytes:
    """One-pass packets, the literal, the signatures in reverse order, each of its state."""
    front, behind = b"", b""
    for number, state in enumerate(states, 1):
        by, options = _ONE[state]
        front += one_pass(by, last=number == len(states), hash_id=options.get("hash_id"))
        behind = signature(by, PLAIN[1:] if state == "bad" else PLAIN, **options) + behind
    return front + literal + behind


def state_of(inner: bytes, *, policy: SignaturePolicy = "verify", cut: int = 1 << 20) -> Verdict:
    """The verdict on packets that arrive in blocks of so many octets, without any encryption."""
    facts, limits = Facts(), Limits()
    signatures = Signatures(Signing(policy, SIGNERS, OURS.name, NOW))
    blocks = (inner[at : at + cut] for at in range(0, len(inner), cut))
    for _ in literal_data(Feed(iter(blocks)), Inside(facts, signatures, limits, Meter(limits))):
        assert facts.signature == ""
    signatures.settle(facts)
    return Verdict(facts.signature, facts.signer)


def test_the_best_of_several_counts_in_whatever_order(rsa: PrivateKey) -> None:
    """FAULTS P21."""
    for count in (1, 2, 3):
        for states in itertools.product(_ONE, repeat=count):
            best = min(states, key=_BEST_FIRST.index)
            assert state_of(around(LITERAL, *states)).state == best, states
            assert state_of(around(write.compressed(LITERAL), *states)).state == best, states
    assert judged(write.message(rsa, around(LITERAL, *_ONE)), rsa, SIGNERS, now=NOW) == ("ok", "good", OURS.name)


def test_of_two_alike_the_earlier_packet_names_the_signer() -> None:
    """FAULTS P21: signatures come in the reverse order of their one-pass packets (RFC 9580 §5.4)."""
    both = one_pass(OURS, last=False) + one_pass(RSA) + LITERAL
    assert state_of(both + signature(RSA, PLAIN) + signature(OURS, PLAIN)) == ("good", RSA.name)
    assert state_of(both + signature(OURS, PLAIN) + signature(RSA, PLAIN)) == ("good", OURS.name)


def test_in_front_behind_and_in_layers() -> None:
    """FAULTS P21: compressed data may stand between any of them."""
    front, behind = signature(OURS, PLAIN), one_pass(RSA) + LITERAL + signature(RSA, PLAIN)
    bad = signature(OURS, PLAIN[1:])
    assert state_of(front + behind) == ("good", OURS.name)
    assert state_of(bad + behind) == ("good", RSA.name)
    assert state_of(one_pass(RSA) + bad + LITERAL + signature(RSA, PLAIN)) == ("good", RSA.name)
    assert state_of(front + write.compressed(behind)) == ("good", OURS.name)
    assert state_of(one_pass(OURS) + write.compressed(bad + behind) + signature(OURS, PLAIN)) == ("good", RSA.name)
    assert state_of(one_pass(OURS) + write.compressed(LITERAL + signature(OURS, PLAIN))) == ("good", OURS.name)
    layered = one_pass(OURS) + write.compressed(one_pass(STRANGER) + LITERAL + signature(STRANGER, PLAIN))
    assert state_of(layered + signature(OURS, PLAIN)) == ("good", OURS.name)
    marked = write.packet(10, b"PGP") + front + write.packet(21, bytes(9)) + LITERAL + write.packet(60, b"new")
    assert state_of(marked) == ("good", OURS.name)


def test_one_of_the_announced_is_missing() -> None:
    """FAULTS P21: the first one-pass packet has none; what is there counts for what it is."""
    both = one_pass(OURS, last=False) + one_pass(RSA) + LITERAL
    assert state_of(both + signature(RSA, PLAIN)) == ("good", RSA.name)
    assert state_of(both + signature(RSA, PLAIN[1:])) == ("bad", RSA.name)
    assert state_of(one_pass(OURS, last=False) + one_pass(STRANGER) + LITERAL + signature(STRANGER, PLAIN)) == (
        "bad",
        OURS.name,
    )


def test_one_that_nobody_announced_does_not_count() -> None:
    """FAULTS P21: although another's one-pass packet has had the contents hashed for it."""
    announced = one_pass(OURS) + LITERAL
    assert state_of(announced + signature(OURS, PLAIN[1:]) + signature(OURS, PLAIN)) == ("bad", OURS.name)
    assert state_of(announced + signature(OURS, PLAIN) + signature(OURS, PLAIN[1:])) == ("good", OURS.name)


def test_a_signature_over_signatures_is_not_checked() -> None:
    """FAULTS P21: a one-pass packet that says it is the last, and yet another follows (RFC 9580 §5.4)."""
    inner = signature(RSA, PLAIN)
    notarised = one_pass(OURS) + one_pass(RSA) + LITERAL + inner
    assert state_of(notarised + signature(OURS, inner + PLAIN)) == ("good", RSA.name)
    assert state_of(notarised + signature(OURS, PLAIN)) == ("good", RSA.name)
    by_a_stranger = signature(STRANGER, PLAIN)
    alone = one_pass(OURS) + one_pass(STRANGER) + LITERAL + by_a_stranger
    assert state_of(alone + signature(OURS, by_a_stranger + PLAIN)) == ("unchecked", OURS.name)
    assert state_of(alone + signature(OURS, PLAIN)) == ("good", OURS.name)
    bad = one_pass(OURS, last=False) + one_pass(STRANGER) + LITERAL + by_a_stranger
    assert state_of(bad + signature(OURS, by_a_stranger + PLAIN)) == ("bad", OURS.name)


def test_only_so_many_are_read(by_policy: dict[SignaturePolicy, PrivateKey]) -> None:
    """FAULTS P21: a flood costs no more; one of ours behind it does not count, and nothing is called forged."""
    for in_front in (True, False):
        for more, state in ((MOST_SIGNATURES - 1, "good"), (MOST_SIGNATURES, "unchecked")):
            last = signature(OURS, PLAIN)
            flood = signature(STRANGER, PLAIN) * more
            if in_front:
                inner = flood + last + LITERAL
            else:
                announced = one_pass(OURS, last=False) + one_pass(STRANGER, last=False) * more
                inner = announced + LITERAL + flood + last
            assert state_of(inner).state == state
            message = write.message(by_policy["require"], inner)
            code = "ok" if state == "good" else "pgp.signature_required"
            assert verdict(message, by_policy["require"], signers=SIGNERS) == code
    for packet in (signature(OURS, PLAIN), one_pass(OURS), write.packet(2, b""), write.packet(4, b"")):
        assert verdict(write.message(by_policy["verify"], packet * 300 + LITERAL), by_policy["verify"]) == "pgp.corrupt"


def test_only_so_many_hashes_are_made() -> None:
    """FAULTS P21: each version 6 signature has its own salt, so its own hash over all of the data."""
    for count in (MOST_SIGNATURES, MOST_SIGNATURES + 1, 3 * MOST_SIGNATURES):
        front = b"".join(one_pass(OURS6, last=False, salted=salted) for salted in range(count))
        behind = b"".join(signature(OURS6, PLAIN, salted=salted) for salted in reversed(range(count)))
        state = "good" if count < 2 * MOST_SIGNATURES else "unchecked"
        assert state_of(front + LITERAL + behind).state == state
    signatures = Signatures(Signing("verify", SIGNERS, "", NOW))
    for salted in range(200):
        signatures.announce(one_pass(OURS6, salted=salted)[6:])
    assert len(signatures._hashes) == MOST_SIGNATURES


def test_what_no_registered_signer_made_is_not_hashed() -> None:
    """Hashing all of the data is what a signature costs."""
    expected: list[tuple[SignaturePolicy, Key, int]] = [
        ("verify", OURS, 1),
        ("verify", STRANGER, 0),
        ("ignore", OURS, 0),
        ("require", RSA, 1),
    ]
    for policy, by, count in expected:
        signatures = Signatures(Signing(policy, SIGNERS, "", NOW))
        signatures.announce(one_pass(by)[6:])
        assert len(signatures._hashes) == count


def test_a_huge_signature_packet_costs_no_memory(rsa: PrivateKey) -> None:
    """FAULTS P21, P22: as does one that claims to be huge."""
    for tag, state in ((2, "unchecked"), (4, "bad")):
        huge = write.packet(tag, bytes(60_000_000))
        for inner in (huge + LITERAL, *([LITERAL + huge] if tag == 2 else [])):
            data = write.message(rsa, write.compressed(inner))
            with peak_memory() as peak:
                assert judged(data, rsa, SIGNERS) == ("ok", state, "")
                assert peak() < 12_000_000
        claimed = bytes([0xC0 | tag]) + b"\xff\xff\xff\xff\xf0" + bytes(100)
        assert verdict(write.message(rsa, claimed), rsa) == "pgp.corrupt"
        for length in (b"\xe5" + bytes(32) + b"\x00", b"\xff"):
            broken = bytes([0xC0 | tag]) + length
            assert verdict(write.message(rsa, broken), rsa) == "pgp.corrupt"


@pytest.mark.parametrize("name", VECTORS)
def test_the_verdict_does_not_depend_on_where_blocks_end(name: str) -> None:
    """FAULTS P21."""
    whole = state_of(VECTORS[name].inner)
    assert whole.state == VECTORS[name].state
    for cut in (1, 2, 3, 7, 64, 4096):
        assert state_of(VECTORS[name].inner, cut=cut) == whole, cut


@settings(deadline=None)
@given(st.text("\r\na", max_size=2000).map(str.encode), st.integers(1, 600), st.sampled_from(["b", "t", "u"]))
def test_text_in_parts_and_blocks(text: bytes, cut: int, mode: str) -> None:
    """FAULTS P21: a CR and its LF in two blocks, in two parts of the literal."""
    body = mode.encode() + bytes(5) + text
    data = write.partial_packet(11, body, [9] * (len(body) // 512)) if len(body) >= 512 else write.packet(11, body)
    for kind in (0, TEXT):
        inner = one_pass(OURS, kind=kind) + data + signature(OURS, text, kind=kind)
        assert state_of(inner, cut=cut) == ("good", OURS.name)
        assert state_of(one_pass(OURS, kind=kind) + data + signature(OURS, text + b" ", kind=kind)).state == "bad"


def _sealed(pair: PrivateKey, inner: bytes) -> Iterator[bytes]:
    """With an MDC, and in chunks that each have a tag."""
    yield write.message(pair, inner)
    yield write.ocb_message(pair, inner)
    yield write.seipd2_message(pair, inner)


@pytest.mark.parametrize("policy", ["ignore", "verify", "require"])
def test_nothing_is_told_before_the_integrity_is_proven(
    by_policy: dict[SignaturePolicy, PrivateKey], policy: SignaturePolicy
) -> None:
    """FAULTS P1, P21, P32: a tampered message is corrupt, whatever its signature is worth."""
    pair = by_policy[policy]
    for name in (
        "good binary",
        "good in front",
        "bad over other contents",
        "unknown_signer by a stranger",
        "none at all",
    ):
        inner = VECTORS[name].inner
        for message in _sealed(pair, inner):
            assert judged(message, pair, SIGNERS, now=NOW).signature != ""
            for at in (-1, -20, -40):
                assert judged(changed(message, at), pair, SIGNERS, now=NOW) == ("pgp.corrupt", "", "")
            assert judged(message[:-1], pair, SIGNERS, now=NOW) == ("pgp.truncated", "", "")
            assert judged(message + b"x", pair, SIGNERS, now=NOW) == ("pgp.armor_invalid", "", "")


def test_what_is_wrong_inside_goes_before_the_signature(by_policy: dict[SignaturePolicy, PrivateKey]) -> None:
    """FAULTS P8, P21: a signature makes nothing good that may not stand there."""
    good, pair = signed(OURS, PLAIN), by_policy["require"]
    for inner in (
        good + LITERAL,
        good + good,
        LITERAL + good,
        good + write.compressed(LITERAL),
        good + b"garbage",
        good + write.packet(6, b"\x04" + bytes(20)),
        good + write.packet(22, b"critical"),
        signature(OURS, PLAIN),
        one_pass(OURS) + signature(OURS, PLAIN),
        write.compressed(good + LITERAL),
        write.compressed(good) + LITERAL,
    ):
        assert judged(write.message(pair, inner), pair, SIGNERS, now=NOW) == ("pgp.corrupt", "", "")


def test_a_reader_that_stops_early_is_told_nothing(by_policy: dict[SignaturePolicy, PrivateKey]) -> None:
    """FAULTS P21: all blocks were handed out, but the end was not reached."""
    pair = by_policy["verify"]
    message = decrypt(io.BytesIO(write.message(pair, signed(OURS, PLAIN))), [pair], signers=SIGNERS, now=NOW)
    blocks = iter(message)
    assert next(blocks) == PLAIN
    assert message.signature == ""
    message.close()
    assert (message.signature, message.signer) == ("", "")

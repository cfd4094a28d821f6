"""What one signature is worth: crafted ones that no program would make, by every policy (RFC 9580 §5.2)."""

from __future__ import annotations

import itertools

import pytest

from keystore.errors import SignatureRequired
from keystore.openpgp import SignaturePolicy
from keystore.pgp_keys import PrivateKey
from keystore.pgp_signer import Signer
from tests.openpgp import certificate_writer
from tests.openpgp import packet_writer as write
from tests.openpgp.reading import judged, plain_text
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
    WITHOUT,
    YEAR,
    changed,
    signer,
)
from tests.openpgp.signature_writer import (
    CRITICAL,
    KEY_MADE,
    SHA3_256,
    SHA3_512,
    SHA224,
    SHA256,
    SHA384,
    SHA512,
    SIGNED,
    TEXT,
    Key,
    issuer,
    key,
    one_pass,
    signature_body,
    signed,
    subpacket,
)

KEYS = [(kind, version) for version in (4, 6) for kind in ("RSA", "Ed25519", "P-256", "P-384", "P-521")]
KEYS.append(("Ed448", 6))


@pytest.mark.parametrize("name", VECTORS)
def test_the_state_by_every_policy(by_policy: dict[SignaturePolicy, PrivateKey], name: str) -> None:
    """FAULTS P21: ``verify`` records it, ``require`` takes the good ones only, ``ignore`` looks at none."""
    state, names, inner = VECTORS[name]
    message = write.message(by_policy["verify"], inner)
    found = judged(message, by_policy["verify"], SIGNERS, now=NOW)
    assert found[:2] == ("ok", state)
    assert found.signer in names
    code = "ok" if state == "good" else "pgp.signature_required"
    assert judged(message, by_policy["require"], SIGNERS, now=NOW) == (code, state, found.signer)
    ignored = judged(message, by_policy["ignore"], SIGNERS, now=NOW)
    assert ignored == ("ok", "none" if name in WITHOUT else "unchecked", "")


@pytest.mark.parametrize(
    "name", ["good text", "bad over other contents", "unknown_signer by a stranger", "none at all"]
)
def test_the_same_through_gpg(by_policy: dict[SignaturePolicy, PrivateKey], name: str) -> None:
    """FAULTS P21: gpg takes off the encryption, the verdict is ours."""
    for policy, pair in by_policy.items():
        message = write.message(pair, VECTORS[name].inner)
        by_us = judged(message, pair, SIGNERS, now=NOW)
        assert judged(message, pair, SIGNERS, now=NOW, engine="gnupg") == by_us, policy


@pytest.mark.parametrize("hash_id", [SHA224, SHA256, SHA384, SHA512, SHA3_256, SHA3_512])
@pytest.mark.parametrize(("kind", "version"), KEYS)
def test_every_key_hash_and_kind(rsa: PrivateKey, kind: str, version: int, hash_id: int) -> None:
    """FAULTS P21; EdDSA needs a digest of 32 octets, Ed448 one of 64 (RFC 9580 §5.2.3.4, §5.2.3.5)."""
    by = key(kind, version)
    too_short = (kind == "Ed25519" and hash_id == SHA224) or (kind == "Ed448" and hash_id not in (SHA512, SHA3_512))
    for form in (0, TEXT):
        message = write.message(rsa, signed(by, PLAIN, kind=form, hash_id=hash_id))
        state = "bad" if too_short else "good"
        assert judged(message, rsa, [signer(by)], now=NOW) == ("ok", state, by.name)
        message = write.message(rsa, signed(by, PLAIN, contents=PLAIN + b" ", kind=form, hash_id=hash_id))
        assert judged(message, rsa, [signer(by)], now=NOW) == ("ok", "bad", by.name)


def test_every_octet_of_a_signature_counts(rsa: PrivateKey) -> None:
    """FAULTS P21: whatever is changed in the packet, it is not good any more; but nobody signed what is unhashed.

    Version 4 alone forgives a number whose bits are miscounted, if its octets are not (RFC 9580 §3.2).
    """
    for by in (OURS, OURS6, key("P-256", 6)):
        body = signature_body(by, PLAIN, named=False, extra=issuer(by))
        unhashed = 4 + (2 if by.version == 4 else 4)
        unhashed += int.from_bytes(body[4:unhashed])
        counts = {unhashed + 5, unhashed + 5 + 34} if by.version == 4 else set[int]()
        for at in set(range(len(body))) - counts:
            inner = one_pass(by) + LITERAL + write.packet(2, changed(body, at))
            found = judged(write.message(rsa, inner), rsa, [*SIGNERS, signer(key("P-256", 6))], now=NOW)
            assert (found.code, found.signature == "good") == ("ok", False), at
        note = subpacket(100, b"anything")
        width = 2 if by.version == 4 else 4
        spliced = body[:unhashed] + len(note).to_bytes(width) + note + body[unhashed + width :]
        inner = one_pass(by) + LITERAL + write.packet(2, spliced)
        assert judged(write.message(rsa, inner), rsa, [signer(by)], now=NOW).signature == "good"


@pytest.mark.parametrize("by", [RSA, OURS], ids=["RSA", "EdDSA"])
def test_a_number_that_begins_with_zeros(rsa: PrivateKey, by: Key) -> None:
    """RFC 9580 §3.2: they are left out, so one signature in 256 is shorter."""
    usual = max(len(signature_body(by, PLAIN, made=SIGNED + more)) for more in range(9))
    made = next(SIGNED + n for n in itertools.count() if len(signature_body(by, PLAIN, made=SIGNED + n)) < usual)
    assert judged(write.message(rsa, signed(by, PLAIN, made=made)), rsa, SIGNERS, now=NOW) == ("ok", "good", by.name)


def test_a_signature_for_us(rsa: PrivateKey) -> None:
    """RFC 9580 §5.2.3.36: the fingerprint is that of the primary key; others may be named beside it."""
    us = subpacket(35, b"\x04" + bytes.fromhex(rsa.fingerprint))
    subkey = subpacket(35, b"\x04" + bytes(12) + next(iter(rsa.decryption_keys)))
    other = subpacket(35 | CRITICAL, b"\x04" + STRANGER.fingerprint)
    for extra, state in ((us, "good"), (other + us, "good"), (us + other, "good"), (other, "bad"), (subkey, "bad")):
        message = write.message(rsa, signed(OURS, PLAIN, extra=extra))
        assert judged(message, rsa, SIGNERS, now=NOW).signature == state


@pytest.mark.parametrize(
    ("made", "says", "state"),
    [
        (SIGNED, certificate_writer.seconds_valid(YEAR), "good"),
        (KEY_MADE + YEAR - 1, certificate_writer.seconds_valid(YEAR), "good"),
        (KEY_MADE + YEAR, certificate_writer.seconds_valid(YEAR), "expired"),
    ],
)
def test_the_key_expires(rsa: PrivateKey, made: int, says: bytes, state: str) -> None:
    """FAULTS P21: what counts is when it signed; today, it has expired in each case."""
    flags = certificate_writer.flags(certificate_writer.CERTIFY | certificate_writer.SIGN)
    data = certificate_writer.primary(OURS) + certificate_writer.user_id(OURS, extra=flags + says)
    message = write.message(rsa, signed(OURS, PLAIN, made=made))
    assert judged(message, rsa, [Signer.stored(data)], now=NOW) == ("ok", state, OURS.name)


@pytest.mark.parametrize(
    ("reason", "state_before"), [(certificate_writer.COMPROMISED, "expired"), (certificate_writer.RETIRED, "good")]
)
def test_a_revoked_subkey(rsa: PrivateKey, reason: int, state_before: str) -> None:
    """FAULTS P21: a retired key was good until then, any other was never to be believed (RFC 9580 §5.2.3.31)."""
    sub = key("P-256", seed=2)
    revoked = certificate_writer.revocation(OURS, sub, reason=reason, made=SIGNED)
    known = signer(OURS, certificate_writer.subkey(OURS, sub), revoked)
    for made, state in ((SIGNED - 1, state_before), (SIGNED, "expired")):
        message = write.message(rsa, signed(sub, PLAIN, made=made))
        assert judged(message, rsa, [known], now=NOW) == ("ok", state, OURS.name)
    assert judged(write.message(rsa, signed(OURS, PLAIN)), rsa, [known], now=NOW).signature == "good"


def test_two_signers_with_one_key(rsa: PrivateKey) -> None:
    """The same subkey bound to two primary keys: the better verdict counts, whose it is."""
    sub, other = key("P-256", seed=3), key("Ed25519", seed=5)
    ended = certificate_writer.seconds_valid(1) + certificate_writer.flags(certificate_writer.SIGN)
    back = subpacket(32, certificate_writer.signed_back(OURS, sub))
    known = [signer(OURS, certificate_writer.subkey(OURS, sub, extra=ended + back))]
    known.append(signer(other, certificate_writer.subkey(other, sub)))
    message = write.message(rsa, signed(sub, PLAIN))
    assert judged(message, rsa, known[:1], now=NOW) == ("ok", "expired", OURS.name)
    for order in (known, known[::-1]):
        assert judged(message, rsa, order, now=NOW) == ("ok", "good", other.name)


def test_the_refusal_has_one_text_and_the_log_says_why(by_policy: dict[SignaturePolicy, PrivateKey]) -> None:
    """FAULTS P32: what the signature was worth is not told to the sender."""
    texts, details = set(), set()
    for name in ("bad over other contents", "unknown_signer by a stranger", "none at all", "expired that expired"):
        message = write.message(by_policy["require"], VECTORS[name].inner)
        with pytest.raises(SignatureRequired) as raised:
            plain_text(message, by_policy["require"], signers=[signer(OURS)])
        texts.add(raised.value.public)
        details.add(raised.value.detail)
    assert len(texts) == 1
    assert details == {
        f"signature: bad, signer: {OURS.name}",
        f"signature: unknown_signer, signer: {STRANGER.key_id.hex().upper()}",
        "signature: none, signer: none",
        f"signature: expired, signer: {OURS.name}",
    }

"""What belongs to a certificate: only what its primary key has signed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from keystore.errors import KeyRejected
from keystore.pgp_binding import believed, genuine, has_signed_back, is_forged
from keystore.pgp_certificate import Certificate, certificate_of
from keystore.pgp_key_file import framed, key_packets
from keystore.pgp_keys import inspect_private
from keystore.secret import Secret
from tests.openpgp import certificate_writer as certify
from tests.openpgp import key_writer
from tests.openpgp.packet_writer import packet
from tests.openpgp.sender import PASSPHRASE, Gpg
from tests.openpgp.signature_writer import (
    CRITICAL,
    KEY_MADE,
    MD5,
    RIPEMD160,
    SHA1,
    SHA512,
    Key,
    issuer,
    key,
    seconds,
    signature_body,
    subpacket,
)

PRIMARY, SUB, OTHER, RSA = key("Ed25519"), key("P-256", seed=2), key("Ed25519", seed=3), key("RSA")
ENCRYPTS = certify.flags(certify.ENCRYPT)
RIGHT = Secret(PASSPHRASE.encode())
# a subkey that anyone can make and decrypt with
FOREIGN = Key(4, 25, key_writer.public_body(4, 25, key_writer.native_pair(25, seed=7)[0]), lambda digest, _: digest)


def read(data: bytes) -> Certificate:
    return certificate_of(key_packets(data))


def claiming_hash(hash_id: int, primary: Key, sub: Key) -> bytes:
    """A binding that says it has this hash and is the primary key's; the rest of it is made up."""
    said = seconds(2, KEY_MADE) + issuer(primary) + ENCRYPTS
    head = bytes([4, 0x18, primary.algorithm, hash_id]) + len(said).to_bytes(2) + said
    value = signature_body(primary, sub.framed)[-68:]
    return packet(2, head + bytes(4) + value)


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    sender = Gpg()
    sender.make_key("ours", "rsa2048", "rsa2048")
    sender.make_key("theirs", "ed25519", "cv25519")
    yield sender
    sender.close()


def test_whose_signature_it_is() -> None:
    """RFC 9580 §5.2.4: over the key, the key and a user ID, the key and a subkey."""
    for primary in (PRIMARY, RSA, key("P-256", 6)):
        data = certify.certificate(primary, certify.direct(primary), certify.revocation(primary))
        sub = key("P-384", primary.version)
        data += certify.subkey(primary, sub) + certify.revocation(primary, sub)
        certificate = read(data)
        assert [len(signatures) for signatures in certificate.signatures] == [3, 2]
        for part, signatures in zip(certificate.parts, certificate.signatures, strict=True):
            assert [genuine(certificate, part, each) for each in signatures] == [True] * len(signatures)


def test_a_signature_that_is_forged_and_one_that_cannot_be_told() -> None:
    """``False`` for what says it is the primary key's and is not, ``None`` for all else."""
    whole = certify.certificate(RSA)
    vectors = [
        (certify.user_id(RSA, b"more"), True),
        (certify.user_id(RSA, b"more", by=OTHER, claimed=RSA), False),
        (certify.user_id(RSA, b"more").replace(b"more", b"less"), False),
        (certify.user_id(RSA, b"more", by=key("RSA", seed=2), claimed=RSA), False),
        (certify.user_id(RSA, b"more", by=OTHER), None),
        (certify.user_id(RSA, b"more", named=False), None),
        (certify.user_id(RSA, b"more", hash_id=SHA1), None),
        (certify.user_id(RSA, b"more", hash_id=MD5), None),
    ]
    for more, expected in vectors:
        certificate = read(whole + more)
        assert genuine(certificate, certificate.primary, certificate.signatures[0][-1]) is expected


def test_only_what_the_primary_key_has_said_is_believed() -> None:
    """FAULTS P21, K7."""
    bound = certify.subkey(PRIMARY, SUB)
    good = certify.certificate(PRIMARY) + bound
    kept = believed(read(good))
    assert ([part.key_id for part in kept.parts], kept.user_ids) == (
        [PRIMARY.key_id, SUB.key_id],
        [certify.USER_ID.decode()],
    )
    added = [
        certify.subkey(PRIMARY, OTHER, by=OTHER),
        certify.subkey(PRIMARY, OTHER, by=OTHER, claimed=PRIMARY),
        certify.subkey(OTHER, OTHER, by=PRIMARY),
        certify.subkey(PRIMARY, OTHER, extra=subpacket(101 | CRITICAL, b"?")),
        packet(14, OTHER.public),
        packet(14, OTHER.public) + certify.revocation(PRIMARY, OTHER),
        certify.user_id(PRIMARY, b"Evil", by=OTHER),
        certify.user_id(PRIMARY, b"Evil", by=OTHER, claimed=PRIMARY),
        packet(13, b"Evil"),
        packet(17, b"\x05photo"),
    ]
    for packets in added:
        changed = believed(read(good + packets))
        assert (changed.parts, changed.signatures, changed.user_ids) == (kept.parts, kept.signatures, kept.user_ids)
    assert believed(read(good)).parts == kept.parts, "what is read is not changed"


def test_revocations_are_kept_unless_they_are_forged() -> None:
    """RFC 9580 §5.2.1.10, §5.2.1.11."""
    good = certify.certificate(PRIMARY, certify.subkey(PRIMARY, SUB))
    for revocation, part, kept in (
        (certify.revocation(PRIMARY), 0, True),
        (certify.revocation(OTHER), 0, True),
        (certify.revocation(PRIMARY, extra=subpacket(101 | CRITICAL, b"?")), 0, True),
        (certify.revocation(PRIMARY, by=OTHER, claimed=PRIMARY), 0, False),
        (certify.revocation(PRIMARY, SUB), 1, True),
        (certify.revocation(PRIMARY, SUB, by=OTHER, claimed=PRIMARY), 1, False),
        (certify.revocation(PRIMARY, OTHER), 1, False),
    ):
        certificate = believed(read(good + revocation))
        assert certificate.is_revoked(certificate.parts[part]) is kept
        assert not certificate.is_revoked(certificate.parts[1 - part])


def test_a_subkey_agrees_to_belong_to_the_primary_key() -> None:
    """RFC 9580 §5.2.1.9: it does not matter in which area the embedded signature stands."""
    embedded = subpacket(32, certify.signed_back(PRIMARY, SUB))
    for subkey, expected in (
        (certify.subkey(PRIMARY, SUB), True),
        (certify.subkey(PRIMARY, SUB, back=b"", unhashed=embedded), True),
        (certify.subkey(PRIMARY, SUB, back=b""), False),
        (certify.subkey(PRIMARY, SUB, back=subpacket(32, certify.signed_back(OTHER, SUB))), False),
        (certify.subkey(PRIMARY, SUB, back=subpacket(32, b"")), False),
    ):
        certificate = read(certify.certificate(PRIMARY, subkey))
        assert has_signed_back(certificate, certificate.parts[1]) is expected
        assert has_signed_back(certificate, certificate.primary)


def test_a_subkey_that_somebody_else_put_there_is_forged() -> None:
    """FAULTS K7: whatever hash its binding says that it has."""
    bound = certify.subkey(RSA, FOREIGN, extra=ENCRYPTS)
    other = certify.subkey(RSA, FOREIGN, by=OTHER, extra=ENCRYPTS, claimed=RSA)
    vectors = {
        "bound": (bound, False),
        "bound with SHA-512": (certify.subkey(RSA, FOREIGN, extra=ENCRYPTS, hash_id=SHA512), False),
        "bound with SHA-1": (certify.subkey(RSA, FOREIGN, extra=ENCRYPTS, hash_id=SHA1), False),
        "bound beside a forgery": (bound + other[len(packet(14, FOREIGN.public)) :], False),
        "bound with MD5": (certify.subkey(RSA, FOREIGN, extra=ENCRYPTS, hash_id=MD5), True),
        "not bound": (packet(14, FOREIGN.public), True),
        "bound by another": (certify.subkey(RSA, FOREIGN, by=OTHER, extra=ENCRYPTS), True),
        "bound by another in our name": (other, True),
        "bound elsewhere": (certify.subkey(OTHER, FOREIGN, by=OTHER, extra=ENCRYPTS), True),
        **{
            f"made up with hash {hash_id}": (packet(14, FOREIGN.public) + claiming_hash(hash_id, RSA, FOREIGN), True)
            for hash_id in (0, MD5, SHA1, RIPEMD160, 8, 99)
        },
    }
    for name, (subkey, expected) in vectors.items():
        certificate = read(certify.certificate(RSA, subkey))
        assert [is_forged(certificate, part) for part in certificate.parts] == [False, expected], name


def test_the_binding_of_a_key_that_we_cannot_verify_is_taken_on_trust() -> None:
    """GnuPG reads it, so senders who have the certificate check it themselves."""
    strange = Key(6, 99, key_writer.public_body(6, 99, bytes(40)), lambda digest, _: digest)
    foreign = Key(6, 25, key_writer.public_body(6, 25, bytes(range(32))), lambda digest, _: digest)
    certificate = read(certify.primary(strange) + certify.subkey(strange, foreign))
    assert not is_forged(certificate, certificate.parts[1])


def test_a_foreign_subkey_in_a_secret_key_is_refused(gpg: Gpg) -> None:
    """FAULTS K7: senders would encrypt to it; with its own binding, one that is made up, or none."""
    ours, theirs = (key_packets(gpg.run("--export-secret-keys", f"={name}")) for name in ("ours", "theirs"))
    now = datetime.now(UTC)
    assert [tag for tag, _ in ours] == [tag for tag, _ in theirs] == [5, 13, 2, 7, 2]
    whole = b"".join(framed(tag, content) for tag, content in ours)
    assert inspect_private(whole, RIGHT, now=now).algorithm == "RSA 2048"
    subkey, binding = (framed(tag, content) for tag, content in theirs[3:])
    stub = packet(7, FOREIGN.public + b"\xff\0\x65\0GNU\x01")
    primary = Key(4, 1, certificate_of(ours).primary.public, lambda digest, _: digest)
    made_up = claiming_hash(SHA1, primary, FOREIGN)
    for spliced in (subkey + binding, subkey, stub, stub + made_up, stub + framed(*ours[4])):
        for data in (whole + spliced, whole[: -len(framed(*ours[3]) + framed(*ours[4]))] + spliced):
            with pytest.raises(KeyRejected, match="not bound to it"):
                inspect_private(data, RIGHT, now=now)


def test_a_key_that_gpg_bound_with_sha1_is_still_taken(gpg: Gpg) -> None:
    """FAULTS K7: such keys are in use, and our senders' programs decide whether they encrypt to them."""
    gpg.run("--cert-digest-algo", "SHA1", "--quick-gen-key", "old", "rsa2048", "default", "never")
    gpg.run("--cert-digest-algo", "SHA1", "--quick-add-key", gpg.fingerprint("old"), "rsa2048", "encr", "never")
    data = gpg.secret_key("old")
    certificate = certificate_of(key_packets(data))
    assert {signature.hash_id for signatures in certificate.signatures for signature in signatures} == {SHA1}
    assert inspect_private(data, RIGHT, now=datetime.now(UTC)).algorithm == "RSA 2048"

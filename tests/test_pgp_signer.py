"""What may be registered as a signer, and what of a certificate is believed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pysequoia
import pytest

from keystore.errors import KeyRejected
from keystore.pgp_signer import Signer
from tests.openpgp import certificate_writer as certify
from tests.openpgp import key_writer
from tests.openpgp.packet_writer import armor, literal, packet
from tests.openpgp.sender import Gpg
from tests.openpgp.signature_writer import CRITICAL, KEY_MADE, SHA1, SHA512, key, seconds, subpacket

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MADE = datetime.fromtimestamp(KEY_MADE, UTC)
DAY, YEAR = 86_400, 365 * 86_400
PRIMARY, SUB, OTHER, RSA = key("Ed25519"), key("P-256", seed=2), key("Ed25519", seed=3), key("RSA")
KEY6 = key("Ed25519", 6)
CERTIFIES_ONLY = certify.primary(PRIMARY) + certify.user_id(PRIMARY, extra=certify.flags(certify.CERTIFY))
SIGNS = certify.flags(certify.SIGN)


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    sender = Gpg()
    sender.make_key("cv", "ed25519", "cv25519", expires="2100-01-01")
    sender.make_key("other", "ed25519")
    yield sender
    sender.close()


def refused(data: bytes, *, now: datetime = NOW) -> str:
    with pytest.raises(KeyRejected) as raised:
        Signer.read(data, now)
    return raised.value.public


def names(signer: Signer) -> set[str]:
    """Fingerprints of the keys that sign."""
    return {each.part.fingerprint.hex().upper() for each in signer.keys.values()}


def test_facts_of_a_certificate_of_gpg(gpg: Gpg) -> None:
    text = gpg.run("--armor", "--export", "=cv")
    signer = Signer.read(text, datetime.now(UTC))
    assert (signer.fingerprint, signer.algorithm) == (gpg.fingerprint("cv"), "Ed25519")
    assert signer.user_ids == ("cv",)
    assert signer.expires_at is not None
    assert signer.expires_at.date() == datetime(2100, 1, 1, tzinfo=UTC).date()
    for same in (gpg.run("--export", "=cv"), b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"), signer.certificate):
        assert Signer.read(same, datetime.now(UTC)) == signer
        assert Signer.stored(same) == signer
    assert "BEGIN" not in repr(signer)


@pytest.mark.parametrize("profile", [pysequoia.Profile.RFC4880, pysequoia.Profile.RFC9580], ids=["4", "6"])
def test_facts_of_a_certificate_of_sequoia(profile: pysequoia.Profile) -> None:
    """A primary key that certifies only, and a subkey that signs; version 6 says it in a direct key signature."""
    theirs = pysequoia.Tsk.generate("Acme", profile=profile, validity_seconds=YEAR).extract_certificate()
    now = datetime.now(UTC)
    signer = Signer.read(bytes(theirs), now)
    assert (signer.fingerprint.lower(), signer.algorithm) == (theirs.fingerprint, "Ed25519")
    assert signer.user_ids == ("Acme",)
    assert len(names(signer) - {signer.fingerprint}) == len(names(signer)) == 1
    assert signer.expires_at is not None
    assert abs(signer.expires_at - now - timedelta(seconds=YEAR)) < timedelta(minutes=5)
    assert "expired on" in refused(bytes(theirs), now=now + timedelta(days=366))


def test_files_that_are_not_one_certificate(gpg: Gpg) -> None:
    """FAULTS P21, K7: refused with the reason and what to do."""
    one, both = gpg.run("--armor", "--export", "=cv"), gpg.run("--export")
    vectors = {
        "private key": gpg.secret_key("cv"),
        "private key, which nobody but its owner": gpg.run("--export-secret-keys", "=cv"),
        "several armored blocks": one + gpg.run("--armor", "--export", "=other"),
        "several keys": both,
        "larger than 64 KiB": one + b"\n" * 70_000,
        "empty": b" \n",
        "not an OpenPGP key": b"ssh-ed25519 AAAA",
        "not an OpenPGP public key": gpg.run("--local-user", "=cv", "--detach-sign", stdin=b"x"),
        "damaged": both[:300],
        "not an OpenPGP key. Export it with: gpg --armor --export": armor(literal(b"x")),
        "version 3": packet(6, b"\x03" + bytes(50)),
        "is not an OpenPGP key": one[:100] + b"\n" * 60_000 + b"!",
    }
    for reason, data in vectors.items():
        assert reason in refused(data)


def test_a_key_that_gpg_revoked(gpg: Gpg) -> None:
    """FAULTS P21."""
    fingerprint = gpg.make_key("revoked", "ed25519")
    before = gpg.run("--export", "=revoked")
    revocation = (gpg.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_bytes()
    gpg.run("--import", stdin=revocation.replace(b":-----BEGIN", b"-----BEGIN"))
    assert "revoked" in refused(gpg.run("--export", "=revoked"), now=datetime.now(UTC))
    assert Signer.read(before, datetime.now(UTC)).fingerprint == fingerprint


def test_self_signatures_of_gpg_with_sha1_only(gpg: Gpg) -> None:
    gpg.run("--cert-digest-algo", "SHA1", "--quick-gen-key", "old", "rsa2048", "default", "never")
    assert "made with SHA-1" in refused(gpg.run("--export", "=old"), now=datetime.now(UTC))
    gpg.run("--cert-digest-algo", "SHA256", "--quick-set-expire", gpg.fingerprint("old"), "0")
    assert Signer.read(gpg.run("--export", "=old"), datetime.now(UTC)).algorithm == "RSA 2048"


def test_a_primary_key_that_proves_nothing() -> None:
    """FAULTS P21: nothing is believed that the primary key has not signed with what we verify."""
    strange = pysequoia.Tsk.generate(
        "Acme", profile=pysequoia.Profile.RFC9580, cipher_suite=pysequoia.CipherSuite.MLDSA65_Ed25519
    )
    vectors = {
        "which cannot be verified here": [bytes(strange.extract_certificate())],
        "cannot be verified here": [packet(6, key_writer.public_body(4, key_writer.X25519, bytes(32)))],
        "RSA 1024, which is not accepted": [certify.certificate(key("RSA", bits=1024))],
        "No self-signature": [
            certify.primary(PRIMARY),
            certify.primary(PRIMARY) + packet(13, b"Acme"),
            certify.primary(PRIMARY) + certify.user_id(PRIMARY, by=OTHER),
            certify.primary(PRIMARY) + certify.user_id(PRIMARY, by=OTHER, claimed=PRIMARY),
            certify.primary(PRIMARY) + certify.user_id(OTHER),
            certify.primary(PRIMARY) + certify.user_id(PRIMARY, named=False),
            certify.primary(PRIMARY) + certify.user_id(PRIMARY, extra=subpacket(101 | CRITICAL, b"?")),
            certify.primary(PRIMARY) + certify.user_id(PRIMARY, kind=0x18),
            certify.primary(PRIMARY) + certify.user_id(PRIMARY).replace(b"Acme", b"Evil"),
            certify.primary(RSA) + certify.user_id(RSA, hash_id=SHA1),
            certify.primary(PRIMARY) + certify.subkey(PRIMARY, SUB),
        ],
    }
    for reason, files in vectors.items():
        for data in files:
            assert reason in refused(data), data


def test_a_key_with_nothing_to_sign_with() -> None:
    """FAULTS P21: by its key flags, or for want of a subkey that is bound in both directions."""
    small = key("RSA", seed=2, bits=1024)
    alone, unproven = "has nothing to sign with", "no signature of the signing subkey over its primary key"
    vectors = [
        (CERTIFIES_ONLY, alone),
        (certify.primary(PRIMARY) + certify.user_id(PRIMARY, extra=certify.flags(0)), alone),
        (certify.primary(PRIMARY) + certify.user_id(PRIMARY, extra=subpacket(27, b"")), alone),
        (certify.primary(PRIMARY) + certify.user_id(PRIMARY, extra=certify.flags(1), unhashed=SIGNS), alone),
        (CERTIFIES_ONLY + certify.subkey(PRIMARY, SUB, extra=certify.flags(certify.ENCRYPT)), alone),
        (CERTIFIES_ONLY + certify.subkey(PRIMARY, SUB, extra=certify.flags(certify.AUTHENTICATE)), alone),
        (CERTIFIES_ONLY + packet(14, SUB.public), alone),
        (CERTIFIES_ONLY + certify.subkey(PRIMARY, SUB, by=OTHER), alone),
        (CERTIFIES_ONLY + certify.subkey(PRIMARY, SUB, by=OTHER, claimed=PRIMARY), alone),
        (CERTIFIES_ONLY + certify.subkey(PRIMARY, SUB, by=SUB, claimed=PRIMARY), alone),
        (CERTIFIES_ONLY + certify.subkey(OTHER, SUB), alone),
        (CERTIFIES_ONLY + certify.subkey(PRIMARY, small), "RSA 1024 cannot be used"),
        (CERTIFIES_ONLY + certify.subkey(PRIMARY, SUB, back=b""), unproven),
        (CERTIFIES_ONLY + certify.subkey(PRIMARY, SUB, back=subpacket(32, b"\x04\x19")), unproven),
        *(
            (CERTIFIES_ONLY + certify.subkey(PRIMARY, SUB, back=subpacket(32, back)), unproven)
            for back in (
                certify.signed_back(PRIMARY, SUB, by=PRIMARY),
                certify.signed_back(PRIMARY, SUB, by=OTHER),
                certify.signed_back(OTHER, SUB),
                certify.signed_back(PRIMARY, key("P-256", seed=4), by=SUB),
                certify.signed_back(PRIMARY, SUB, kind=0x18),
                certify.signed_back(PRIMARY, SUB, hash_id=SHA1),
                certify.signed_back(PRIMARY, SUB, extra=subpacket(101 | CRITICAL, b"?")),
            )
        ),
    ]
    for data, reason in vectors:
        assert reason in refused(data)


def test_what_signs_by_its_key_flags() -> None:
    """RFC 9580 §5.2.3.29: without any, every part may; those that nobody signed do not count."""
    bound, back = certify.subkey(PRIMARY, SUB), subpacket(32, certify.signed_back(PRIMARY, OTHER))
    for data, signing in (
        (certify.certificate(PRIMARY), {PRIMARY}),
        (certify.primary(PRIMARY) + certify.user_id(PRIMARY, extra=b""), {PRIMARY}),
        (CERTIFIES_ONLY + bound, {SUB}),
        (certify.certificate(PRIMARY, bound), {PRIMARY, SUB}),
        (CERTIFIES_ONLY + certify.subkey(PRIMARY, SUB, hash_id=SHA512), {SUB}),
        (CERTIFIES_ONLY + bound + certify.subkey(PRIMARY, OTHER, by=OTHER, claimed=PRIMARY), {SUB}),
        (CERTIFIES_ONLY + bound + certify.subkey(PRIMARY, OTHER, back=b""), {SUB}),
        # added to a subkey for encryption, or to the primary key, without signing it
        (
            CERTIFIES_ONLY
            + bound
            + certify.subkey(PRIMARY, OTHER, extra=certify.flags(certify.ENCRYPT) + back, unhashed=SIGNS),
            {SUB},
        ),
        (
            CERTIFIES_ONLY + bound + certify.user_id(PRIMARY, b"more", by=OTHER, made=KEY_MADE + 1, claimed=PRIMARY),
            {SUB},
        ),
        # said first, then no more; and the other way round
        (CERTIFIES_ONLY + certify.user_id(PRIMARY, b"before", made=KEY_MADE - 1) + bound, {SUB}),
        (CERTIFIES_ONLY + certify.user_id(PRIMARY, b"after", made=KEY_MADE + 1) + bound, {PRIMARY, SUB}),
        (certify.certificate(key("RSA", 6)), {key("RSA", 6)}),
        (certify.primary(KEY6) + certify.direct(KEY6), {KEY6}),
        # what a version 6 key says of itself directly goes before newer user IDs (RFC 9580 §5.2.3.10)
        (CERTIFIES_ONLY + certify.direct(PRIMARY, made=KEY_MADE - 1) + bound, {SUB}),
        (certify.primary(KEY6) + certify.direct(KEY6, made=KEY_MADE - 1) + certify.user_id(KEY6, extra=b""), {KEY6}),
        (
            certify.primary(KEY6)
            + certify.direct(KEY6, extra=certify.flags(certify.CERTIFY), made=KEY_MADE - 1)
            + certify.user_id(KEY6)
            + certify.subkey(KEY6, key("P-256", 6)),
            {key("P-256", 6)},
        ),
    ):
        assert names(Signer.read(data, NOW)) == {each.name for each in signing}


def test_only_user_ids_that_the_key_has_signed_are_shown() -> None:
    """FAULTS P21: whoever carries a certificate can write a name into it."""
    forged = certify.user_id(PRIMARY, b"Evil <e@example.com>", by=OTHER, claimed=PRIMARY) + packet(
        13, b"nobody signed this"
    )
    signer = Signer.read(certify.certificate(PRIMARY, certify.user_id(PRIMARY, b"A \xc3\xa9 \xff"), forged), NOW)
    assert signer.user_ids == (certify.USER_ID.decode(), "A é �")


def test_when_it_expires() -> None:
    """FAULTS P21: the primary key's end is its subkeys' too; the newest self-signature counts."""
    ends = [
        (certify.seconds_valid(YEAR), b"", YEAR),
        (b"", certify.seconds_valid(YEAR), None),
        (certify.seconds_valid(2 * YEAR), certify.seconds_valid(YEAR), 2 * YEAR),
        (certify.seconds_valid(0), certify.seconds_valid(0), None),
        # the self-signature itself ends (RFC 9580 §5.2.3.18)
        (seconds(3, 5 * YEAR), b"", 5 * YEAR),
        (seconds(3, 5 * YEAR) + certify.seconds_valid(YEAR), b"", YEAR),
    ]
    flags = certify.flags(certify.CERTIFY | certify.SIGN)
    back = subpacket(32, certify.signed_back(PRIMARY, SUB))
    unsigned = certify.seconds_valid(9 * YEAR) + seconds(3, 9 * YEAR)
    for primary_says, subkey_says, expected in ends:
        data = certify.primary(PRIMARY) + certify.user_id(PRIMARY, extra=flags + primary_says, unhashed=unsigned)
        data += certify.subkey(PRIMARY, SUB, extra=SIGNS + back + subkey_says, unhashed=unsigned)
        end = None if expected is None else MADE + timedelta(seconds=expected)
        signer = Signer.stored(data)
        assert signer.expires_at == end
        if end is None:
            assert Signer.read(data, NOW) == signer
        else:
            assert Signer.read(data, end - timedelta(seconds=1)) == signer
            assert f"expired on {end:%Y-%m-%d}" in refused(data, now=end)
    later = certify.user_id(PRIMARY, b"later", extra=flags + certify.seconds_valid(3 * YEAR), made=KEY_MADE + 1)
    forged = certify.user_id(PRIMARY, b"forged", by=OTHER, extra=flags, made=KEY_MADE + 2, claimed=PRIMARY)
    first = certify.user_id(PRIMARY, extra=flags + certify.seconds_valid(YEAR))
    for order in (first + later + forged, forged + later + first):
        assert Signer.stored(certify.primary(PRIMARY) + order).expires_at == MADE + timedelta(seconds=3 * YEAR)


def test_revocations_stay_unless_they_are_forged() -> None:
    """FAULTS P21: of the primary key, or of a subkey alone."""
    good, bound = certify.certificate(PRIMARY), CERTIFIES_ONLY + certify.subkey(PRIMARY, SUB)
    for reason in (certify.COMPROMISED, certify.RETIRED):
        revoked = certify.primary(PRIMARY) + certify.revocation(PRIMARY, reason=reason) + certify.user_id(PRIMARY)
        for data in (revoked, good + certify.revocation(PRIMARY, reason=reason)):
            assert "The signer's key is revoked" in refused(data)
        assert "The signer's key is revoked" in refused(bound + certify.revocation(PRIMARY, reason=reason))
    for forged in (
        certify.revocation(PRIMARY, by=OTHER, claimed=PRIMARY),
        certify.revocation(PRIMARY, SUB),
        certify.revocation(OTHER, by=PRIMARY),
    ):
        assert Signer.read(good + forged, NOW).keys
    # somebody else's, or with SHA-1: we cannot tell, and whoever leaves it there means it
    assert "revoked" in refused(good + certify.revocation(OTHER))
    assert "revoked" in refused(certify.certificate(RSA, certify.revocation(RSA, hash_id=SHA1)))
    subkey = bound + certify.revocation(PRIMARY, SUB)
    assert "signing subkey is revoked" in refused(subkey)
    assert names(Signer.stored(subkey)) == {SUB.name}
    forged = certify.revocation(PRIMARY, SUB, by=OTHER, claimed=PRIMARY)
    assert not any(each.revoked_from for each in Signer.read(bound + forged, NOW).keys.values())
    another = certify.subkey(PRIMARY, OTHER)
    assert names(Signer.read(subkey + another, NOW)) == {SUB.name, OTHER.name}


def test_a_certificate_is_kept_without_what_nobody_needs() -> None:
    """Trust packets are private to whoever exported them; nothing else is changed."""
    good = certify.certificate(PRIMARY, certify.subkey(PRIMARY, SUB))
    signer = Signer.read(good + packet(12, b"\x06") + packet(60, b"new") + packet(21, bytes(9)), NOW)
    assert signer.certificate == good


@pytest.mark.parametrize("version", [4, 6])
def test_whatever_is_changed_in_a_certificate_nobody_else_signs_for_it(version: int) -> None:
    """FAULTS P21: a changed one is refused, or believed less."""
    by, sub = key("Ed25519", version), key("P-256", version, seed=2)
    flags = certify.flags(certify.CERTIFY | certify.SIGN)
    said = certify.user_id(by, extra=flags + certify.seconds_valid(YEAR))
    whole = Signer.stored(data := certify.primary(by) + said + certify.subkey(by, sub))
    accepted = 0
    for at in range(len(data)):
        for bit in (1, 0x80):
            changed = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
            with contextlib.suppress(KeyRejected):
                signer = Signer.stored(changed)
                accepted += 1
                assert signer.fingerprint == whole.fingerprint
                assert signer.keys.keys() <= whole.keys.keys()
                assert set(signer.user_ids) <= set(whole.user_ids)
                assert signer.expires_at == whole.expires_at
    assert accepted

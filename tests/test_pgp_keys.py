from __future__ import annotations

import contextlib
import gc
import io
import subprocess
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import pgpy
import pytest
from pgpy.constants import EllipticCurveOID, HashAlgorithm, KeyFlags, PubKeyAlgorithm, SymmetricKeyAlgorithm

from keystore.errors import EngineFailed, KeyPassphraseWrong, KeyRejected, Unsupported
from keystore.openpgp import decrypt
from keystore.pgp_keys import GeneratedPair, PrivateKey, encrypt_to, generate_pair, inspect_private
from keystore.secret import Secret
from tests.openpgp import key_writer
from tests.openpgp.packet_writer import packet
from tests.openpgp.sender import PASSPHRASE, Gpg

NOW = datetime.now(UTC)
RIGHT = Secret(PASSPHRASE.encode())
KINDS: list[Literal["rsa3072", "cv25519"]] = ["rsa3072", "cv25519"]


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    sender = Gpg()
    sender.make_key("Acme <a@example.com>", "rsa3072", "rsa3072")
    sender.make_key("cv", "ed25519", "cv25519", expires="2030-01-01")
    yield sender
    sender.close()


@pytest.fixture(scope="module")
def generated() -> dict[str, GeneratedPair]:
    return {kind: generate_pair(kind, "Acme <a@example.com>", now=NOW) for kind in KINDS}


def test_facts_of_keys_made_by_gpg(gpg: Gpg) -> None:
    facts = inspect_private(gpg.secret_key("Acme <a@example.com>"), RIGHT, now=NOW)
    assert facts.fingerprint == gpg.fingerprint("Acme <a@example.com>")
    assert (facts.algorithm, facts.user_ids, facts.expires_at) == ("RSA 3072", ("Acme <a@example.com>",), None)
    assert [(subkey.algorithm, subkey.usage) for subkey in facts.subkeys] == [("RSA 3072", ("encrypt",))]
    facts = inspect_private(gpg.secret_key("cv"), RIGHT, now=NOW)
    assert facts.algorithm == "Ed25519 + Curve25519"
    assert facts.expires_at is not None
    assert facts.expires_at.date() == datetime(2030, 1, 1, tzinfo=UTC).date()
    assert NOW - timedelta(minutes=5) < facts.created_at <= datetime.now(UTC)  # NOW is when this file was loaded


def test_binary_and_armored_keys_are_the_same(gpg: Gpg) -> None:
    binary = gpg.run("--export-secret-keys", "=cv")
    assert inspect_private(binary, RIGHT, now=NOW) == inspect_private(gpg.secret_key("cv"), RIGHT, now=NOW)
    windows = b"\xef\xbb\xbf" + gpg.secret_key("cv").replace(b"\n", b"\r\n")
    assert inspect_private(windows, RIGHT, now=NOW).algorithm == "Ed25519 + Curve25519"


@pytest.mark.parametrize("user_id", ["Acme <a@example.com>", "cv"])
def test_the_passphrase_must_open_the_key(gpg: Gpg, user_id: str) -> None:
    """FAULTS K7."""
    data = gpg.secret_key(user_id)
    for passphrase in (Secret(b"wrong"), Secret(b""), None):
        with pytest.raises(KeyPassphraseWrong):
            inspect_private(data, passphrase, now=NOW)
        with pytest.raises(KeyPassphraseWrong):
            PrivateKey.unlock("uuid", Secret(data), passphrase)


def test_an_unlocked_key_prints_no_secret(gpg: Gpg) -> None:
    key = PrivateKey.unlock("uuid", Secret(gpg.secret_key("cv")), RIGHT)
    text = f"{key!r} {key} {list(key.decryption_keys.values())}"
    assert PASSPHRASE not in text
    assert "BEGIN" not in text
    assert key.fingerprint in text


def test_files_that_are_not_one_usable_private_key(gpg: Gpg) -> None:
    """FAULTS K7: refused with the reason and what to do."""
    one, two = gpg.secret_key("cv"), gpg.secret_key("Acme <a@example.com>")
    binary = gpg.run("--export-secret-keys")
    gpg.make_key("sign only", "ed25519")
    gpg.make_key("small", "rsa1024", "rsa1024")
    vectors = {
        "public key only": gpg.run("--armor", "--export", "=cv"),
        "several armored blocks": one + two,
        "several keys": binary,
        "larger than 64 KiB": one + b"\n" * 70_000,
        "empty": b"",
        "not an OpenPGP key": b"ssh-ed25519 AAAA",
        "not an OpenPGP private key": gpg.run("--local-user", "=cv", "--detach-sign", stdin=b"x"),
        "damaged": binary[:500],
        "no RSA or ECDH encryption subkey": gpg.secret_key("sign only"),
        "RSA with 1024 bits": gpg.secret_key("small"),
    }
    for reason, data in vectors.items():
        with pytest.raises(KeyRejected) as raised:
            inspect_private(data, RIGHT, now=NOW)
        assert reason in raised.value.public
    middle = bytearray(gpg.run("--export-secret-keys", "=cv"))
    for at in range(0, len(middle), 5):
        damaged = bytes(middle[:at]) + bytes([middle[at] ^ 0xFF]) + bytes(middle[at + 1 :])
        with contextlib.suppress(KeyRejected, KeyPassphraseWrong):
            inspect_private(damaged, RIGHT, now=NOW)


def test_a_key_that_expired_is_refused_but_still_decrypts(gpg: Gpg) -> None:
    """FAULTS P16, K7."""
    data = gpg.secret_key("cv")
    with pytest.raises(KeyRejected, match="expired on 2030-01-01"):
        inspect_private(data, RIGHT, now=datetime(2031, 1, 1, tzinfo=UTC))
    faked = gpg.encrypt("cv", b"a,b\n")
    assert b"".join(decrypt(io.BytesIO(faked), [PrivateKey.unlock("uuid", Secret(data), RIGHT)])) == b"a,b\n"


def test_a_revoked_key_is_refused(gpg: Gpg) -> None:
    """FAULTS K7."""
    fingerprint = gpg.make_key("revoked", "ed25519", "cv25519")
    certificate = (
        (gpg.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_bytes().replace(b":-----BEGIN", b"-----BEGIN")
    )
    gpg.run("--import", stdin=certificate)
    with pytest.raises(KeyRejected, match="revoked"):
        inspect_private(gpg.secret_key("revoked"), RIGHT, now=NOW)


def test_a_primary_key_may_stay_at_home(gpg: Gpg) -> None:
    """GnuPG's stub for the primary key; the encryption subkey is whole."""
    data = gpg.run("--armor", "--export-secret-subkeys", "=Acme <a@example.com>")
    key = PrivateKey.unlock("uuid", Secret(data), RIGHT)
    assert inspect_private(data, RIGHT, now=NOW).fingerprint == key.fingerprint
    assert b"".join(decrypt(io.BytesIO(gpg.encrypt("Acme <a@example.com>", b"x\n")), [key])) == b"x\n"


def test_a_key_without_passphrase(gpg: Gpg) -> None:
    subprocess.run(
        ["gpg", "--homedir", str(gpg.home), "--batch", "--pinentry-mode", "loopback", "--passphrase", "",
         "--quick-gen-key", "bare <bare@example.com>", "rsa2048", "encr", "never"],
        check=True, capture_output=True,
    )  # fmt: skip
    data = gpg.secret_key("bare <bare@example.com>")
    assert inspect_private(data, None, now=NOW).algorithm == "RSA 2048"
    key = PrivateKey.unlock("uuid", Secret(data), None)
    message = gpg.encrypt("bare <bare@example.com>", b"x\n")
    for engine in ("native", "gnupg"):
        assert b"".join(decrypt(io.BytesIO(message), [key], engine=engine)) == b"x\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_pair_works_with_real_gpg(gpg: Gpg, generated: dict[str, GeneratedPair], kind: str) -> None:
    pair = generated[kind]
    assert inspect_private(pair.private_armored.expose(), pair.passphrase, now=NOW) == pair.facts
    assert pair.facts.expires_at is None
    assert [subkey.usage for subkey in pair.facts.subkeys] == [("encrypt",)]
    assert pair.passphrase.expose() not in pair.private_armored.expose()
    assert repr(pair.passphrase) == "Secret(***)"

    gpg.run("--import", stdin=pair.public_armored)
    message = gpg.run("--armor", "--recipient", pair.facts.fingerprint, "--encrypt", stdin=b"a,b\n")
    key = PrivateKey.unlock("uuid", pair.private_armored, pair.passphrase)
    for engine in ("native", "gnupg"):
        assert b"".join(decrypt(io.BytesIO(message), [key], engine=engine)) == b"a,b\n"


def test_generated_pairs_differ_and_need_a_user_id(generated: dict[str, GeneratedPair]) -> None:
    other = generate_pair("cv25519", "Acme", now=NOW)
    assert other.facts.fingerprint != generated["cv25519"].facts.fingerprint
    assert other.passphrase.expose() != generated["cv25519"].passphrase.expose()
    assert other.facts.user_ids == ("Acme",)
    with pytest.raises(ValueError, match="user ID"):
        generate_pair("cv25519", " ", now=NOW)


@pytest.mark.parametrize("user_id", ["Acme <a@example.com>", "cv"])
def test_what_we_encrypt_gpg_decrypts(gpg: Gpg, user_id: str) -> None:
    key = PrivateKey.unlock("uuid", Secret(gpg.secret_key(user_id)), RIGHT)
    for plain in (b"", "row;ä\n".encode() * 10_000):
        message = encrypt_to(key.public_armored(), plain)
        assert message.startswith(b"-----BEGIN PGP MESSAGE-----")
        assert gpg.run("--decrypt", stdin=message) == plain
        read = decrypt(io.BytesIO(message), [key])
        assert b"".join(read) == plain
        assert (read.integrity, read.cipher, read.compression) == ("mdc", "AES256", "zlib")


def test_encrypting_needs_a_public_key_that_encrypts(gpg: Gpg) -> None:
    gpg.make_key("signer", "ed25519")
    for data in (b"", b"text", gpg.secret_key("cv"), gpg.run("--armor", "--export", "=signer")):
        with pytest.raises(KeyRejected):
            encrypt_to(data, b"x")


@pytest.mark.parametrize("lock", ["none", "cfb", "ocb", "gcm"])
@pytest.mark.parametrize("algorithm", [key_writer.X25519, key_writer.X448])
@pytest.mark.parametrize("version", [4, 6])
def test_new_keys_locked_in_every_way(version: int, algorithm: int, lock: key_writer.Lock) -> None:
    """FAULTS P26: versions 4 and 6, Argon2, AEAD."""
    data = key_writer.secret_key(version, algorithm, lock=lock)
    key = PrivateKey.unlock("uuid", Secret(data), Secret(key_writer.PASSPHRASE))
    assert key.fingerprint == key_writer.recipient(version, algorithm)[1:].hex().upper()
    assert b"".join(decrypt(io.BytesIO(encrypt_to(key.public_armored(), b"a\n")), [key])) == b"a\n"
    for passphrase in (Secret(b"wrong"), Secret(b""), None):
        if lock == "none":
            PrivateKey.unlock("uuid", Secret(data), passphrase)
        else:
            with pytest.raises(KeyPassphraseWrong):
                PrivateKey.unlock("uuid", Secret(data), passphrase)
    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]
        with contextlib.suppress(KeyRejected, KeyPassphraseWrong):
            inspect_private(damaged, Secret(key_writer.PASSPHRASE), now=NOW)


def test_keys_that_are_refused_by_name() -> None:
    """FAULTS P26."""
    huge = b"\x40\x00" + b"\x80" + bytes(2047)
    body = key_writer.public_body(4, 1, huge + b"\x00\x11\x01\x00\x01")
    vectors = {
        r"Argon2 with 2\^30 KiB": key_writer.secret_key(6, key_writer.X25519, lock="ocb", memory=30),
        "RSA with 16384 bits": packet(5, body + b"\0" + bytes(100)),
        "version 3": packet(5, b"\x03" + bytes(50)),
        "version 5": packet(5, b"\x05" + bytes(50)),
        "public-key algorithm 99": packet(5, key_writer.public_body(4, 99, bytes(40))),
        "no RSA or ECDH encryption": packet(5, key_writer.public_body(6, 99, bytes(40)) + b"\0" + bytes(40)),
    }
    for reason, data in vectors.items():
        with pytest.raises(KeyRejected, match=reason):
            inspect_private(data, Secret(key_writer.PASSPHRASE), now=NOW)


def test_packets_that_say_nothing_of_the_key_are_passed_over() -> None:
    """FAULTS P25: markers, padding and unknown non-critical packets; a critical one is refused."""
    key = key_writer.secret_key(6, key_writer.X25519)
    extra = packet(10, b"PGP") + packet(21, bytes(30)) + packet(60, b"new")
    facts = inspect_private(key, None, now=NOW)
    assert inspect_private(extra + key + extra, None, now=NOW) == facts
    for data in (extra, key + packet(39, b"new")):
        with pytest.raises(KeyRejected):
            inspect_private(data, None, now=NOW)


@pytest.mark.parametrize("cipher", ["AES128", "CAST5", "TripleDES", "Camellia256"])
def test_older_locks_still_open(cipher: str) -> None:
    """What other programs and old GnuPG lock keys with."""
    data = _pgpy_key("pass", SymmetricKeyAlgorithm[cipher])
    assert inspect_private(data, Secret(b"pass"), now=NOW).algorithm == "Ed25519 + Curve25519"
    with pytest.raises(KeyPassphraseWrong):
        inspect_private(data, Secret(b"past"), now=NOW)


@pytest.mark.parametrize("passphrase", ["ünï çödé 鍵", "x" * 1024, "two\nlines", " blank ", "a"], ids=repr)
def test_passphrases_of_every_kind(passphrase: str) -> None:
    """FAULTS P31: both engines, but gpg takes no line break and no 256 bytes, and that is said by name."""
    data = _pgpy_key(passphrase, SymmetricKeyAlgorithm.AES256)
    key = PrivateKey.unlock("uuid", Secret(data), Secret(passphrase.encode()))
    message = encrypt_to(key.public_armored(), b"a,b\n")
    assert b"".join(decrypt(io.BytesIO(message), [key], engine="native")) == b"a,b\n"
    through_gpg = decrypt(io.BytesIO(message), [key], engine="gnupg")
    reason = "line break" if "\n" in passphrase else "more than 255 bytes" if len(passphrase) > 255 else ""
    if reason:
        with pytest.raises(Unsupported, match=reason):
            b"".join(through_gpg)
    else:
        assert b"".join(through_gpg) == b"a,b\n"


def _pgpy_key(passphrase: str, cipher: SymmetricKeyAlgorithm) -> bytes:
    key = pgpy.PGPKey.new(PubKeyAlgorithm.EdDSA, EllipticCurveOID.Ed25519)
    subkey = pgpy.PGPKey.new(PubKeyAlgorithm.ECDH, EllipticCurveOID.Curve25519)
    key.add_uid(pgpy.PGPUID.new("Acme"), usage={KeyFlags.Certify}, hashes=[HashAlgorithm.SHA256])
    key.add_subkey(subkey, usage={KeyFlags.EncryptCommunications})
    key.protect(passphrase, cipher, HashAlgorithm.SHA256)
    return str(key).encode()


def test_a_forgotten_key_holds_no_secret(gpg: Gpg) -> None:
    key = PrivateKey.unlock("uuid", Secret(gpg.secret_key("cv")), RIGHT)
    message = gpg.encrypt("cv", b"a,b\n" * 500_000)
    blocks = iter(decrypt(io.BytesIO(message), [key]))
    first = next(blocks)
    private = weakref.ref(next(iter(key.decryption_keys.values())))
    key.forget()
    key.forget()
    gc.collect()
    assert private() is None
    assert first + b"".join(blocks) == b"a,b\n" * 500_000, "what is open already reads on"
    for engine in ("native", "gnupg"):
        with pytest.raises(EngineFailed) as raised:
            b"".join(decrypt(io.BytesIO(message), [key], engine=engine))
        assert "forgotten" in raised.value.detail
    assert encrypt_to(key.public_armored(), b"x").startswith(b"-----BEGIN PGP MESSAGE")
    assert key.fingerprint in repr(key)

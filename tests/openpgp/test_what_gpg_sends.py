"""Messages of a real gpg, read by the native engine; their recipients by both."""

from __future__ import annotations

import io

import pytest

from keystore.openpgp import EngineName, decrypt
from keystore.pgp_keys import PrivateKey, encrypt_to
from keystore.secret import Secret
from tests.openpgp import packet_writer as write
from tests.openpgp.conftest import PLAIN
from tests.openpgp.reading import plain_text, verdict
from tests.openpgp.sender import KINDS, PASSPHRASE, Gpg

engines = pytest.mark.parametrize("engine", ["native", "gnupg"])


@pytest.mark.parametrize("armored", [True, False], ids=["armored", "binary"])
@pytest.mark.parametrize("compression", ["none", "zip", "zlib", "bzip2"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_key_type_compression_and_form(
    gpg: Gpg, keys: dict[str, PrivateKey], kind: str, compression: str, armored: bool
) -> None:
    algorithm = {"none": "uncompressed"}.get(compression, compression)
    options = ["--compress-algo", algorithm, *(["--armor"] if armored else [])]
    message = decrypt(io.BytesIO(gpg.encrypt(kind, PLAIN, *options)), list(keys.values()), engine="native")
    assert b"".join(message) == PLAIN
    assert message.key_id == f"uuid-of-{kind}"
    assert message.recipients[0] in {key_id.hex().upper() for key_id in keys[kind].openpgp_key_ids}
    assert (message.compression, message.cipher) == (compression, "AES256")
    assert (message.integrity, message.engine, message.bytes_plain) == ("mdc", "native", len(PLAIN))


@pytest.mark.parametrize("cipher", ["AES128", "AES192", "AES256"])
def test_every_aes_key_size(gpg: Gpg, keys: dict[str, PrivateKey], cipher: str) -> None:
    for kind, key in keys.items():
        data = gpg.encrypt(kind, PLAIN, "--cipher-algo", cipher.replace("128", ""))
        message = decrypt(io.BytesIO(data), [key], engine="native")
        assert b"".join(message) == PLAIN
        assert message.cipher == cipher


@pytest.mark.parametrize("size", [0, 1, 191, 192, 511, 512, 513, 8383, 8384, 8191, 8192, 8193, 65536, 1 << 20, 2100000])
def test_sizes_around_the_borders_of_lengths(gpg: Gpg, keys: dict[str, PrivateKey], size: int) -> None:
    """FAULTS P22: definite and partial lengths, piped and with a known size."""
    plain = bytes(n * 7 & 0xFF for n in range(256)) * (size // 256 + 1)
    plain = plain[:size]
    for compression in ("uncompressed", "zlib"):
        data = gpg.encrypt("cv", plain, "--compress-algo", compression, "--armor")
        assert plain_text(data, keys["cv"]) == plain


def test_a_file_encrypted_by_name_and_as_text(gpg: Gpg, rsa: PrivateKey) -> None:
    """FAULTS P24: literal mode t changes no byte."""
    path = gpg.home / "data.csv"
    path.write_bytes(PLAIN)
    for options in ([], ["--textmode"]):
        data = gpg.run(*options, "--output", "-", "--recipient", "=rsa", "--encrypt", str(path))
        assert plain_text(data, rsa).replace(b"\r\n", b"\n") == PLAIN


def test_a_signature_inside_is_passed_over(gpg: Gpg, keys: dict[str, PrivateKey]) -> None:
    """FAULTS P21."""
    data = gpg.encrypt("rsa", PLAIN, "--sign", "--local-user", "=cv")
    assert plain_text(data, keys["rsa"]) == PLAIN


def test_a_hidden_recipient_is_found_among_our_keys(gpg: Gpg, keys: dict[str, PrivateKey]) -> None:
    """FAULTS P17."""
    for kind in KINDS:
        message = decrypt(io.BytesIO(gpg.encrypt(kind, PLAIN, "--throw-keyids")), list(keys.values()), engine="native")
        assert b"".join(message) == PLAIN
        assert message.key_id == f"uuid-of-{kind}"
        assert message.recipients == ("0" * 16,)


@engines
def test_our_key_may_be_any_of_the_recipients(gpg: Gpg, keys: dict[str, PrivateKey], engine: EngineName) -> None:
    """FAULTS P18: named or hidden, wherever it stands, and whichever of our keys are tried."""
    for others in ([], ["--throw-keyids"]):
        data = gpg.encrypt("rsa", PLAIN, "--recipient", "=cv", "--recipient", "=nist", *others)
        for kind, key in keys.items():
            message = decrypt(io.BytesIO(data), [key], engine=engine)
            assert b"".join(message) == PLAIN
            assert (message.key_id, message.pair, len(message.recipients)) == (f"uuid-of-{kind}", key.fingerprint, 3)
        for order in (list(keys.values()), list(keys.values())[::-1]):
            assert plain_text(data, *order, engine=engine) == PLAIN


@engines
def test_a_primary_key_or_any_subkey_is_the_recipient(gpg: Gpg, engine: EngineName) -> None:
    """FAULTS P18: a pair whose primary key encrypts, with two subkeys that do so as well."""
    user_id = f"all three {engine}"
    gpg.run("--quick-gen-key", user_id, "rsa2048", "sign,encr", "never")
    fingerprint = gpg.fingerprint(user_id)
    for algorithm in ("cv25519", "rsa2048"):
        gpg.run("--quick-add-key", fingerprint, algorithm, "encr")
    key = PrivateKey.unlock("uuid", Secret(gpg.secret_key(user_id)), Secret(PASSPHRASE.encode()))
    assert len(key.decryption_keys) == 3
    for key_id in key.decryption_keys:
        data = gpg.run("--recipient", f"{key_id.hex()}!", "--encrypt", stdin=PLAIN)
        message = decrypt(io.BytesIO(data), [key], engine=engine)
        assert b"".join(message) == PLAIN
        assert (message.recipients, message.pair) == ((key_id.hex().upper(),), fingerprint)


@engines
def test_half_an_id_is_nobodys(keys: dict[str, PrivateKey], engine: EngineName) -> None:
    """FAULTS P18: two keys may have the same short ID; what counts are all 8 octets."""
    rsa = keys["rsa"]
    (key_id,) = rsa.decryption_keys
    encrypted = write.packet(18, write.seipd_body(write.literal(PLAIN)))
    for other in (b"\x01" + key_id[1:], key_id[4:] + key_id[4:], bytes(4) + key_id[4:]):
        assert verdict(write.foreign_pkesk(other) + encrypted, rsa, engine=engine) == "pgp.wrong_key"
        beside = write.foreign_pkesk(other) + write.pkesk(rsa) + encrypted
        assert plain_text(beside, rsa, engine=engine) == PLAIN


def test_blocks_are_bounded_and_close_ends_the_iteration(gpg: Gpg, rsa: PrivateKey) -> None:
    message = decrypt(io.BytesIO(gpg.encrypt("rsa", bytes(30_000_000))), [rsa], engine="native")
    blocks = iter(message)
    assert 0 < len(next(blocks)) <= 1 << 20
    message.close()
    assert next(blocks, None) is None


@pytest.mark.parametrize("curve", ["brainpoolP256r1", "brainpoolP384r1", "brainpoolP512r1", "secp256k1", "nistp521"])
def test_every_other_curve(gpg: Gpg, curve: str) -> None:
    """FAULTS P26."""
    gpg.make_key(curve, curve, curve)
    key = PrivateKey.unlock("uuid", Secret(gpg.secret_key(curve)), Secret(PASSPHRASE.encode()))
    assert plain_text(gpg.encrypt(curve, PLAIN), key) == PLAIN
    assert gpg.run("--decrypt", stdin=encrypt_to(key.public_armored(), PLAIN)) == PLAIN

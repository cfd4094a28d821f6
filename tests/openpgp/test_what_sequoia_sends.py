"""Keys and messages of Sequoia (PySequoia): AEAD for every kind of key, of version 4 and 6."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import NamedTuple

import pysequoia
import pytest
from pysequoia import CipherSuite, EncryptionAlgorithm, Profile

from keystore.errors import KeyRejected
from keystore.openpgp import decrypt
from keystore.pgp_keys import PrivateKey, encrypt_to, inspect_private
from keystore.secret import Secret
from tests.openpgp.conftest import PLAIN

NOW = datetime.now(UTC)
SUITES = {
    "Curve25519": CipherSuite.Cv25519,
    "X448": CipherSuite.Cv448,
    "NIST P-256": CipherSuite.P256,
    "NIST P-384": CipherSuite.P384,
    "NIST P-521": CipherSuite.P521,
    "RSA 2048": CipherSuite.RSA2k,
}


class Pair(NamedTuple):
    theirs: pysequoia.Tsk
    ours: PrivateKey
    algorithm: str


@pytest.fixture(scope="module", params=[(4, name) for name in SUITES] + [(6, name) for name in SUITES], ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    version, name = request.param
    profile = Profile.RFC4880 if version == 4 else Profile.RFC9580
    theirs = pysequoia.Tsk.generate("Acme <a@example.com>", profile=profile, cipher_suite=SUITES[name])
    if version == 6 and name == "Curve25519":
        name = "X25519"
    return Pair(theirs, PrivateKey.unlock("uuid", Secret(bytes(theirs)), None), name)


def test_what_sequoia_encrypts_we_read(pair: Pair) -> None:
    """FAULTS P6, P26."""
    certificate = pysequoia.Cert.from_bytes(pair.ours.public_armored())
    for armor in (True, False):
        data = pysequoia.encrypt(PLAIN, recipients=[certificate], armor=armor)
        message = decrypt(io.BytesIO(data), [pair.ours], engine="native")
        assert b"".join(message) == PLAIN
        assert (message.integrity, message.cipher) == ("aead", "AES256")


def test_what_we_encrypt_sequoia_reads(pair: Pair) -> None:
    for plain in (b"", PLAIN * 4):
        data = encrypt_to(pair.ours.public_armored(), plain)
        assert pysequoia.decrypt(decryptor=pair.theirs.decryptor(), bytes=data).bytes == plain
        assert b"".join(decrypt(io.BytesIO(data), [pair.ours])) == plain


def test_facts_of_the_key(pair: Pair) -> None:
    facts = inspect_private(bytes(pair.theirs), None, now=NOW)
    assert facts.fingerprint.lower() == pysequoia.Cert.from_bytes(pair.ours.public_armored()).fingerprint
    assert facts.user_ids == ("Acme <a@example.com>",)
    assert facts.algorithm.endswith(pair.algorithm)
    assert {usage for subkey in facts.subkeys for usage in subkey.usage} == {"sign", "encrypt"}


def test_post_quantum_keys_are_refused_by_name() -> None:
    """FAULTS P26."""
    suite = CipherSuite.MLDSA65_Ed25519
    whole = pysequoia.Tsk.generate("Acme", profile=Profile.RFC9580, cipher_suite=suite)
    with pytest.raises(KeyRejected, match="no RSA or ECDH encryption subkey"):
        inspect_private(bytes(whole), None, now=NOW)
    subkey = EncryptionAlgorithm.MLKEM768_X25519
    mixed = pysequoia.Tsk.generate("Acme", profile=Profile.RFC4880, encryption_algorithm=subkey)
    with pytest.raises(KeyRejected, match="public-key algorithm 35"):
        inspect_private(bytes(mixed), None, now=NOW)


def test_a_key_that_expires() -> None:
    theirs = pysequoia.Tsk.generate("Acme", profile=Profile.RFC9580, validity_seconds=3600)
    facts = inspect_private(bytes(theirs), None, now=NOW)
    assert facts.expires_at is not None
    with pytest.raises(KeyRejected, match="expired"):
        inspect_private(bytes(theirs), None, now=datetime(2100, 1, 1, tzinfo=UTC))

"""OpenPGP key pairs: inspect one, unlock one, make one, encrypt to one (RFC 9580 §10.1, §10.2).

Asymmetric keys are unlocked through PGPy once and kept as `cryptography` objects; bulk data never goes through PGPy.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

import pgpy
from cryptography.hazmat.primitives.asymmetric import x25519
from pgpy.constants import (
    CompressionAlgorithm,
    EllipticCurveOID,
    Features,
    HashAlgorithm,
    KeyFlags,
    PubKeyAlgorithm,
    SymmetricKeyAlgorithm,
)
from pgpy.errors import PGPDecryptionError

from keystore.errors import KeyPassphraseWrong, KeyRejected
from keystore.openpgp.session_key import RSA_ALGORITHMS, DecryptionKey, EcdhKey, RsaKey
from keystore.pgp_certificate import (
    ENCRYPTS,
    STUB,
    KeyFacts,
    SubkeyFacts,
    check_usable,
    is_stub,
    key_facts,
    may_encrypt,
    openpgp_key_id,
    parse_private,
    parts,
)
from keystore.pgp_encrypt import encrypt_to
from keystore.secret import Secret

__all__ = [
    "GeneratedPair",
    "KeyFacts",
    "PrivateKey",
    "SubkeyFacts",
    "encrypt_to",
    "generate_pair",
    "inspect_private",
]

_USER_ID = re.compile(r"(?P<name>[^<>]*[^<>\s])\s*<(?P<email>[^<>\s]+)>")


class PrivateKey:
    """An unlocked pair; compares by identity, prints no secret.

    ``openpgp_key_ids`` are the 8-octet IDs of the primary key and all subkeys; ``decryption_keys`` has those that the
    native engine opens session keys with. ``transferable`` and ``passphrase`` are what GnuPG needs. Expired and revoked
    subkeys still decrypt what was sent to them (FAULTS.md P16).
    """

    def __init__(
        self,
        key_id: str,
        key: Any,
        decryption_keys: Mapping[bytes, DecryptionKey],
        transferable: Secret,
        *,
        passphrase: Secret | None,
    ) -> None:
        self.key_id = key_id
        self.fingerprint = str(key.fingerprint)
        self.openpgp_key_ids = frozenset(openpgp_key_id(part) for part in parts(key))
        self.decryption_keys = MappingProxyType(dict(decryption_keys))
        self.transferable = transferable
        self.passphrase = passphrase
        self._public = str(key.pubkey).encode()

    def __repr__(self) -> str:
        return f"PrivateKey(key_id={self.key_id!r}, fingerprint={self.fingerprint!r})"

    def public_armored(self) -> bytes:
        """The public certificate, for encrypting to the same pair."""
        return self._public

    @classmethod
    def unlock(cls, key_id: str, transferable: Secret, passphrase: Secret | None) -> PrivateKey:
        """Unlock an armored or binary secret key; costs about 0.1 s for each encryption subkey, so keep the result.

        Raises `KeyPassphraseWrong` when the passphrase does not open it or one is needed and none is given, and
        `KeyRejected` when it does not parse or has nothing to decrypt with. A passphrase that is not needed is ignored.
        """
        key = parse_private(transferable.expose())
        return cls(key_id, key, _unlocked(key, passphrase), transferable, passphrase=passphrase)


def inspect_private(data: bytes, passphrase: Secret | None, *, now: datetime) -> KeyFacts:
    """Check a secret key before it is stored, all at once (FAULTS.md K7); ``now`` is aware.

    Raises `KeyRejected` (too large, does not parse, several keys, public only, revoked, expired, no usable encryption
    key, too weak), whose text says what to do, and `KeyPassphraseWrong`.
    """
    key = parse_private(data)
    check_usable(key, now)
    _unlocked(key, passphrase)
    return key_facts(key)


@dataclass(frozen=True)
class GeneratedPair:
    """A fresh pair; the private key is protected with the passphrase."""

    private_armored: Secret
    public_armored: bytes
    passphrase: Secret
    facts: KeyFacts


def generate_pair(kind: Literal["rsa3072", "cv25519"], user_id: str, *, now: datetime) -> GeneratedPair:
    """Make a pair with a signing primary key, an encryption subkey and a random passphrase; it does not expire.

    ``user_id`` is a name, or ``Name <address>``. Raises ``ValueError`` for an empty one.
    """
    if not user_id.strip():
        raise ValueError("a key needs a user ID")
    created = now.replace(microsecond=0)
    if kind == "rsa3072":
        key = pgpy.PGPKey.new(PubKeyAlgorithm.RSAEncryptOrSign, 3072, created=created)
        subkey = pgpy.PGPKey.new(PubKeyAlgorithm.RSAEncryptOrSign, 3072, created=created)
    else:
        key = pgpy.PGPKey.new(PubKeyAlgorithm.EdDSA, EllipticCurveOID.Ed25519, created=created)
        subkey = pgpy.PGPKey.new(PubKeyAlgorithm.ECDH, EllipticCurveOID.Curve25519, created=created)
    named = _USER_ID.fullmatch(user_id.strip())
    uid = pgpy.PGPUID.new(named["name"], email=named["email"]) if named else pgpy.PGPUID.new(user_id.strip())
    key.add_uid(
        uid,
        created=created,
        usage={KeyFlags.Certify, KeyFlags.Sign},
        hashes=[HashAlgorithm.SHA512, HashAlgorithm.SHA384, HashAlgorithm.SHA256],
        ciphers=[SymmetricKeyAlgorithm.AES256, SymmetricKeyAlgorithm.AES192, SymmetricKeyAlgorithm.AES128],
        compression=[CompressionAlgorithm.ZLIB, CompressionAlgorithm.ZIP, CompressionAlgorithm.Uncompressed],
        features={Features.ModificationDetection},
    )
    key.add_subkey(subkey, created=created, usage=set(ENCRYPTS))
    passphrase = secrets.token_urlsafe(32)
    key.protect(passphrase, SymmetricKeyAlgorithm.AES256, HashAlgorithm.SHA256)
    return GeneratedPair(
        private_armored=Secret(str(key).encode()),
        public_armored=str(key.pubkey).encode(),
        passphrase=Secret(passphrase.encode()),
        facts=key_facts(key),
    )


def _unlocked(key: Any, passphrase: Secret | None) -> dict[bytes, DecryptionKey]:
    """A decryption key for each part that may encrypt; only those are unlocked, since each costs 0.1 s."""
    encrypting = [part for part in parts(key) if may_encrypt(part)]
    opened = {openpgp_key_id(part): _open(part, passphrase) for part in encrypting if not is_stub(part)}
    if not opened:
        raise KeyRejected(STUB if encrypting else "The key has no RSA or ECDH encryption subkey.")
    return opened


def _open(part: Any, passphrase: Secret | None) -> DecryptionKey:
    packet = part._key
    protected = bool(packet.protected)
    if protected and (passphrase is None or not passphrase.expose()):
        raise KeyPassphraseWrong("The key is protected with a passphrase, and none was given.")
    try:
        if protected and passphrase is not None:
            packet.unprotect(passphrase.expose())
        return _decryption_key(part)
    except PGPDecryptionError:
        raise KeyPassphraseWrong("The passphrase does not open the key.") from None
    except Exception as error:
        raise KeyRejected(
            "The secret part of the key is damaged or protected in a way that is not supported. Export it again.",
            detail=type(error).__name__,
        ) from None
    finally:
        if protected:
            packet.keymaterial.clear()


def _decryption_key(part: Any) -> DecryptionKey:
    """The key as `cryptography` has it, which also checks that the secret fits the public part."""
    material = part._key.keymaterial
    private = material.__privkey__()
    if int(part.key_algorithm) in RSA_ALGORITHMS:
        return RsaKey(private)
    if isinstance(private, x25519.X25519PrivateKey) and private.public_key().public_bytes_raw() != material.p.x:
        raise ValueError("the secret does not fit the public key")
    raw = bytes(material.__bytearray__())
    return EcdhKey(
        private,
        oid=raw[1 : 1 + raw[0]],
        kdf_hash=int(material.kdf.halg),
        kdf_cipher=int(material.kdf.encalg),
        fingerprint=bytes.fromhex(str(part.fingerprint)),
    )

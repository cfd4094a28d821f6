"""OpenPGP key pairs: inspect one, unlock one, make one, encrypt to one (RFC 9580 §10.1, §10.2).

Asymmetric keys are unlocked once and kept as `cryptography` objects. PGPy, which is untyped, makes new pairs and does
nothing else.
"""

from __future__ import annotations

import re
import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

import pgpy
from cryptography.utils import CryptographyDeprecationWarning
from pgpy.constants import (
    CompressionAlgorithm,
    EllipticCurveOID,
    Features,
    HashAlgorithm,
    KeyFlags,
    PubKeyAlgorithm,
    SymmetricKeyAlgorithm,
)

from keystore.armored import armored
from keystore.errors import EngineFailed, KeyRejected
from keystore.openpgp.facts import SignaturePolicy
from keystore.openpgp.session_key import DecryptionKey
from keystore.pgp_binding import is_forged
from keystore.pgp_certificate import (
    NOTHING_ENCRYPTS,
    STUB,
    Certificate,
    KeyFacts,
    SubkeyFacts,
    check_usable,
    key_facts,
    parse_private,
    public_packets,
)
from keystore.pgp_encrypt import encrypt_to
from keystore.pgp_key_packet import KeyPart
from keystore.pgp_pair import Pair
from keystore.pgp_protection import DAMAGED, is_stub, unlocked
from keystore.secret import Secret

# PGPy 0.6 asks cryptography for ciphers under their old names; users can do nothing about it
warnings.filterwarnings("ignore", r".*has been moved to cryptography\.hazmat\.decrepit", CryptographyDeprecationWarning)

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


@dataclass(frozen=True, slots=True, repr=False)
class _Unlocked:
    """The secrets of a pair."""

    decryption_keys: Mapping[bytes, DecryptionKey]
    transferable: Secret
    passphrase: Secret | None


class PrivateKey(Pair):
    """An unlocked pair; prints no secret. Its public facts stay when it is forgotten."""

    def __init__(self, key_id: str, certificate: Certificate, secret: _Unlocked, signatures: SignaturePolicy) -> None:
        public = public_packets(secret.transferable.expose())
        with_crc = certificate.primary.version == 4
        super().__init__(key_id, certificate, armored("PGP PUBLIC KEY BLOCK", public, with_crc=with_crc), signatures)
        self._secret: _Unlocked | None = secret

    def unlocked(self) -> PrivateKey:
        """Itself."""
        return self

    @property
    def decryption_keys(self) -> Mapping[bytes, DecryptionKey]:
        """By OpenPGP key ID, what the native engine opens session keys with. Raises `EngineFailed` when forgotten."""
        return self._held.decryption_keys

    @property
    def transferable(self) -> Secret:
        """The secret key as it was stored, for GnuPG. Raises `EngineFailed` when forgotten."""
        return self._held.transferable

    @property
    def passphrase(self) -> Secret | None:
        """What opens ``transferable``, for GnuPG. Raises `EngineFailed` when forgotten."""
        return self._held.passphrase

    @property
    def _held(self) -> _Unlocked:
        if self._secret is None:
            raise EngineFailed(
                "The file could not be decrypted just now. It will be tried again.",
                detail="the unlocked key was forgotten while it was in use",
            )
        return self._secret

    def forget(self) -> None:
        """Let go of everything secret, for good; OpenSSL clears its keys then. A second call does nothing.

        A message whose session key is open already reads on; what asks for the secrets afterwards gets `EngineFailed`,
        which is worth another try.
        """
        self._secret = None

    @classmethod
    def unlock(
        cls,
        key_id: str,
        transferable: Secret,
        passphrase: Secret | None,
        *,
        signatures: SignaturePolicy = "verify",
    ) -> PrivateKey:
        """Unlock an armored or binary secret key; costs about 0.1 s for each encryption subkey, so keep the result.

        Raises `KeyPassphraseWrong` when the passphrase does not open it or one is needed and none is given, and
        `KeyRejected` when it does not parse or has nothing to decrypt with. A passphrase that is not needed is ignored.
        """
        certificate = parse_private(transferable.expose())
        keys = MappingProxyType(_decryption_keys(certificate, passphrase))
        return cls(key_id, certificate, _Unlocked(keys, transferable, passphrase), signatures)


def inspect_private(data: bytes, passphrase: Secret | None, *, now: datetime) -> KeyFacts:
    """Check a secret key before it is stored, all at once (FAULTS.md K7); ``now`` is aware.

    Raises `KeyRejected` (too large, does not parse, several keys, public only, revoked, expired, no usable encryption
    key, too weak, an encryption subkey that the primary key did not bind), whose text says what to do, and
    `KeyPassphraseWrong`.
    """
    certificate = parse_private(data)
    _check_bindings(certificate)
    check_usable(certificate, now)
    _decryption_keys(certificate, passphrase)
    return key_facts(certificate)


@dataclass(frozen=True)
class GeneratedPair:
    """A fresh pair; the private key is protected with the passphrase."""

    private_armored: Secret
    public_armored: bytes
    passphrase: Secret
    facts: KeyFacts


def generate_pair(
    kind: Literal["rsa3072", "cv25519"], user_id: str, *, now: datetime, lasts: timedelta | None = None
) -> GeneratedPair:
    """Make a pair with a signing primary key, an encryption subkey and a random passphrase.

    The primary key, and with it the pair, expires ``lasts`` after ``now``, or never. ``user_id`` is a name, or
    ``Name <address>``. Raises ``ValueError`` for an empty one.
    """
    if not user_id.strip():
        raise ValueError("a key needs a user ID")
    created = now.replace(microsecond=0)
    expiry = {} if lasts is None else {"key_expiration": lasts}
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
        **expiry,
    )
    key.add_subkey(subkey, created=created, usage={KeyFlags.EncryptCommunications, KeyFlags.EncryptStorage})
    passphrase = secrets.token_urlsafe(32)
    key.protect(passphrase, SymmetricKeyAlgorithm.AES256, HashAlgorithm.SHA256)
    private_armored = str(key).encode()
    return GeneratedPair(
        private_armored=Secret(private_armored),
        public_armored=str(key.pubkey).encode(),
        passphrase=Secret(passphrase.encode()),
        facts=key_facts(parse_private(private_armored)),
    )


def _check_bindings(certificate: Certificate) -> None:
    """Whoever had the file in hand could put a subkey of their own into it, and senders would encrypt to that."""
    if any(is_forged(certificate, part) for part in certificate.encrypting()):
        raise KeyRejected(
            "The key's encryption subkey is not bound to it: the primary key has not signed it, or the file was "
            "changed. Export the key again."
        )


def _decryption_keys(certificate: Certificate, passphrase: Secret | None) -> dict[bytes, DecryptionKey]:
    """A decryption key for each part that may encrypt; only those are unlocked, since each costs 0.1 s."""
    encrypting = certificate.encrypting()
    opened = {part.key_id: _open(part, passphrase) for part in encrypting if not is_stub(part)}
    if not opened:
        raise KeyRejected(STUB if encrypting else NOTHING_ENCRYPTS)
    return opened


def _open(part: KeyPart, passphrase: Secret | None) -> DecryptionKey:
    secret = unlocked(part, passphrase)
    try:
        return part.decryption_key(secret)
    except (
        Exception
    ) as error:  # numbers of an untrusted key: ValueError, OverflowError, ZeroDivisionError, FramingError
        raise KeyRejected(DAMAGED, detail=type(error).__name__) from None

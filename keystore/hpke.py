"""HPKE keys, which seal or open one message at a time: base mode of RFC 9180 with HKDF-SHA256 and AES-256-GCM.

A message is the encapsulated key, then the ciphertext with its tag (RFC 9180 §6.1). ``info`` is the account ID in
UTF-8, the associated data is empty. Nothing in a message says who sealed it, and the same message opens twice
(FAULTS.md H3): whoever takes messages authenticates their sender first, and notices those that come again.
"""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from keystore.errors import KeysetRejected
from keystore.secret import Secret


class Kem(StrEnum):
    """How the key of a message reaches its recipient."""

    X25519 = "x25519"  # DHKEM(X25519, HKDF-SHA256), 0x0020 (RFC 9180 §7.1)
    X_WING = "x-wing"  # X25519 and ML-KEM-768, 0x647a (the drafts xwing-kem and hpke-pq of the CFRG and the IETF)


PRIVATE_BYTES = 32  # of both: a scalar, or the seed of X-Wing
_SUITES = {
    Kem.X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    Kem.X_WING: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}
_X25519_BYTES, _MLKEM_BYTES = 32, 1184
_PUBLIC_BYTES = {Kem.X25519: _X25519_BYTES, Kem.X_WING: _MLKEM_BYTES + _X25519_BYTES}
_X25519_PRIME = 2**255 - 19


class HpkePublicKey:
    """A key that messages are sealed to; ``raw`` is its encoding in RFC 9180 §7.1.1 or the draft of X-Wing.

    Raises `KeysetRejected` for a wrong length, and for a key with which nothing secret or nothing that opens could be
    made.
    """

    __slots__ = ("_key", "kem", "raw")

    def __init__(self, kem: Kem, raw: bytes) -> None:
        if len(raw) != _PUBLIC_BYTES[kem]:
            raise KeysetRejected(f"The public key has {len(raw)} bytes; one for {kem} has {_PUBLIC_BYTES[kem]}.")
        self.kem = kem
        self.raw = raw
        self._key = _x25519(raw) if kem is Kem.X25519 else _x_wing(raw)

    def seal(self, plain: bytes, account: str) -> bytes:
        """A message with ``plain`` for ``account``; never the same twice."""
        return _SUITES[self.kem].encrypt(plain, self._key, account.encode())


class HpkePrivateKey:
    """A key that opens messages, with its ``public`` half. Raises `KeysetRejected` for a wrong length."""

    __slots__ = ("_key", "kem", "public", "raw")

    def __init__(self, kem: Kem, raw: Secret) -> None:
        if len(raw.expose()) != PRIVATE_BYTES:
            raise KeysetRejected(f"The private key has {len(raw.expose())} bytes; one for {kem} has {PRIVATE_BYTES}.")
        self.kem = kem
        self.raw = raw
        self._key: X25519PrivateKey | MLKEM768X25519PrivateKey
        if kem is Kem.X25519:
            x25519 = X25519PrivateKey.from_private_bytes(raw.expose())
            self._key, public = x25519, b""
        else:
            # the draft of X-Wing: the seed of ML-KEM, then the scalar
            expanded = hashlib.shake_256(raw.expose()).digest(96)
            mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
            x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
            self._key, public = MLKEM768X25519PrivateKey(mlkem, x25519), mlkem.public_key().public_bytes_raw()
        self.public = HpkePublicKey(kem, public + x25519.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, kem: Kem) -> HpkePrivateKey:
        """A new key. RFC 9180 §7.1.2: every 32 bytes are a private key of X25519."""
        return cls(kem, Secret(secrets.token_bytes(PRIVATE_BYTES)))

    def opened(self, sealed: bytes | memoryview, account: str) -> bytes | None:
        """What the message holds, or nothing when this key does not open it for ``account``, whatever the reason."""
        try:
            return _SUITES[self.kem].decrypt(sealed, self._key, account.encode())
        except (InvalidTag, ValueError):  # the library promises the first; the second would tell failures apart
            return None


def _x25519(raw: bytes) -> X25519PublicKey:
    # HPKE binds the key as it is written (RFC 9180 §4.1), and its owner writes it below the prime: otherwise nothing
    # that is sealed to it would ever open
    if int.from_bytes(raw, "little") >= _X25519_PRIME:
        raise KeysetRejected("The public key is no X25519 key in its proper form: its number is too large.")
    key = X25519PublicKey.from_public_bytes(raw)
    try:
        X25519PrivateKey.generate().exchange(key)
    except ValueError:
        # RFC 7748 §6.1: the shared secret would be zero, known to everybody
        raise KeysetRejected("The public key is a point of low order: what is sealed to it anybody can open.") from None
    return key


def _x_wing(raw: bytes) -> MLKEM768X25519PublicKey:
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_BYTES])
    except (ValueError, UnsupportedAlgorithm) as error:
        # the check of FIPS 203 on an encapsulation key; or the crypto library was built without ML-KEM
        raise KeysetRejected("The ML-KEM part of the public key is invalid.", detail=type(error).__name__) from None
    return MLKEM768X25519PublicKey(mlkem, _x25519(raw[_MLKEM_BYTES:]))

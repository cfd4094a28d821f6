"""Session keys: opening a PKESK packet with one of our private keys (RFC 9580 §5.1).

RSA, X25519, X448, and ECDH over every curve that `cryptography` has. What goes wrong here depends on the private
key, so it is `BadSessionKey` inside and `Corrupt` outside, whatever it was: nobody may use us as a padding oracle
(FAULTS.md P32).
OpenSSL's implicit rejection answers bad RSA padding with random bytes, which the checksum then refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x448, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from keystore.openpgp.facts import CIPHER_NAMES

RSA_ALGORITHMS = frozenset({1, 2})
ECDH_ALGORITHM, X25519_ALGORITHM, X448_ALGORITHM = 18, 25, 26

# RFC 9580 §9.3: key octets by cipher ID
KEY_BYTES = {1: 16, 2: 24, 3: 16, 4: 16, 7: 16, 8: 24, 9: 32, 10: 32, 11: 16, 12: 24, 13: 32}
AES_CIPHERS = frozenset({7, 8, 9})
LEGACY_CIPHERS = frozenset({1, 2, 3, 4})
# RFC 9580 §9.5
_HASHES: dict[int, type[hashes.HashAlgorithm]] = {8: hashes.SHA256, 9: hashes.SHA384, 10: hashes.SHA512}


class BadSessionKey(Exception):
    """The packet does not open with this key; the text is for the operator's log only."""


class CannotNatively(Exception):
    """The native engine does not read this, GnuPG may; raised before any plain text is handed out."""


@dataclass(frozen=True, slots=True, repr=False)
class SessionKey:
    """A symmetric key and its cipher ID."""

    cipher: int
    key: bytes

    @property
    def cipher_name(self) -> str:
        """The cipher's name, such as ``AES256``."""
        return CIPHER_NAMES[self.cipher]


class DecryptionKey(Protocol):
    """A private (sub)key that opens session keys."""

    algorithms: frozenset[int]

    def open(self, fields: bytes, cipher: int | None) -> SessionKey:
        """The session key in a PKESK packet's algorithm fields. Raises `BadSessionKey`, `CannotNatively`.

        ``cipher`` is that of the encrypted data where this says so (PKESK version 6), else ``None``: the session key
        then says it (version 3).
        """


class RsaKey:
    """An RSA private key (RFC 9580 §5.1.3)."""

    algorithms = RSA_ALGORITHMS

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self._private = private

    def open(self, fields: bytes, cipher: int | None) -> SessionKey:
        """The session key; raises `BadSessionKey`."""
        number, rest = _mpi(fields)
        width = (self._private.key_size + 7) // 8
        if rest or len(number) > width:
            raise BadSessionKey("the RSA value does not fit the key")
        try:
            return _parse(self._private.decrypt(number.rjust(width, b"\0"), padding.PKCS1v15()), cipher)
        except ValueError as error:
            raise BadSessionKey("RSA decryption failed") from error


class EcdhKey:
    """An ECDH private key with what its KDF mixes in (RFC 9580 §11.5)."""

    algorithms = frozenset({ECDH_ALGORITHM})

    def __init__(
        self,
        private: x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey,
        *,
        oid: bytes,
        kdf_hash: int,
        kdf_cipher: int,
        fingerprint: bytes,
    ) -> None:
        self._private = private
        self._oid, self._hash, self._cipher, self._fingerprint = oid, kdf_hash, kdf_cipher, fingerprint

    def open(self, fields: bytes, cipher: int | None) -> SessionKey:
        """The session key; raises `BadSessionKey`, and `CannotNatively` for unusual KDF parameters of the key."""
        point, rest = _mpi(fields)
        if not rest or rest[0] != len(rest) - 1:
            raise BadSessionKey("the wrapped key's length is wrong")
        if self._hash not in _HASHES or self._cipher not in AES_CIPHERS:
            raise CannotNatively("the key's ECDH parameters")
        try:
            shared = self._shared(point)
            wrapping = ecdh_wrapping_key(shared, self._oid, self._hash, self._cipher, self._fingerprint)
            padded = aes_key_unwrap(wrapping, rest[1:])
        except (ValueError, InvalidUnwrap) as error:
            raise BadSessionKey("ECDH decryption failed") from error
        # PKCS#5 padding; gpg pads beyond the next multiple of eight to hide the cipher
        count = padded[-1]
        if not 1 <= count <= len(padded) or padded[-count:] != bytes([count]) * count:
            raise BadSessionKey("the ECDH padding is wrong")
        return _parse(padded[:-count], cipher)

    def _shared(self, point: bytes) -> bytes:
        if isinstance(self._private, x25519.X25519PrivateKey):
            # RFC 9580 §11.2.2: native point format, prefix 0x40
            if len(point) != 33 or point[0] != 0x40:
                raise ValueError("not a Curve25519 point")
            return self._private.exchange(x25519.X25519PublicKey.from_public_bytes(point[1:]))
        public = ec.EllipticCurvePublicKey.from_encoded_point(self._private.curve, point)
        return self._private.exchange(ec.ECDH(), public)


class MontgomeryKey:
    """An X25519 or X448 private key of its own algorithm, not of ECDH (RFC 9580 §5.1.6, §5.1.7)."""

    def __init__(self, private: x25519.X25519PrivateKey | x448.X448PrivateKey) -> None:
        self._private = private
        self._recipient = private.public_key().public_bytes_raw()
        is_x25519 = isinstance(private, x25519.X25519PrivateKey)
        self.algorithms = frozenset({X25519_ALGORITHM if is_x25519 else X448_ALGORITHM})

    def open(self, fields: bytes, cipher: int | None) -> SessionKey:
        """The session key; raises `BadSessionKey`."""
        width = len(self._recipient)
        ephemeral, rest = fields[:width], fields[width:]
        if len(ephemeral) != width or len(rest) < 2 or rest[0] != len(rest) - 1:
            raise BadSessionKey("the wrapped key's length is wrong")
        # the cipher of a version 3 packet stands in the clear here, beside the wrapped key
        known = rest[1:2] if cipher is None else bytes([cipher])
        wrapped = rest[2:] if cipher is None else rest[1:]
        try:
            key = aes_key_unwrap(self._wrapping(ephemeral), wrapped)
        except (ValueError, InvalidUnwrap) as error:
            raise BadSessionKey("the session key does not unwrap") from error
        # RFC 9580 §5.1.6: a version 3 packet is for AES only; the length must be the cipher's
        if known[0] not in AES_CIPHERS or KEY_BYTES[known[0]] != len(key):
            raise BadSessionKey("the session key's cipher or length is wrong")
        return SessionKey(known[0], key)

    def _wrapping(self, ephemeral: bytes) -> bytes:
        if isinstance(self._private, x25519.X25519PrivateKey):
            shared = self._private.exchange(x25519.X25519PublicKey.from_public_bytes(ephemeral))
        else:
            shared = self._private.exchange(x448.X448PublicKey.from_public_bytes(ephemeral))
        return montgomery_wrapping_key(ephemeral, self._recipient, shared)


def ecdh_wrapping_key(shared: bytes, oid: bytes, kdf_hash: int, kdf_cipher: int, fingerprint: bytes) -> bytes:
    """What wraps a session key in ECDH (RFC 9580 §11.5). Raises ``ValueError`` for unusual KDF parameters."""
    if kdf_hash not in _HASHES or kdf_cipher not in AES_CIPHERS:
        raise ValueError("unusual KDF parameters")
    # curve OID, algorithm, KDF parameters, constant, recipient's fingerprint
    parameters = bytes([len(oid)]) + oid + bytes([ECDH_ALGORITHM, 3, 1, kdf_hash, kdf_cipher])
    digest = hashes.Hash(_HASHES[kdf_hash]())
    digest.update(b"\0\0\0\1" + shared + parameters + b"Anonymous Sender    " + fingerprint)
    return digest.finalize()[: KEY_BYTES[kdf_cipher]]


def montgomery_wrapping_key(ephemeral: bytes, recipient: bytes, shared: bytes) -> bytes:
    """What wraps a session key for an X25519 or X448 key (RFC 9580 §5.1.6, §5.1.7)."""
    if len(recipient) == 32:
        kdf = HKDF(hashes.SHA256(), 16, None, b"OpenPGP X25519")
    else:
        kdf = HKDF(hashes.SHA512(), 32, None, b"OpenPGP X448")
    return kdf.derive(ephemeral + recipient + shared)


def _mpi(data: bytes) -> tuple[bytes, bytes]:
    """The first multiprecision integer and what follows it (RFC 9580 §3.2)."""
    width = (int.from_bytes(data[:2]) + 7) // 8
    if len(data) < 2 + width or width == 0:
        raise BadSessionKey("a number in the session key packet is cut")
    return data[2 : 2 + width], data[2 + width :]


def _parse(data: bytes, cipher: int | None) -> SessionKey:
    """Cipher ID (version 3 only), key, two octets of checksum (RFC 9580 §5.1.3, §5.1.5)."""
    head = data[:1] if cipher is None else bytes([cipher])
    key, checksum = data[1 if cipher is None else 0 : -2], data[-2:]
    if len(data) < 3 or KEY_BYTES.get(head[0]) != len(key) or sum(key) & 0xFFFF != int.from_bytes(checksum):
        raise BadSessionKey("the session key's length or checksum is wrong")
    return SessionKey(head[0], key)

"""Session keys: opening a PKESK packet with one of our private keys (RFC 9580 §5.1).

RSA, and ECDH over every curve that `cryptography` has. What goes wrong here depends on the private key, so it is
`BadSessionKey` inside and `Corrupt` outside, whatever it was: nobody may use us as a padding oracle (FAULTS.md P32).
OpenSSL's implicit rejection answers bad RSA padding with random bytes, which the checksum then refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from keystore.openpgp.facts import CIPHER_NAMES

RSA_ALGORITHMS = frozenset({1, 2})
ECDH_ALGORITHM = 18

# RFC 9580 §9.3: key octets by cipher ID
_KEY_BYTES = {1: 16, 2: 24, 3: 16, 4: 16, 7: 16, 8: 24, 9: 32, 10: 32, 11: 16, 12: 24, 13: 32}
AES_CIPHERS = frozenset({7, 8, 9})
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

    def open(self, fields: bytes) -> SessionKey:
        """The session key in a PKESK packet's algorithm fields. Raises `BadSessionKey`, `CannotNatively`."""


class RsaKey:
    """An RSA private key (RFC 9580 §5.1.3)."""

    algorithms = RSA_ALGORITHMS

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        self._private = private

    def open(self, fields: bytes) -> SessionKey:
        """The session key; raises `BadSessionKey`."""
        number, rest = _mpi(fields)
        width = (self._private.key_size + 7) // 8
        if rest or len(number) > width:
            raise BadSessionKey("the RSA value does not fit the key")
        try:
            return _parse(self._private.decrypt(number.rjust(width, b"\0"), padding.PKCS1v15()))
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
        self._hash, self._cipher = kdf_hash, kdf_cipher
        # RFC 9580 §11.5: curve OID, algorithm, KDF parameters, constant, recipient's fingerprint
        self._param = b"".join(
            (
                bytes([len(oid)]),
                oid,
                bytes([ECDH_ALGORITHM, 3, 1, kdf_hash, kdf_cipher]),
                b"Anonymous Sender    ",
                fingerprint,
            )
        )

    def open(self, fields: bytes) -> SessionKey:
        """The session key; raises `BadSessionKey`, and `CannotNatively` for unusual KDF parameters of the key."""
        point, rest = _mpi(fields)
        if not rest or rest[0] != len(rest) - 1:
            raise BadSessionKey("the wrapped key's length is wrong")
        if self._hash not in _HASHES or self._cipher not in AES_CIPHERS:
            raise CannotNatively("the key's ECDH parameters")
        try:
            wrapping = self._derive(self._shared(point))
            padded = aes_key_unwrap(wrapping, rest[1:])
        except (ValueError, InvalidUnwrap) as error:
            raise BadSessionKey("ECDH decryption failed") from error
        # PKCS#5 padding; gpg pads beyond the next multiple of eight to hide the cipher
        count = padded[-1]
        if not 1 <= count <= len(padded) or padded[-count:] != bytes([count]) * count:
            raise BadSessionKey("the ECDH padding is wrong")
        return _parse(padded[:-count])

    def _shared(self, point: bytes) -> bytes:
        if isinstance(self._private, x25519.X25519PrivateKey):
            # RFC 9580 §11.2.1: native point format, prefix 0x40
            if len(point) != 33 or point[0] != 0x40:
                raise ValueError("not a Curve25519 point")
            return self._private.exchange(x25519.X25519PublicKey.from_public_bytes(point[1:]))
        public = ec.EllipticCurvePublicKey.from_encoded_point(self._private.curve, point)
        return self._private.exchange(ec.ECDH(), public)

    def _derive(self, shared: bytes) -> bytes:
        digest = hashes.Hash(_HASHES[self._hash]())
        digest.update(b"\0\0\0\1" + shared + self._param)
        return digest.finalize()[: _KEY_BYTES[self._cipher]]


def _mpi(data: bytes) -> tuple[bytes, bytes]:
    """The first multiprecision integer and what follows it (RFC 9580 §3.2)."""
    width = (int.from_bytes(data[:2]) + 7) // 8
    if len(data) < 2 + width or width == 0:
        raise BadSessionKey("a number in the session key packet is cut")
    return data[2 : 2 + width], data[2 + width :]


def _parse(data: bytes) -> SessionKey:
    """Cipher ID, key, two octets of checksum (RFC 9580 §5.1.1)."""
    cipher, key, checksum = data[:1], data[1:-2], data[-2:]
    if len(data) < 3 or _KEY_BYTES.get(cipher[0]) != len(key) or sum(key) & 0xFFFF != int.from_bytes(checksum):
        raise BadSessionKey("the session key's length or checksum is wrong")
    return SessionKey(cipher[0], key)

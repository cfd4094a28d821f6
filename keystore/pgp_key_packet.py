"""One key packet: its public part, its fingerprint, and its secret part once unlocked (RFC 9580 §5.5).

Versions 4 and 6; RSA, ECDH, X25519 and X448 become `cryptography` keys, other algorithms are only measured and named.
Nothing here believes a length or a number: what does not fit is `FramingError` or ``ValueError``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec, rsa, x448, x25519

from keystore.openpgp.fields import Reader
from keystore.openpgp.packets import FramingError
from keystore.openpgp.session_key import (
    ECDH_ALGORITHM,
    RSA_ALGORITHMS,
    X448_ALGORITHM,
    X25519_ALGORITHM,
    DecryptionKey,
    EcdhKey,
    MontgomeryKey,
    RsaKey,
)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | x25519.X25519PublicKey | x448.X448PublicKey

# RFC 9580 §9.1
_NAMES = {1: "RSA", 2: "RSA", 3: "RSA", 16: "ElGamal", 17: "DSA", 25: "X25519", 26: "X448", 27: "Ed25519", 28: "Ed448"}
# RFC 9580 §5.5.5: m = number, o = curve, k = KDF parameters, n = as many octets as the algorithm has
_PUBLIC = {1: "mm", 2: "mm", 3: "mm", 16: "mmm", 17: "mmmm", 18: "omk", 19: "om", 22: "om"}
_PUBLIC |= dict.fromkeys((25, 26, 27, 28), "n")
_RSA = RSA_ALGORITHMS | {3}  # 3 signs only
_NATIVE_BYTES = {25: 32, 26: 56, 27: 32, 28: 57}


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve by its name, and as `cryptography` knows it where that does ECDH over it."""

    name: str
    implementation: ec.EllipticCurve | None = None


_CURVE25519 = Curve("Curve25519")
# RFC 9580 §9.2, and curves of GnuPG
CURVES = {
    "2a8648ce3d030107": Curve("NIST P-256", ec.SECP256R1()),
    "2b81040022": Curve("NIST P-384", ec.SECP384R1()),
    "2b81040023": Curve("NIST P-521", ec.SECP521R1()),
    "2b2403030208010107": Curve("Brainpool P-256", ec.BrainpoolP256R1()),
    "2b240303020801010b": Curve("Brainpool P-384", ec.BrainpoolP384R1()),
    "2b240303020801010d": Curve("Brainpool P-512", ec.BrainpoolP512R1()),
    "2b8104000a": Curve("secp256k1", ec.SECP256K1()),
    "2b060104019755010501": _CURVE25519,
    "2b06010401da470f01": Curve("Ed25519"),
    "2b6571": Curve("Ed448"),
    "2b656f": Curve("Curve448"),
}


@dataclass(frozen=True, slots=True, repr=False)
class KeyPart:
    """A primary key or a subkey; ``secret`` is its secret part as it stands in the file, empty in a certificate."""

    is_primary: bool
    version: int
    created_at: datetime
    algorithm: int
    fields: tuple[bytes, ...]  # of the algorithm's public part
    public: bytes  # body of the public key packet
    secret: bytes

    @property
    def fingerprint(self) -> bytes:
        """RFC 9580 §5.5.4: 20 octets (version 4) or 32 (version 6)."""
        if self.version == 6:
            return hashlib.sha256(self.framed).digest()
        return hashlib.sha1(self.framed, usedforsecurity=False).digest()

    @property
    def framed(self) -> bytes:
        """The public key as it is hashed, for fingerprints and for signatures (RFC 9580 §5.2.4)."""
        if self.version == 6:
            return b"\x9b" + len(self.public).to_bytes(4) + self.public
        return b"\x99" + len(self.public).to_bytes(2) + self.public

    @property
    def key_id(self) -> bytes:
        """8 octets of the fingerprint: its end (version 4), its beginning (version 6)."""
        return self.fingerprint[:8] if self.version == 6 else self.fingerprint[-8:]

    @property
    def curve(self) -> Curve | None:
        """The curve of ECDH, ECDSA and EdDSA."""
        if not _PUBLIC.get(self.algorithm, "").startswith("o"):
            return None
        return CURVES.get(self.fields[0].hex(), Curve(f"curve {self.fields[0].hex()}"))

    @property
    def bits(self) -> int:
        """Size of an RSA, DSA or ElGamal key."""
        return int.from_bytes(self.fields[0]).bit_length()

    @property
    def name(self) -> str:
        """Such as ``RSA 3072`` or ``Curve25519``."""
        if self.curve:
            return self.curve.name
        name = _NAMES.get(self.algorithm, f"algorithm {self.algorithm}")
        return f"{name} {self.bits}" if _PUBLIC.get(self.algorithm, "").startswith("m") else name

    @property
    def opens_session_keys(self) -> bool:
        """Whether the native engine decrypts with such a key."""
        if self.algorithm == ECDH_ALGORITHM:
            return self.curve is _CURVE25519 or bool(self.curve and self.curve.implementation)
        return self.algorithm in RSA_ALGORITHMS or self.algorithm in (X25519_ALGORITHM, X448_ALGORITHM)

    def public_key(self) -> PublicKey:
        """The key as `cryptography` has it. Raises ``ValueError`` for a bad point or number."""
        if self.algorithm in _RSA:
            modulus, exponent = (int.from_bytes(field) for field in self.fields)
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        if self.algorithm == X25519_ALGORITHM:
            return x25519.X25519PublicKey.from_public_bytes(self.fields[0])
        if self.algorithm == X448_ALGORITHM:
            return x448.X448PublicKey.from_public_bytes(self.fields[0])
        point = self.fields[1]
        if self.curve and self.curve.implementation:
            return ec.EllipticCurvePublicKey.from_encoded_point(self.curve.implementation, point)
        # RFC 9580 §11.2.2: native point format, prefix 0x40
        if len(point) != 33 or point[0] != 0x40:
            raise ValueError("not a Curve25519 point")
        return x25519.X25519PublicKey.from_public_bytes(point[1:])

    def decryption_key(self, secret: bytes) -> DecryptionKey:
        """The private key with this unlocked secret part. Raises ``ValueError`` when it does not fit the public one."""
        if self.algorithm in (X25519_ALGORITHM, X448_ALGORITHM):
            native = (
                x25519.X25519PrivateKey.from_private_bytes(secret)
                if self.algorithm == X25519_ALGORITHM
                else x448.X448PrivateKey.from_private_bytes(secret)
            )
            self._check_fits(native.public_key().public_bytes_raw(), self.fields[0])
            return MontgomeryKey(native)
        reader = Reader(secret)
        numbers = [reader.mpi(self.version) for _ in range(4 if self.algorithm in RSA_ALGORITHMS else 1)]
        self._check_fits(reader.rest(), b"")
        if self.algorithm in RSA_ALGORITHMS:
            return RsaKey(self._rsa(*(int.from_bytes(number) for number in numbers)))
        oid, _, kdf = self.fields
        if kdf[0] != 1:
            raise ValueError("unknown KDF parameters")
        return EcdhKey(
            self._ecdh(numbers[0]), oid=oid, kdf_hash=kdf[1], kdf_cipher=kdf[2], fingerprint=self.fingerprint
        )

    def _rsa(self, private_exponent: int, p: int, q: int, _inverse: int) -> rsa.RSAPrivateKey:
        modulus, exponent = (int.from_bytes(field) for field in self.fields)
        return rsa.RSAPrivateNumbers(
            p=p,
            q=q,
            d=private_exponent,
            dmp1=rsa.rsa_crt_dmp1(private_exponent, p),
            dmq1=rsa.rsa_crt_dmq1(private_exponent, q),
            iqmp=rsa.rsa_crt_iqmp(p, q),
            public_numbers=rsa.RSAPublicNumbers(exponent, modulus),
        ).private_key()

    def _ecdh(self, number: bytes) -> x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey:
        if self.curve and self.curve.implementation:
            derived = ec.derive_private_key(int.from_bytes(number), self.curve.implementation)
            if derived.public_key() != self.public_key():
                raise ValueError("the secret does not fit the public key")
            return derived
        # RFC 9580 §5.5.5.6.1.1: a number here, so the octets are the wrong way round
        private = x25519.X25519PrivateKey.from_private_bytes(number.rjust(32, b"\0")[::-1])
        self._check_fits(b"\x40" + private.public_key().public_bytes_raw(), self.fields[1])
        return private

    @staticmethod
    def _check_fits(found: bytes, wanted: bytes) -> None:
        if found != wanted:
            raise ValueError("the secret does not fit the public key")


class UnknownAlgorithm(FramingError):
    """A version 4 key of an algorithm whose fields cannot be measured; the text names it."""


def read_part(body: bytes, *, is_primary: bool, is_secret: bool) -> KeyPart:
    """A key packet's body (RFC 9580 §5.5.2, §5.5.3). Raises `UnknownAlgorithm`, `FramingError`."""
    reader = Reader(body)
    version = reader.number(1)
    if version not in (4, 6):
        raise FramingError(f"key version {version}")
    created_at = datetime.fromtimestamp(reader.number(4), UTC)
    algorithm = reader.number(1)
    length = reader.number(4) if version == 6 else None
    begin = reader.at
    if algorithm not in _PUBLIC:
        if length is None:
            raise UnknownAlgorithm(f"public-key algorithm {algorithm}")
        fields: tuple[bytes, ...] = (reader.take(length),)
    else:
        fields = tuple(_field(reader, kind, version, algorithm) for kind in _PUBLIC[algorithm])
    if length is not None and reader.at - begin != length:
        raise FramingError("the public part of the key has another length than it says")
    public, secret = body[: reader.at], reader.rest()
    if bool(secret) != is_secret:
        raise FramingError("the key packet has no secret part, or data after its public part")
    return KeyPart(is_primary, version, created_at, algorithm, fields, public, secret)


def _field(reader: Reader, kind: str, version: int, algorithm: int) -> bytes:
    if kind == "m":
        return reader.mpi(version)
    if kind == "n":
        return reader.take(_NATIVE_BYTES[algorithm])
    field = reader.take(reader.number(1))
    if kind == "k" and len(field) != 3:
        raise FramingError("unknown KDF parameters")
    return field

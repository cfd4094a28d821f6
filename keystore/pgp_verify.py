"""Verifying one signature with one public key (RFC 9580 §5.2.3): RSA, DSA, ECDSA, EdDSA, Ed25519 and Ed448.

The mathematics is `cryptography`'s; a digest comes from `keystore.openpgp.signature`.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from keystore.openpgp.fields import Reader
from keystore.openpgp.packets import FramingError
from keystore.openpgp.signature import Signature, hash_name, new_hash
from keystore.pgp_key_packet import KeyPart

_ECDSA, _EDDSA_LEGACY = 19, 22
_Verify = Callable[[KeyPart, bytes, bytes, Prehashed], None]


def can_verify(part: KeyPart) -> bool:
    """Whether signatures of this key's algorithm and curve can be verified here."""
    if part.algorithm == _ECDSA:
        return bool(part.curve and part.curve.implementation)
    if part.algorithm == _EDDSA_LEGACY:
        return bool(part.curve and part.curve.name == "Ed25519")
    return part.algorithm in _ALGORITHMS


def verified(part: KeyPart, signature: Signature, data: bytes, *, with_sha1: bool = False) -> bool:
    """Whether ``part`` made this signature over ``data``; false as well for what cannot be verified here.

    See `new_hash` for ``with_sha1``.
    """
    hashing = new_hash(signature.hash_id, signature.salt, with_sha1=with_sha1)
    if hashing is None:
        return False
    hashing.update(data)
    return verified_digest(part, signature, signature.digest(hashing))


def verified_digest(part: KeyPart, signature: Signature, digest: bytes) -> bool:
    """The same over the digest of the data; its first two octets must be those that the packet shows.

    A signature has the version of its key (RFC 9580 §5.2).
    """
    if (signature.version, signature.algorithm) != (part.version, part.algorithm) or not can_verify(part):
        return False
    if digest[:2] != signature.check or len(digest) < _SHORTEST_DIGEST.get(part.algorithm, 0):
        return False
    prehashed = Prehashed(_hash(signature.hash_id))
    try:
        _ALGORITHMS[part.algorithm](part, signature.value, digest, prehashed)
    except (InvalidSignature, ValueError, OverflowError, FramingError, UnsupportedAlgorithm):
        return False
    return True


def _hash(hash_id: int) -> hashes.HashAlgorithm:
    kind: type[hashes.HashAlgorithm] = getattr(hashes, hash_name(hash_id).upper())
    return kind()


def _rsa(part: KeyPart, value: bytes, digest: bytes, prehashed: Prehashed) -> None:
    public = part.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise TypeError("not an RSA key")
    # RFC 9580 §5.2.3.1: a number, so leading zeros are missing
    padded = Reader(value).mpi(part.version).rjust((public.key_size + 7) // 8, b"\0")
    public.verify(padded, digest, padding.PKCS1v15(), prehashed)


def _dsa(part: KeyPart, value: bytes, digest: bytes, prehashed: Prehashed) -> None:
    p, q, g, y = (int.from_bytes(field) for field in part.fields)
    dsa.DSAPublicNumbers(y, dsa.DSAParameterNumbers(p, q, g)).public_key().verify(_dss(part, value), digest, prehashed)


def _ecdsa(part: KeyPart, value: bytes, digest: bytes, prehashed: Prehashed) -> None:
    public = part.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise TypeError("not an ECDSA key")
    public.verify(_dss(part, value), digest, ec.ECDSA(prehashed))


def _dss(part: KeyPart, value: bytes) -> bytes:
    reader = Reader(value)
    r, s = (int.from_bytes(reader.mpi(part.version)) for _ in range(2))
    return encode_dss_signature(r, s)


def _eddsa_legacy(part: KeyPart, value: bytes, digest: bytes, _prehashed: Prehashed) -> None:
    """RFC 9580 §5.2.3.3.1: the halves of the signature are numbers, the point has the prefix 0x40."""
    point = part.fields[1]
    if len(point) != 33 or point[0] != 0x40:
        raise ValueError("not an Ed25519 point")
    reader = Reader(value)
    halves = b"".join(reader.mpi(part.version).rjust(32, b"\0") for _ in range(2))
    ed25519.Ed25519PublicKey.from_public_bytes(point[1:]).verify(halves, digest)


def _ed25519(part: KeyPart, value: bytes, digest: bytes, _prehashed: Prehashed) -> None:
    ed25519.Ed25519PublicKey.from_public_bytes(part.fields[0]).verify(value, digest)


def _ed448(part: KeyPart, value: bytes, digest: bytes, _prehashed: Prehashed) -> None:
    ed448.Ed448PublicKey.from_public_bytes(part.fields[0]).verify(value, digest)


# RFC 9580 §5.2.3.3, §5.2.3.4, §5.2.3.5: octets of the shortest digest that EdDSA may sign
_SHORTEST_DIGEST = {_EDDSA_LEGACY: 32, 27: 32, 28: 64}
# RFC 9580 §9.1
_ALGORITHMS: dict[int, _Verify] = {
    1: _rsa,
    3: _rsa,
    17: _dsa,
    _ECDSA: _ecdsa,
    _EDDSA_LEGACY: _eddsa_legacy,
    27: _ed25519,
    28: _ed448,
}

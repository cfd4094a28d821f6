"""Crafted signatures: keys from fixed seeds, one-pass and signature packets of version 4 and 6, whatever is in them."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import TypedDict, Unpack

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.openpgp.key_writer import CREATED, public_body
from tests.openpgp.packet_writer import literal, packet

BINARY, TEXT = 0x00, 0x01
MD5, SHA1, RIPEMD160, SHA256, SHA384, SHA512, SHA224, SHA3_256, SHA3_512 = 1, 2, 3, 8, 9, 10, 11, 12, 14
RSA, ECDSA, EDDSA_LEGACY, ED25519, ED448 = 1, 19, 22, 27, 28
KEY_MADE = int.from_bytes(CREATED)
SIGNED = KEY_MADE + 86_400  # seconds since 1970, as a signature says it unless it is told otherwise
CRITICAL = 0x80

_HASHES: dict[int, hashes.HashAlgorithm] = {
    MD5: hashes.MD5(),
    SHA1: hashes.SHA1(),
    SHA256: hashes.SHA256(),
    SHA384: hashes.SHA384(),
    SHA512: hashes.SHA512(),
    SHA224: hashes.SHA224(),
    SHA3_256: hashes.SHA3_256(),
    SHA3_512: hashes.SHA3_512(),
}
# RFC 9580 §9.5
_SALTS = {SHA256: 16, SHA384: 24, SHA512: 32, SHA224: 16, SHA3_256: 16, SHA3_512: 32}
# for GnuPG, a digest is as long as the numbers of the curve
_CURVES: dict[str, tuple[bytes, ec.EllipticCurve, int]] = {
    "P-256": (bytes.fromhex("2a8648ce3d030107"), ec.SECP256R1(), SHA256),
    "P-384": (bytes.fromhex("2b81040022"), ec.SECP384R1(), SHA384),
    "P-521": (bytes.fromhex("2b81040023"), ec.SECP521R1(), SHA512),
}


@dataclass(frozen=True)
class Key:
    """A key that signs; ``sign`` makes the algorithm's fields from a digest."""

    version: int
    algorithm: int
    public: bytes  # body of its packet
    sign: Callable[[bytes, hashes.HashAlgorithm], bytes]
    usual_hash: int = SHA256

    @property
    def framed(self) -> bytes:
        """As it is hashed (RFC 9580 §5.2.4)."""
        if self.version == 6:
            return b"\x9b" + len(self.public).to_bytes(4) + self.public
        return b"\x99" + len(self.public).to_bytes(2) + self.public

    @property
    def fingerprint(self) -> bytes:
        return hashlib.new("sha256" if self.version == 6 else "sha1", self.framed).digest()

    @property
    def key_id(self) -> bytes:
        return self.fingerprint[:8] if self.version == 6 else self.fingerprint[-8:]

    @property
    def name(self) -> str:
        return self.fingerprint.hex().upper()


@cache
def key(kind: str, version: int = 4, seed: int = 1, *, bits: int = 2048) -> Key:
    """The same each time; ``kind`` is RSA, Ed25519, Ed448, P-256, P-384 or P-521, ``bits`` is for RSA.

    Ed25519 of version 4 is EdDSA as GnuPG has it, of version 6 it is the algorithm of RFC 9580.
    """
    chance = random.Random(f"{kind} {seed}")
    if kind == "RSA":
        return _rsa(version, chance, bits)
    if kind in _CURVES:
        return _ecdsa(version, chance, kind)
    if kind == "Ed448":
        private448 = ed448.Ed448PrivateKey.from_private_bytes(chance.randbytes(57))
        public = private448.public_key().public_bytes_raw()
        return Key(
            version, ED448, public_body(version, ED448, public), lambda digest, _: private448.sign(digest), SHA512
        )
    private = ed25519.Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
    point = private.public_key().public_bytes_raw()
    if version == 6:
        return Key(version, ED25519, public_body(version, ED25519, point), lambda digest, _: private.sign(digest))
    oid = bytes.fromhex("2b06010401da470f01")
    body = public_body(version, EDDSA_LEGACY, bytes([len(oid)]) + oid + mpi(b"\x40" + point))
    return Key(version, EDDSA_LEGACY, body, lambda digest, _: _halves(private.sign(digest)))


def _halves(signature: bytes) -> bytes:
    return mpi(signature[:32]) + mpi(signature[32:])


def _rsa(version: int, chance: random.Random, bits: int) -> Key:
    primes = _primes(chance, bits // 2)
    p, q = next(primes), next(primes)
    exponent = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    private = rsa.RSAPrivateNumbers(
        p, q, exponent, exponent % (p - 1), exponent % (q - 1), pow(q, -1, p), public
    ).private_key()
    body = public_body(version, RSA, mpi((p * q).to_bytes(bits // 8)) + mpi(b"\x01\x00\x01"))
    return Key(version, RSA, body, lambda digest, kind: mpi(private.sign(digest, padding.PKCS1v15(), Prehashed(kind))))


def _primes(chance: random.Random, bits: int) -> Iterator[int]:
    """With the two highest bits set, so that a product has exactly twice as many."""
    while True:
        start = chance.getrandbits(bits) | 3 << (bits - 2) | 1
        yield next(
            number
            for number in count(start, 2)
            if all(number % small for small in range(3, 2000, 2)) and pow(2, number - 1, number) == 1
        )


def _ecdsa(version: int, chance: random.Random, curve: str) -> Key:
    oid, implementation, usual_hash = _CURVES[curve]
    private = ec.derive_private_key(chance.getrandbits(250) + 1, implementation)
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def sign(digest: bytes, kind: hashes.HashAlgorithm) -> bytes:
        width = (implementation.key_size + 7) // 8
        numbers = decode_dss_signature(private.sign(digest, ec.ECDSA(Prehashed(kind))))
        return b"".join(mpi(number.to_bytes(width)) for number in numbers)

    return Key(version, ECDSA, public_body(version, ECDSA, bytes([len(oid)]) + oid + mpi(point)), sign, usual_hash)


def mpi(octets: bytes) -> bytes:
    number = octets.lstrip(b"\0")
    return (len(number) * 8 - 8 + number[0].bit_length()).to_bytes(2) + number


def subpacket(kind: int, content: bytes) -> bytes:
    """RFC 9580 §5.2.3.7; ``kind | CRITICAL`` for a critical one."""
    length = len(content) + 1
    head = bytes([length]) if length < 192 else b"\xff" + length.to_bytes(4)
    return head + bytes([kind]) + content


def seconds(kind: int, value: int) -> bytes:
    """A subpacket with a time: 2 creation, 3 expiry of the signature, 9 expiry of the key (both since creation)."""
    return subpacket(kind, value.to_bytes(4))


def issuer(by: Key) -> bytes:
    """RFC 9580 §5.2.3.35."""
    return subpacket(33, bytes([by.version]) + by.fingerprint)


def salt(hash_id: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(_SALTS.get(hash_id, 16))


class Options(TypedDict, total=False):
    """What a signature packet says, where it is not the usual."""

    kind: int  # BINARY
    hash_id: int
    made: int | None  # the time that it says, SIGNED; ``None`` for none
    extra: bytes  # more hashed subpackets
    unhashed: bytes  # subpackets
    named: bool  # whether it names its issuer; it does
    claimed: Key  # whom it names as its issuer, if not who made it
    salted: int  # seed of a version 6 salt


def signature_body(by: Key, document: bytes, **options: Unpack[Options]) -> bytes:
    """The body of a signature packet over exactly these octets."""
    kind, hash_id = options.get("kind", BINARY), options.get("hash_id", by.usual_hash)
    made, unhashed = options.get("made", SIGNED), options.get("unhashed", b"")
    width = 2 if by.version == 4 else 4
    hashed = b"" if made is None else seconds(2, made)
    if options.get("named", True):
        named = options.get("claimed", by)
        hashed += issuer(named)
        # GnuPG 2.2 looks for this one
        unhashed += subpacket(16, named.key_id) if by.version == 4 else b""
    hashed += options.get("extra", b"")
    head = bytes([by.version, kind, by.algorithm, hash_id]) + len(hashed).to_bytes(width) + hashed
    salt_octets = salt(hash_id, options.get("salted", 1)) if by.version == 6 else b""
    digesting = hashes.Hash(_HASHES[hash_id])
    digesting.update(salt_octets + document + head + bytes([by.version, 0xFF]) + len(head).to_bytes(4))
    digest = digesting.finalize()
    shown = bytes([len(salt_octets)]) + salt_octets if by.version == 6 else b""
    tail = len(unhashed).to_bytes(width) + unhashed + digest[:2] + shown
    return head + tail + by.sign(digest, _HASHES[hash_id])


def signature(by: Key, plain: bytes, **options: Unpack[Options]) -> bytes:
    """A signature packet over a document, with its line ends as CRLF when it is one over text."""
    document = canonical(plain) if options.get("kind", BINARY) == TEXT else plain
    return packet(2, signature_body(by, document, **options))


def canonical(text: bytes) -> bytes:
    """RFC 9580 §5.2.1.2."""
    return re.sub(rb"\r?\n", b"\r\n", text)


def one_pass(
    by: Key,
    *,
    kind: int = BINARY,
    hash_id: int | None = None,
    last: bool = True,
    salted: int = 1,
    version: int | None = None,
) -> bytes:
    """The one-pass packet of a signature (RFC 9580 §5.4); ``version`` is 3 or 6 by the key's unless it is told."""
    version, hash_id = version or (6 if by.version == 6 else 3), hash_id or by.usual_hash
    salt_octets = salt(hash_id, salted)
    head = bytes([version, kind, hash_id, by.algorithm])
    if version == 6:
        head += bytes([len(salt_octets)]) + salt_octets
    return packet(4, head + (by.fingerprint if version == 6 else by.key_id) + bytes([last]))


def signed(
    by: Key, plain: bytes, *, contents: bytes | None = None, mode: bytes = b"b", **options: Unpack[Options]
) -> bytes:
    """One-pass packet, literal and signature over ``plain``; the literal holds ``contents`` when they are given."""
    announced = one_pass(
        by, kind=options.get("kind", BINARY), hash_id=options.get("hash_id"), salted=options.get("salted", 1)
    )
    return announced + literal(plain if contents is None else contents, mode=mode) + signature(by, plain, **options)

"""Signature packets and the one-pass packets that announce them (RFC 9580 §5.2, §5.4); nothing is verified here.

Versions 4 and 6. What is read here is untrusted, also the hashed part, until somebody has verified the signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from keystore.openpgp.fields import Reader
from keystore.openpgp.packets import FramingError

if TYPE_CHECKING:
    from hashlib import _Hash

# RFC 9580 §5.2.1
BINARY, TEXT = 0x00, 0x01
CERTIFIES = frozenset({0x10, 0x11, 0x12, 0x13, 0x1F})
SUBKEY_BINDING, PRIMARY_KEY_BINDING = 0x18, 0x19
DIRECT_KEY, KEY_REVOCATION = 0x1F, 0x20
REVOKES = frozenset({KEY_REVOCATION, 0x28})
# RFC 9580 §5.2.3.7
_CREATED, _EXPIRES, _KEY_EXPIRES, _ISSUER, _KEY_FLAGS, _REASON, _EMBEDDED = 2, 3, 9, 16, 27, 29, 32
_ISSUER_FINGERPRINT, _RECIPIENT = 33, 35
# those whose meaning we know or that change nothing for us: a critical one outside makes a signature bad. We know no
# notation (20), and do not follow a signature to another one (31)
_UNDERSTOOD = frozenset({2, 3, 4, 7, 9, 11, 12, 16, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 32, 33, 34, 35, 39})
_CRITICAL = 0x80
# RFC 9580 §5.2.3.31: a superseded or retired key was good until then; after any other reason, it never was
_SOFT_REASONS = frozenset({1, 3})
# RFC 9580 §5.2.3.29
CERTIFY, SIGN, ENCRYPT_COMMUNICATIONS, ENCRYPT_STORAGE, AUTHENTICATE = 1, 2, 4, 8, 32
# RFC 9580 §9.5: ID, name in hashlib, octets of a version 6 salt; MD5, SHA-1 and RIPEMD-160 prove nothing any more, but
# see `new_hash`
_HASHES = {
    8: ("sha256", 16),
    9: ("sha384", 24),
    10: ("sha512", 32),
    11: ("sha224", 16),
    12: ("sha3_256", 16),
    14: ("sha3_512", 32),
}
_SHA1 = 2
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature packet of version 4 or 6."""

    version: int
    kind: int
    algorithm: int  # public-key algorithm
    hash_id: int
    created_at: datetime  # 1970 when it does not say
    issuer: bytes  # OpenPGP key ID; empty when it does not say
    key_flags: int | None  # `None` when it does not say
    valid_for: timedelta | None  # of the key, from its creation
    expires_after: timedelta | None  # of the signature itself, from its creation
    understood: bool  # no critical subpacket that we do not know
    recipients: tuple[bytes, ...]  # fingerprints of the primary keys that it was meant for; empty when it does not say
    is_hard_revocation: bool  # if it is a revocation at all: the key was never to be believed
    embedded: bytes  # body of the signature inside, as a subkey binding has one; else empty
    hashed: bytes  # what of the packet itself is hashed, without the trailer
    salt: bytes  # of version 6
    check: bytes  # first two octets of the digest
    value: bytes  # the algorithm's own fields
    name: bytes = b""  # in a certificate: the user ID or attribute that it is about, framed for hashing

    def digest(self, data: _Hash) -> bytes:
        """The digest over what ``data`` was fed with (salt first) and the packet's hashed part (RFC 9580 §5.2.4)."""
        hashing = data.copy()
        hashing.update(self.hashed)
        hashing.update(bytes([self.version, 0xFF]) + (len(self.hashed) & 0xFFFFFFFF).to_bytes(4))
        return hashing.digest()


@dataclass(frozen=True, slots=True)
class OnePass:
    """What a one-pass packet announces of the signature that follows the data."""

    kind: int
    hash_id: int
    issuer: bytes  # OpenPGP key ID
    salt: bytes  # of version 6
    is_last: bool  # no one-pass packet over the same data follows
    is_over_signatures: bool = False  # yet one follows, so this one is over the other signature as well


def new_hash(hash_id: int, salt: bytes, *, with_sha1: bool = False) -> _Hash | None:
    """A hash that was fed with the salt, empty for version 4; ``None`` for one that proves nothing or is unknown.

    ``with_sha1`` is for what an attacker cannot choose both versions of: nobody can make a second text for a given
    SHA-1 yet, only two texts at once.
    """
    if hash_id not in _HASHES and not (with_sha1 and hash_id == _SHA1):
        return None
    return hashlib.new(hash_name(hash_id), salt)


def hash_name(hash_id: int) -> str:
    """The name that `new_hash` gives to hashlib. Raises ``KeyError``."""
    return "sha1" if hash_id == _SHA1 else _HASHES[hash_id][0]


def read_one_pass(body: bytes) -> OnePass | None:
    """The packet with this body (RFC 9580 §5.4); ``None`` for other versions than 3 and 6. Raises `FramingError`."""
    reader = Reader(body)
    version, kind, hash_id, _algorithm = reader.take(4)
    if version == 3:
        return OnePass(kind, hash_id, reader.take(8), b"", is_last=reader.take(1) != b"\0")
    if version != 6:
        return None
    salt = reader.take(reader.number(1))
    # RFC 9580 §5.5.4: the key ID is the beginning of a version 6 fingerprint
    return OnePass(kind, hash_id, reader.take(32)[:8], salt, is_last=reader.take(1) != b"\0")


def read_signature(body: bytes) -> Signature | None:
    """The signature in a packet's body; ``None`` for other versions. Raises `FramingError`."""
    reader = Reader(body)
    version = reader.number(1)
    if version not in (4, 6):
        return None
    kind, algorithm, hash_id = reader.take(3)
    octets = 2 if version == 4 else 4
    hashed = list(_subpackets(reader.take(reader.number(octets))))
    hashed_end = reader.at
    unhashed = {tag & ~_CRITICAL: content for tag, content in _subpackets(reader.take(reader.number(octets)))}
    check = reader.take(2)
    salt = reader.take(reader.number(1)) if version == 6 else b""
    if version == 6 and hash_id in _HASHES and len(salt) != _HASHES[hash_id][1]:
        raise FramingError("the salt of a signature has the wrong size")
    fields = {tag & ~_CRITICAL: content for tag, content in hashed}
    return Signature(
        version=version,
        kind=kind,
        algorithm=algorithm,
        hash_id=hash_id,
        created_at=_EPOCH + _seconds(fields, _CREATED),
        issuer=_issuer(fields) or _issuer(unhashed),
        key_flags=int.from_bytes(fields[_KEY_FLAGS][:1]) if _KEY_FLAGS in fields else None,
        valid_for=_seconds(fields, _KEY_EXPIRES) or None,
        expires_after=_seconds(fields, _EXPIRES) or None,
        understood=all(not tag & _CRITICAL or tag & ~_CRITICAL in _UNDERSTOOD for tag, _ in hashed),
        recipients=tuple(content[1:] for tag, content in hashed if tag & ~_CRITICAL == _RECIPIENT),
        is_hard_revocation=int.from_bytes(fields.get(_REASON, b"")[:1]) not in _SOFT_REASONS,
        embedded=fields.get(_EMBEDDED, b"") or unhashed.get(_EMBEDDED, b""),
        hashed=body[:hashed_end],
        salt=salt,
        check=check,
        value=reader.rest(),
    )


def _seconds(fields: dict[int, bytes], tag: int) -> timedelta:
    return timedelta(seconds=int.from_bytes(fields.get(tag, b"")[:4]))


def _issuer(fields: dict[int, bytes]) -> bytes:
    fingerprint = fields.get(_ISSUER_FINGERPRINT, b"")
    if fingerprint[:1] == b"\x06":
        return fingerprint[1:9]
    return fingerprint[-8:] if len(fingerprint) == 21 else fields.get(_ISSUER, b"")


def _subpackets(area: bytes) -> Iterator[tuple[int, bytes]]:
    """Type, with the bit that says critical, and contents of each (RFC 9580 §5.2.3.7)."""
    reader = Reader(area)
    while reader.at < len(area):
        length = reader.number(1)
        if length == 255:
            length = reader.number(4)
        elif length >= 192:
            length = ((length - 192) << 8) + reader.number(1) + 192
        if length == 0:
            raise FramingError("an empty signature subpacket")
        content = reader.take(length)
        yield content[0], content[1:]

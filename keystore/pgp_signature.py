"""What self-signatures say of a key: when, by whom, what for, how long (RFC 9580 §5.2). They are not verified.

Who imports a pair or stores a certificate here means it; a third party that only sends files cannot change it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keystore.openpgp.packets import FramingError
from keystore.pgp_key_packet import Reader

# RFC 9580 §5.2.1
CERTIFIES = frozenset({0x10, 0x11, 0x12, 0x13, 0x1F})
SUBKEY_BINDING = 0x18
REVOKES = frozenset({0x20, 0x28})
# RFC 9580 §5.2.3.7
_CREATED, _KEY_EXPIRES, _ISSUER, _KEY_FLAGS, _ISSUER_FINGERPRINT = 2, 9, 16, 27, 33
# RFC 9580 §5.2.3.29
CERTIFY, SIGN, ENCRYPT_COMMUNICATIONS, ENCRYPT_STORAGE, AUTHENTICATE = 1, 2, 4, 8, 32
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature packet of version 4 or 6."""

    kind: int
    created_at: datetime
    issuer: bytes  # OpenPGP key ID; empty when it does not say
    key_flags: int
    valid_for: timedelta | None  # of the key, from its creation


def read_signature(body: bytes) -> Signature | None:
    """The signature in a packet's body; ``None`` for other versions. Raises `FramingError`."""
    reader = Reader(body)
    version = reader.number(1)
    if version not in (4, 6):
        return None
    kind = reader.number(1)
    reader.take(2)  # algorithms
    octets = 2 if version == 4 else 4
    hashed = dict(_subpackets(reader.take(reader.number(octets))))
    unhashed = dict(_subpackets(reader.take(reader.number(octets))))
    expires = int.from_bytes(hashed.get(_KEY_EXPIRES, b"")[:4])
    return Signature(
        kind=kind,
        created_at=_EPOCH + timedelta(seconds=int.from_bytes(hashed.get(_CREATED, b"")[:4])),
        issuer=_issuer(hashed) or _issuer(unhashed),
        key_flags=int.from_bytes(hashed.get(_KEY_FLAGS, b"")[:1]),
        valid_for=timedelta(seconds=expires) if expires else None,
    )


def _issuer(fields: dict[int, bytes]) -> bytes:
    fingerprint = fields.get(_ISSUER_FINGERPRINT, b"")
    if fingerprint[:1] == b"\x06":
        return fingerprint[1:9]
    return fingerprint[-8:] if len(fingerprint) == 21 else fields.get(_ISSUER, b"")


def _subpackets(area: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and contents of each (RFC 9580 §5.2.3.7)."""
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
        yield content[0] & 0x7F, content[1:]

"""Crafted certificates: keys with self-signatures, subkeys and revocations, right or wrong (RFC 9580 §10.1)."""

from __future__ import annotations

from typing import Unpack

from tests.openpgp.packet_writer import packet
from tests.openpgp.signature_writer import KEY_MADE, Key, Options, seconds, signature_body, subpacket

CERTIFY, SIGN, ENCRYPT, AUTHENTICATE = 1, 2, 0x0C, 0x20
USER_ID = b"Acme <a@example.com>"
COMPROMISED, RETIRED = 2, 3


def flags(value: int) -> bytes:
    """RFC 9580 §5.2.3.29."""
    return subpacket(27, bytes([value]))


def seconds_valid(value: int) -> bytes:
    """How long the key is valid from its creation (RFC 9580 §5.2.3.13)."""
    return seconds(9, value)


def primary(key: Key) -> bytes:
    return packet(6, key.public)


def user_id(key: Key, name: bytes = USER_ID, *, by: Key | None = None, **options: Unpack[Options]) -> bytes:
    """A user ID with its self-signature (or one ``by`` another), which says that the key certifies and signs."""
    about = key.framed + b"\xb4" + len(name).to_bytes(4) + name
    return packet(13, name) + _made(by or key, about, 0x13, flags(CERTIFY | SIGN), options)


def direct(key: Key, *, by: Key | None = None, **options: Unpack[Options]) -> bytes:
    """A direct key signature, which belongs right behind the primary key."""
    return _made(by or key, key.framed, 0x1F, flags(CERTIFY | SIGN), options)


def subkey(
    key: Key, sub: Key, *, by: Key | None = None, back: bytes | None = None, **options: Unpack[Options]
) -> bytes:
    """A subkey that signs, bound by the primary key (or ``by`` another); ``back`` is its own signature in return."""
    bound = flags(SIGN) + (subpacket(32, signed_back(key, sub)) if back is None else back)
    return packet(14, sub.public) + _made(by or key, key.framed + sub.framed, 0x18, bound, options)


def signed_back(key: Key, sub: Key, *, by: Key | None = None, **options: Unpack[Options]) -> bytes:
    """The body of a subkey's signature over its primary key (RFC 9580 §5.2.1.9)."""
    return signature_body(by or sub, key.framed + sub.framed, **(Options(kind=0x19, made=KEY_MADE) | options))


def revocation(
    key: Key, sub: Key | None = None, *, by: Key | None = None, reason: int = COMPROMISED, **options: Unpack[Options]
) -> bytes:
    """Of the primary key, or of the subkey that stands in front of it; by the primary key or ``by`` another."""
    about, kind = (key.framed, 0x20) if sub is None else (key.framed + sub.framed, 0x28)
    return _made(by or key, about, kind, subpacket(29, bytes([reason])), options)


def certificate(key: Key, *more: bytes) -> bytes:
    """A key that certifies and signs, with one user ID; then other packets."""
    return primary(key) + user_id(key) + b"".join(more)


def _made(by: Key, about: bytes, kind: int, extra: bytes, options: Options) -> bytes:
    """``extra`` unless the options have their own."""
    return packet(2, signature_body(by, about, **(Options(kind=kind, extra=extra, made=KEY_MADE) | options)))

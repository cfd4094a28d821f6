"""Signed messages with one signature each, what they are worth, and the signers by whom they are judged."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple

from keystore.openpgp import SignatureState
from keystore.pgp_signer import Signer
from tests.openpgp import certificate_writer
from tests.openpgp import packet_writer as write
from tests.openpgp.signature_writer import (
    CRITICAL,
    KEY_MADE,
    MD5,
    SHA1,
    SHA512,
    SIGNED,
    TEXT,
    Key,
    key,
    one_pass,
    seconds,
    signature,
    signature_body,
    signed,
    subpacket,
)

PLAIN = b"identity,evtName\nuser1,Charged\r\nuser2,Charged\n"
LITERAL = write.literal(PLAIN)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS, OURS6, RSA, STRANGER = key("Ed25519"), key("Ed25519", 6), key("RSA"), key("Ed25519", seed=9)
YEAR = 365 * 86_400


@cache
def signer(by: Key, *more: bytes) -> Signer:
    return Signer.stored(certificate_writer.certificate(by, *more))


SIGNERS = [signer(by) for by in (OURS, OURS6, RSA)]


def changed(packet: bytes, at: int) -> bytes:
    at %= len(packet)
    return packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :]


def of_version(number: int) -> bytes:
    return write.packet(2, bytes([number]) + signature_body(OURS, PLAIN)[1:])


GOOD = {
    "binary": signed(OURS, PLAIN),
    "text": signed(OURS, PLAIN, kind=TEXT),
    "of version 6": signed(OURS6, PLAIN),
    "compressed": write.compressed(signed(OURS, PLAIN)),
    "around compressed data": one_pass(OURS) + write.compressed(LITERAL) + signature(OURS, PLAIN),
    "in front": signature(OURS, PLAIN) + LITERAL,
    "in front with an issuer that nobody signed": signature(
        OURS, PLAIN, named=False, unhashed=subpacket(16, OURS.key_id)
    )
    + LITERAL,
    "in front of compressed data": signature(OURS, PLAIN) + write.compressed(LITERAL),
    "with a subpacket of no known type": signed(OURS, PLAIN, extra=subpacket(101, b"?")),
    "with a long subpacket": signed(OURS, PLAIN, extra=subpacket(20, bytes(5000))),
    "with a critical subpacket that nobody signed": signed(OURS, PLAIN, unhashed=subpacket(101 | CRITICAL, b"?")),
    "with a critical subpacket that is known": signed(OURS, PLAIN, extra=subpacket(24 | CRITICAL, b"https://example")),
    "without an issuer": one_pass(OURS) + LITERAL + signature(OURS, PLAIN, named=False),
    "with an issuer that nobody signed": signed(OURS, PLAIN, named=False, unhashed=subpacket(16, OURS.key_id)),
    "of a clock that is a little ahead": signed(OURS, PLAIN, made=int(NOW.timestamp()) + 899),
    "made with the key": signed(OURS, PLAIN, made=KEY_MADE),
    "that does not expire": signed(OURS, PLAIN, extra=seconds(3, 0)),
    "that has not expired yet": signed(OURS, PLAIN, extra=seconds(3, 3 * YEAR)),
    "over a literal in parts": one_pass(OURS)
    + write.partial_packet(11, b"b\0\0\0\0\0" + PLAIN * 40, [9, 10])
    + signature(OURS, PLAIN * 40),
    "over nothing": signed(OURS, b""),
}
BAD = {
    "over other contents": signed(OURS, PLAIN, contents=PLAIN + b"user3,Charged\n"),
    "over other line ends": signed(OURS, PLAIN, contents=PLAIN.replace(b"\r\n", b"\n")),
    "in front of other contents": signature(OURS, PLAIN[1:]) + LITERAL,
    "with a changed value": changed(signed(OURS, PLAIN), -1),
    "with another check": signed(OURS, PLAIN)[:-70] + changed(signed(OURS, PLAIN)[-70:], 0),
    "of version 6 with a changed value": changed(signed(OURS6, PLAIN), -1),
    "by RSA with a changed value": changed(signed(RSA, PLAIN), -1),
    "with a cut value": one_pass(OURS) + LITERAL + write.packet(2, signature_body(OURS, PLAIN)[:-9]),
    "announced with another hash": one_pass(OURS, hash_id=SHA512) + LITERAL + signature(OURS, PLAIN),
    "announced as text": one_pass(OURS, kind=TEXT) + LITERAL + signature(OURS, PLAIN),
    "announced as another's": one_pass(STRANGER) + LITERAL + signature(OURS, PLAIN),
    "announced with another salt": one_pass(OURS6, salted=2) + LITERAL + signature(OURS6, PLAIN),
    "announced with a version that is not its own": one_pass(OURS6, version=3) + LITERAL + signature(OURS6, PLAIN),
    "announced in a version that nobody knows": one_pass(OURS, version=5) + LITERAL + signature(OURS, PLAIN),
    "behind, and not announced": LITERAL + signature(OURS, PLAIN),
    "announced behind": LITERAL + one_pass(OURS) + signature(OURS, PLAIN),
    "announced, and missing": one_pass(OURS) + LITERAL,
    "without a time": signed(OURS, PLAIN, made=None),
    "older than the key": signed(OURS, PLAIN, made=KEY_MADE - 1),
    "of tomorrow": signed(OURS, PLAIN, made=int(NOW.timestamp()) + 86_400),
    "that is no document's": signed(OURS, PLAIN, kind=0x10),
    "that certifies": signed(OURS, OURS.framed, contents=PLAIN, kind=0x1F),
    "that certifies, announced as a document's": one_pass(OURS)
    + write.literal(OURS.framed)
    + signature(OURS, OURS.framed, kind=0x1F),
    "with a critical subpacket of no known type": signed(OURS, PLAIN, extra=subpacket(101 | CRITICAL, b"?")),
    "with a critical notation": signed(OURS, PLAIN, extra=subpacket(20 | CRITICAL, bytes(9))),
    "for somebody else": signed(OURS, PLAIN, extra=subpacket(35, b"\x04" + STRANGER.fingerprint)),
    "by another algorithm": one_pass(OURS) + LITERAL + changed(signature(OURS, PLAIN), 8),
    "as version 6 of a version 4 key": signature(replace(OURS, version=6), PLAIN, claimed=OURS) + LITERAL,
}
# these name no key, or none that we look at
NAMELESS = {
    "empty": one_pass(OURS) + LITERAL + write.packet(2, b""),
    "cut in its head": one_pass(OURS) + LITERAL + write.packet(2, signature_body(OURS, PLAIN)[:20]),
    "with an empty subpacket": one_pass(OURS) + LITERAL + write.packet(2, bytes([4, 0, 22, 8, 0, 1, 0, 0, 0, 0, 0])),
    "with a subpacket beyond its end": one_pass(OURS)
    + LITERAL
    + write.packet(2, bytes([4, 0, 22, 8, 0, 2, 9, 2, 0, 0])),
    "with a salt of another size": one_pass(OURS6) + LITERAL + changed(signature(OURS6, PLAIN), -64 - 17),
    "announced by half a packet": write.packet(4, b"\x03\0\x08") + LITERAL,
}
EXPIRED = {
    "that expired": signed(OURS, PLAIN, extra=seconds(3, YEAR)),
    "that expires now": signed(OURS, PLAIN, extra=seconds(3, int(NOW.timestamp()) - SIGNED)),
}
UNCHECKED = {
    "with MD5": signed(RSA, PLAIN, hash_id=MD5),
    "with SHA-1": signed(RSA, PLAIN, hash_id=SHA1),
    "with SHA-1 and a changed value": changed(signed(RSA, PLAIN, hash_id=SHA1), -1),
}
UNREAD = {
    "of version 3": one_pass(OURS) + LITERAL + of_version(3),
    "of version 5": one_pass(OURS) + LITERAL + of_version(5),
    "longer than any": signed(OURS, PLAIN, extra=subpacket(20, bytes(1 << 14))),
}
UNKNOWN = {
    "by a stranger": signed(STRANGER, PLAIN),
    "by a stranger, and bad": changed(signed(STRANGER, PLAIN), -1),
    "by a stranger with SHA-1": signed(key("RSA", seed=2), PLAIN, hash_id=SHA1),
    "by whom only the announcement says": signed(STRANGER, PLAIN, named=False),
    "by a stranger, and not announced": LITERAL + signature(STRANGER, PLAIN),
}
NONE = {
    "at all": LITERAL,
    "at all, compressed": write.compressed(LITERAL),
    "at all beside a marker": write.packet(10, b"PGP") + LITERAL + write.packet(21, bytes(30)),
    "but announced behind": LITERAL + one_pass(OURS),
}


class Vector(NamedTuple):
    """The verdict, a state and one of the signers; and what stands inside the encryption."""

    state: SignatureState
    signers: set[str]
    inner: bytes


REGISTERED = {by.name for by in (OURS, OURS6, RSA)}
STRANGERS = {by.key_id.hex().upper() for by in (STRANGER, key("RSA", seed=2))}
GROUPS: list[tuple[SignatureState, set[str], dict[str, bytes]]] = [
    ("good", REGISTERED, GOOD),
    ("bad", REGISTERED, BAD),
    ("bad", {""}, NAMELESS),
    ("expired", REGISTERED, EXPIRED),
    ("unchecked", REGISTERED, UNCHECKED),
    ("unchecked", {""}, UNREAD),
    ("unknown_signer", STRANGERS, UNKNOWN),
    ("unknown_signer", {""}, {"by nobody": signature(OURS, PLAIN, named=False) + LITERAL}),
    ("none", {""}, NONE),
]
VECTORS = {
    f"{state} {name}": Vector(state, names, inner) for state, names, group in GROUPS for name, inner in group.items()
}
# those without a packet that is a signature
WITHOUT = {"bad announced, and missing", "bad announced by half a packet", *(f"none {name}" for name in NONE)}

"""Writing armor: bytes as text (RFC 9580 §6). `keystore.openpgp.armor` takes it off."""

from __future__ import annotations

import base64

_LINE = 64


def armored(label: str, data: bytes, *, with_crc: bool) -> bytes:
    """``data`` between the lines of ``label``, such as ``PGP MESSAGE``; about a second for 10 MB with the CRC24.

    GnuPG 2.2 reads nothing without a CRC24 whose Base64 ends without padding; RFC 9580 §6.1 forbids one beside version
    6 packets.
    """
    text = base64.b64encode(data).decode()
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    if with_crc:
        lines.append("=" + base64.b64encode(_crc24(data).to_bytes(3)).decode())
    return "\n".join([f"-----BEGIN {label}-----", "", *lines, f"-----END {label}-----", ""]).encode()


def _table() -> list[int]:
    """What the upper octet does to the remainder."""
    table = []
    for octet in range(256):
        crc = octet << 16
        for _ in range(8):
            # RFC 9580 §6.1.1: the generator
            crc = crc << 1 ^ (0x864CFB if crc & 0x800000 else 0)
        table.append(crc & 0xFFFFFF)
    return table


_TABLE = _table()


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for octet in data:
        crc = (crc << 8 & 0xFFFFFF) ^ _TABLE[crc >> 16 ^ octet]
    return crc

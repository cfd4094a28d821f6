"""The header that a TCP balancer puts before a connection: PROXY protocol, version 2 (HAProxy's proxy-protocol.txt).

Pure. Version 1, the one in text, is refused: one form is enough, and its length is not known before its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = 16  # signature, version and command, family, length
_MOST = 536  # what the standard asks a receiver to take
_LOCAL, _PROXY = 0x20, 0x21
_ADDRESS_BYTES = {0x11: 4, 0x21: 16}  # TCP over IPv4 and IPv6


class ProxyHeaderInvalid(Exception):
    """What came is no header of version 2; the text says why."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """``client`` is address and port, ``None`` for a connection of the balancer itself; ``length`` is in bytes."""

    client: tuple[str, int] | None
    length: int


def read_proxy_header(received: bytes) -> ProxyHeader | None:
    """The header at the beginning of ``received``, or ``None`` while it is not all there. Raises `ProxyHeaderInvalid`.

    What is appended to the addresses (TLV) is passed over.
    """
    if received[: len(_SIGNATURE)] != _SIGNATURE[: len(received)]:
        raise ProxyHeaderInvalid("no PROXY protocol header of version 2")
    if len(received) < _FIXED:
        return None
    command, family = received[12], received[13]
    length = _FIXED + int.from_bytes(received[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderInvalid("another version or command than PROXY protocol 2 has")
    if length > _MOST:
        raise ProxyHeaderInvalid(f"a PROXY header of {length} bytes")
    if len(received) < length:
        return None
    if command == _LOCAL:
        return ProxyHeader(None, length)
    size = _ADDRESS_BYTES.get(family)
    if size is None or length < _FIXED + 2 * size + 4:
        raise ProxyHeaderInvalid("a PROXY header for another family than TCP over IPv4 or IPv6")
    addresses = received[_FIXED:length]
    port = int.from_bytes(addresses[2 * size : 2 * size + 2], "big")
    return ProxyHeader((str(ip_address(addresses[:size])), port), length)

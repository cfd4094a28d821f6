"""Which addresses a webhook may reach: public ones, and internal ones that the settings allow.

An account's webhook makes us connect to where somebody says. Without this check that could be a metadata service, a
router or a database of ours. Names are resolved once, and the connection goes to an address that was checked: an answer
that changes between check and use changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from ingest.addresses import Address, Addresses, plain_address
from ingest.notices.errors import DeliveryDeferred

_MOST_ADDRESSES = 4

# threads of their own: a name whose servers do not answer keeps one for long after we have given up on it, and the
# loop's other threads carry uploads and the ledger
_RESOLVERS = ThreadPoolExecutor(16, thread_name_prefix="resolver")

# ranges of IPv6 that a gateway turns into IPv4, with the bit at which that begins
_NAT64, _NAT64_LOCAL = IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48")  # RFC 6052 §2.1; RFC 8215
_SIX_TO_FOUR = IPv6Network("2002::/16")  # RFC 3056 §2
_IPV4_COMPATIBLE = IPv6Network("::/96")  # RFC 4291 §2.5.5.1


async def addresses_of(host: str, port: int, allowed: Addresses) -> list[Address]:
    """The addresses of a host, or the address that it is, that a webhook may reach, in the order of the resolver.

    Raises `DeliveryDeferred` when the name cannot be resolved, or only to addresses that are internal.
    """
    try:
        found = await asyncio.get_running_loop().run_in_executor(
            _RESOLVERS, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        )
    except (OSError, UnicodeError) as error:
        raise DeliveryDeferred("the webhook's host is not known", detail=str(error)) from None
    addresses = list(dict.fromkeys(plain_address(str(place[0])) for *_, place in found))
    reachable = [address for address in addresses if is_public(address) or allowed.matches(str(address))]
    if not reachable:
        raise DeliveryDeferred(
            "the webhook's host has an internal address, which `webhook.allow_networks` does not allow",
            detail=", ".join(map(str, addresses[:_MOST_ADDRESSES])),
        )
    return reachable[:_MOST_ADDRESSES]


def is_public(address: Address) -> bool:
    """Whether an address belongs to the internet: not private, loopback, link-local, multicast, reserved.

    One that stands for an IPv4 address is as public as that is.
    """
    if isinstance(address, IPv6Address):
        inner = _inner(address)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _inner(address: IPv6Address) -> Address | None:
    """The IPv4 address that an IPv6 address leads to."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64 or address in _NAT64_LOCAL or address in _IPV4_COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return None

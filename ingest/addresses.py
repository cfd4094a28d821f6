"""Lists of addresses from which somebody may come, written as OpenSSH has them in ``from=`` (sshd(8), ssh_config(5)).

A list is patterns between commas: an address with ``*`` and ``?`` in it, or a network such as ``192.0.2.0/24``; one
with ``!`` before it refuses what it matches, whatever else does. Names of hosts are not looked up, so none is accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_WILDCARD = re.compile(r"[0-9a-f.:*?]+")  # what an address can look like; brackets would mean more to fnmatch
_MOST_CHARACTERS = 4096
_IPV6_SITE_BITS = 64  # one client has a whole such network to choose addresses from

Address = IPv4Address | IPv6Address
_Pattern = IPv4Network | IPv6Network | str


class AddressesInvalid(Exception):
    """A list of addresses that cannot be used; the text names the pattern and says why."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """A list that was read; the empty one matches nothing."""

    allowed: tuple[_Pattern, ...]
    refused: tuple[_Pattern, ...]

    def matches(self, address: str) -> bool:
        """Whether a client at ``address`` is meant; never for what is no IP address."""
        try:
            seen = plain_address(address)
        except ValueError:
            return False
        return _any(self.allowed, seen) and not _any(self.refused, seen)


def plain_address(address: str) -> Address:
    """The address without a zone, and as IPv4 when it is one inside IPv6; raises ``ValueError`` for anything else."""
    seen = ip_address(address.partition("%")[0])
    if isinstance(seen, IPv6Address) and seen.ipv4_mapped is not None:
        return seen.ipv4_mapped
    return seen


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = plain_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return f"{IPv6Address(int(parsed) >> _IPV6_SITE_BITS << _IPV6_SITE_BITS)}/{_IPV6_SITE_BITS}"
    return str(parsed)


@lru_cache(maxsize=1024)
def read_addresses(text: str) -> Addresses:
    """The list that ``text`` says. Raises `AddressesInvalid`; a list of refusals only would match nobody."""
    if len(text) > _MOST_CHARACTERS:
        raise AddressesInvalid(f"a list of addresses has at most {_MOST_CHARACTERS} characters")
    allowed: list[_Pattern] = []
    refused: list[_Pattern] = []
    for given in text.split(",") if text.strip() else ():
        pattern = given.strip()
        (refused if pattern.startswith("!") else allowed).append(_read(pattern.removeprefix("!")))
    if refused and not allowed:
        raise AddressesInvalid('this list only refuses, so it lets nobody in: put "*" before it to allow the others')
    return Addresses(tuple(allowed), tuple(refused))


def _read(pattern: str) -> _Pattern:
    if "/" in pattern:
        try:
            return ip_network(pattern)
        except ValueError as error:
            raise AddressesInvalid(f"{pattern!r} is no network: {error}") from None
    lowered = pattern.lower()
    if not _WILDCARD.fullmatch(lowered):
        raise AddressesInvalid(
            f"{pattern!r} is no address, network or pattern of one (192.0.2.7, 192.0.2.0/24, 192.0.2.*); "
            "names of hosts are not looked up"
        )
    if "*" in lowered or "?" in lowered:
        return lowered
    try:
        return str(ip_address(lowered))
    except ValueError:
        raise AddressesInvalid(f"{pattern!r} is no address") from None


def _any(patterns: tuple[_Pattern, ...], seen: Address) -> bool:
    text = str(seen)
    return any(
        fnmatchcase(text, pattern) if isinstance(pattern, str) else seen.version == pattern.version and seen in pattern
        for pattern in patterns
    )

"""Who is at the door: counts of connections, and the refusal of more than may be (FAULTS.md S6)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from asyncssh import SSHServerConnection

from ingest.settings import DoorSettings

_IPV6_SITE_BITS = 64  # one client has a whole such network to choose addresses from


@dataclass(slots=True)
class _Guest:
    source: str
    logged_in: bool


class Occupancy:
    """The open connections, with where they come from and whether they have logged in."""

    def __init__(self, settings: DoorSettings) -> None:
        self._settings = settings
        self._guests: dict[SSHServerConnection, _Guest] = {}

    @property
    def connections(self) -> tuple[SSHServerConnection, ...]:
        """All open connections."""
        return tuple(self._guests)

    def enter(self, connection: SSHServerConnection, address: str) -> str | None:
        """Count a new connection; the name of the setting that forbids it, or ``None`` when it may stay."""
        source = source_of(address)
        guests = self._guests.values()
        if len(guests) >= self._settings.max_connections:
            return "max_connections"
        if sum(not guest.logged_in for guest in guests) >= self._settings.max_unauthenticated:
            return "max_unauthenticated"
        if sum(guest.source == source for guest in guests) >= self._settings.max_connections_per_source:
            return "max_connections_per_source"
        self._guests[connection] = _Guest(source, logged_in=False)
        return None

    def log_in(self, connection: SSHServerConnection) -> None:
        """The connection is no longer one that has not logged in."""
        if guest := self._guests.get(connection):
            guest.logged_in = True

    def leave(self, connection: SSHServerConnection) -> None:
        """The connection is over; nothing happens when it was refused."""
        self._guests.pop(connection, None)


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{IPv6Address(int(parsed) >> _IPV6_SITE_BITS << _IPV6_SITE_BITS)}/{_IPV6_SITE_BITS}"
    return str(parsed)

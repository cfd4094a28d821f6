"""Who is at the door: counts of connections, and the refusal of more than may be (FAULTS.md S6)."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from dataclasses import dataclass

from asyncssh import SSHServerConnection

from ingest.addresses import read_addresses, source_of
from ingest.door.penalties import Misdeed, Penalties
from ingest.settings import DoorSettings

_FIRST_DROP_CHANCE = 0.3  # sshd_config(5), MaxStartups: the chance grows from this to 1
_KEPT_DESCRIPTORS = 128  # for uploads, the ledger and the workers of those who are inside


@dataclass(slots=True)
class _Guest:
    address: str
    source: str
    account: str | None = None


class Occupancy:
    """The open connections, with where they come from and as whom they have logged in.

    ``settings`` may be replaced at any time; who is inside stays.
    """

    def __init__(
        self,
        settings: DoorSettings,
        *,
        penalties: Penalties | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self._penalties = penalties or Penalties()
        self._chance = chance
        self._guests: dict[SSHServerConnection, _Guest] = {}

    @property
    def connections(self) -> tuple[SSHServerConnection, ...]:
        """All open connections."""
        return tuple(self._guests)

    def enter(self, connection: SSHServerConnection, address: str, descriptor: int = 0) -> str | None:
        """Count a new connection; the name of what forbids it, or ``None`` when it may stay.

        ``descriptor`` is the number of its socket: the system gives the lowest that is free, so that it tells how many
        are in use.
        """
        source = source_of(address)
        guests = self._guests.values()
        waiting = sum(guest.account is None for guest in guests)
        if self._penalties.shuts_out(source):
            return "penalty"
        if descriptor >= _most_descriptors():
            return "descriptors"
        if len(guests) >= self.settings.max_connections:
            return "max_connections"
        if waiting >= self.settings.max_unauthenticated:
            return "max_unauthenticated"
        if sum(guest.source == source for guest in guests) >= self.settings.max_connections_per_source:
            return "max_connections_per_source"
        if self._dropped_early(waiting):
            return "random_drop_from"
        self._guests[connection] = _Guest(address, source)
        return None

    def log_in(self, connection: SSHServerConnection, account: str) -> bool:
        """The connection is one of ``account`` from now on; whether it may stay, as one of those that it may have.

        One too many has logged in all the same: it is not held against its source.
        """
        inside = sum(guest.account == account for guest in self._guests.values())
        if guest := self._guests.get(connection):
            guest.account = account
        return inside < self.settings.max_connections_per_account

    def leave(self, connection: SSHServerConnection, misdeed: Misdeed) -> bool:
        """The connection is over; one that never logged in is held against its source for ``misdeed``.

        Whether the source is shut out from now on. Nothing happens when the connection was refused.
        """
        guest = self._guests.pop(connection, None)
        if guest is None or guest.account is not None:
            return False
        return self._penalties.add(
            misdeed,
            guest.source,
            guest.address,
            ceiling_s=self.settings.penalty_max_s,
            exempt=read_addresses(self.settings.penalty_exempt),
        )

    def _dropped_early(self, waiting: int) -> bool:
        """Whether chance sends a connection away: a flood then cannot simply fill all places (MaxStartups)."""
        first, full = self.settings.random_drop_from, self.settings.max_unauthenticated
        if waiting < first or first >= full:
            return False
        share = (waiting - first) / (full - first)
        return self._chance() < _FIRST_DROP_CHANCE + (1 - _FIRST_DROP_CHANCE) * share


def _most_descriptors() -> int:
    """The number of a socket from which on no further connection is taken."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most - min(_KEPT_DESCRIPTORS, most // 4)

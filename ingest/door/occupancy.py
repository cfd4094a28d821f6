"""Who is at the door: counts of connections, and the refusal of more than may be (FAULTS.md S6).

The limits hold for all doors on one port together, except that each keeps descriptors for itself.
"""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from dataclasses import dataclass

from asyncssh import SSHServerConnection

from ingest.addresses import read_addresses, source_of
from ingest.door.counts import Counts, Number
from ingest.door.penalties import Misdeed, Penalties
from ingest.settings import DoorSettings

_FIRST_DROP_CHANCE = 0.3  # sshd_config(5), MaxStartups: the chance grows from this to 1
_KEPT_DESCRIPTORS = 256  # for uploads, the ledger and connections that are accepted and not yet refused


@dataclass(slots=True)
class _Guest:
    address: str
    source: str
    account: str | None = None


class Occupancy:
    """The open connections of this door, with where they come from and as whom they have logged in.

    ``settings`` may be replaced at any time; who is inside stays.
    """

    def __init__(
        self,
        settings: DoorSettings,
        counts: Counts,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self._counts = counts
        self._penalties = Penalties(counts)
        self._chance = chance
        self._guests: dict[SSHServerConnection, _Guest] = {}
        self._all = counts.number("connections")
        self._waiting = counts.number("connections before their login")

    @property
    def connections(self) -> tuple[SSHServerConnection, ...]:
        """All open connections."""
        return tuple(self._guests)

    def logged_in(self) -> dict[str, list[SSHServerConnection]]:
        """The connections of this door that have logged in, by account."""
        found: dict[str, list[SSHServerConnection]] = {}
        for connection, guest in self._guests.items():
            if guest.account is not None:
                found.setdefault(guest.account, []).append(connection)
        return found

    def enter(self, connection: SSHServerConnection, address: str, descriptor: int = 0) -> str | None:
        """Count a new connection; the name of what forbids it, or ``None`` when it may stay.

        ``descriptor`` is the number of its socket: the system gives the lowest that is free, so that it tells how many
        are in use.
        """
        source = source_of(address)
        if self._penalties.shuts_out(source):
            return "penalty"
        if descriptor >= _most_descriptors():
            return "descriptors"
        of_source = self._of_source(source)
        # counted first and looked at then, as `ingest.door.counts` says
        at_once, waiting, from_there = self._all.add(1), self._waiting.add(1), of_source.add(1)
        refusal = self._refusal(at_once, waiting, from_there)
        if refusal is None:
            self._guests[connection] = _Guest(address, source)
        else:
            for number in (self._all, self._waiting, of_source):
                number.add(-1)
        return refusal

    def _refusal(self, at_once: int, waiting: int, from_there: int) -> str | None:
        """What forbids a connection, with which there are so many: in all, before their login, from its source."""
        if at_once > self.settings.max_connections:
            return "max_connections"
        if waiting > self.settings.max_unauthenticated:
            return "max_unauthenticated"
        if from_there > self.settings.max_connections_per_source:
            return "max_connections_per_source"
        return "random_drop_from" if self._dropped_early(waiting - 1) else None

    def log_in(self, connection: SSHServerConnection, account: str) -> bool:
        """The connection is one of ``account`` from now on; whether it may stay, as one of those that it may have.

        One too many has logged in all the same: it is not held against its source.
        """
        guest = self._guests.get(connection)
        if guest is None:  # it was ended meanwhile
            return True
        guest.account = account
        self._waiting.add(-1)
        return self._of_account(account).add(1) <= self.settings.max_connections_per_account

    def leave(self, connection: SSHServerConnection, misdeed: Misdeed) -> bool:
        """The connection is over; one that never logged in is held against its source for ``misdeed``.

        Whether the source is shut out from now on. Nothing happens when the connection was refused.
        """
        guest = self._guests.pop(connection, None)
        if guest is None:
            return False
        self._all.add(-1)
        self._of_source(guest.source).add(-1)
        if guest.account is not None:
            self._of_account(guest.account).add(-1)
            return False
        self._waiting.add(-1)
        return self._penalties.add(
            misdeed,
            guest.source,
            guest.address,
            ceiling_s=self.settings.penalty_max_s,
            exempt=read_addresses(self.settings.penalty_exempt),
        )

    def _of_source(self, source: str) -> Number:
        return self._counts.number("connections of a source", source)

    def _of_account(self, account: str) -> Number:
        return self._counts.number("connections of an account", account)

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

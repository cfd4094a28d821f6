"""Whether other workers live, told by what this process sees of their leases, not by the time of day (FAULTS.md W8).

A clock that is set an hour forth ends every lease at once, and clocks of two machines may differ for good. So a worker
takes an import over only when it has seen the same lease, unrenewed, for two beats of the heart by its own monotonic
clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from ingest.ledger.queue import Held

_UNRENEWED_FOR = 2 / 3  # of a lease, which is renewed three times while it lasts


class WatchedLeases:
    """What one process has seen of leases of ``lease_s``; look at least as often as it wants to take one over."""

    def __init__(self, lease_s: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wait_s = lease_s * _UNRENEWED_FOR
        self._monotonic = monotonic
        self._since: dict[Held, float] = {}

    def unrenewed(self, held: Iterable[Held]) -> list[Held]:
        """Those of the leases that are held now which have been the same for long enough."""
        now = self._monotonic()
        self._since = {one: self._since.get(one, now) for one in held}
        return [one for one, since in self._since.items() if now - since >= self._wait_s]

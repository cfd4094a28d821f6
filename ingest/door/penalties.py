"""Sources that behave badly are shut out for a while: longer the more they do it (sshd_config(5), PerSourcePenalties).

Each misdeed adds its seconds to those that are left of the earlier ones, up to a ceiling. A source is shut out once
they have come to `_SHUT_OUT_FROM_S`, and then until they are over, so that a slip or a monitor's probe costs nothing.
The table is bounded: when it is full, the source that is nearest to its end is let off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ingest.addresses import Addresses

_SHUT_OUT_FROM_S = 15.0
_MOST_SOURCES = 65_536


class Misdeed(Enum):
    """What a connection did wrong; the value is its penalty in seconds."""

    WRONG_KEY = 5.0  # it tried keys and left without having logged in
    LOGIN_TIMEOUT = 10.0  # it did not log in within the time for it
    NO_LOGIN = 1.0  # it left without having tried


@dataclass(slots=True)
class _Penalty:
    until: float
    shut_out: bool


class Penalties:
    """The penalties of all sources, in this process; ``source`` is what `ingest.addresses.source_of` gives."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._penalties: dict[str, _Penalty] = {}

    def add(self, misdeed: Misdeed, source: str, address: str, *, ceiling_s: float, exempt: Addresses) -> bool:
        """Note a misdeed; whether the source is shut out by it and was not before. Nothing happens to one exempt."""
        if exempt.matches(address):
            return False
        now = self._monotonic()
        penalty = self._penalties.get(source)
        if penalty is None or penalty.until <= now:
            self._make_room(now)
            penalty = self._penalties[source] = _Penalty(until=now, shut_out=False)
        penalty.until = min(penalty.until + misdeed.value, now + ceiling_s)
        before, penalty.shut_out = penalty.shut_out, penalty.shut_out or penalty.until - now >= _SHUT_OUT_FROM_S
        return penalty.shut_out and not before

    def shuts_out(self, source: str) -> bool:
        """Whether connections from this source are refused now."""
        penalty = self._penalties.get(source)
        return penalty is not None and penalty.shut_out and penalty.until > self._monotonic()

    def _make_room(self, now: float) -> None:
        if len(self._penalties) < _MOST_SOURCES:
            return
        self._penalties = {source: penalty for source, penalty in self._penalties.items() if penalty.until > now}
        while len(self._penalties) >= _MOST_SOURCES:
            del self._penalties[min(self._penalties, key=lambda source: self._penalties[source].until)]

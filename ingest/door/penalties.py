"""Sources that behave badly are shut out for a while: longer the more they do it (sshd_config(5), PerSourcePenalties).

Each misdeed adds its seconds to those that are left of the earlier ones, up to a ceiling. A source is shut out once
they have come to `_SHUT_OUT_FROM_S`, and then until they are over, so that a slip or a monitor's probe costs nothing.
All doors on one port share the penalties. Their number is bounded: where there is no room, the source that is nearest
to its end is let off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

from ingest.addresses import Addresses
from ingest.door.counts import Counts

_SHUT_OUT_FROM_S = 15.0
_S = 1_000_000  # a penalty is twice the microsecond at which it ends, and one more while its source is shut out


class Misdeed(Enum):
    """What a connection did wrong; the value is its penalty in seconds."""

    WRONG_KEY = 5.0  # it tried keys and left without having logged in
    LOGIN_TIMEOUT = 10.0  # it did not log in within the time for it
    NO_LOGIN = 1.0  # it left without having tried


class Penalties:
    """The penalties of all sources; ``source`` is what `ingest.addresses.source_of` gives."""

    def __init__(self, counts: Counts, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._counts = counts
        self._monotonic = monotonic

    def add(self, misdeed: Misdeed, source: str, address: str, *, ceiling_s: float, exempt: Addresses) -> bool:
        """Note a misdeed; whether the source is shut out by it and was not before. Nothing happens to one exempt."""
        if exempt.matches(address):
            return False
        now = self._now()
        moment = self._counts.moment("penalty", source)
        before, shut_out = divmod(moment.latest(), 2)
        until = min(max(before, now) + round(misdeed.value * _S), now + round(ceiling_s * _S))
        was_shut_out = bool(shut_out) and before > now
        is_shut_out = was_shut_out or until - now >= _SHUT_OUT_FROM_S * _S
        moment.set(2 * until + is_shut_out)
        return is_shut_out and not was_shut_out

    def shuts_out(self, source: str) -> bool:
        """Whether connections from this source are refused now."""
        until, shut_out = divmod(self._counts.moment("penalty", source).latest(), 2)
        return bool(shut_out) and until > self._now()

    def _now(self) -> int:
        return round(self._monotonic() * _S)

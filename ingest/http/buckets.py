"""Limits of a rate: a bucket for each key, which holds a burst and fills up again steadily. In this process only.

The table is bounded: when it is full, the bucket that was used longest ago goes, which is full again or nearly.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_MOST_KEYS = 65_536


class Buckets:
    """``burst`` at once, and ``per_s`` in the long run, for each key."""

    def __init__(
        self, per_s: float, burst: float, *, most: int = _MOST_KEYS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._most = most
        self._monotonic = monotonic
        self._levels: dict[str, tuple[float, float]] = {}  # what was left, and when; used last stands last

    def take(self, key: str) -> float:
        """Take one: 0 when there was one, else the seconds until there is."""
        level = self._level(key)
        taken = level >= 1
        self._put(key, level - 1 if taken else level)
        return 0.0 if taken else (1 - level) / self._per_s

    def give_back(self, key: str) -> None:
        """Undo a `take` that found one."""
        self._put(key, min(self._level(key) + 1, self._burst))

    def _level(self, key: str) -> float:
        left, at = self._levels.get(key, (self._burst, 0.0))
        return min(self._burst, left + (self._monotonic() - at) * self._per_s)

    def _put(self, key: str, level: float) -> None:
        self._levels.pop(key, None)
        if len(self._levels) >= self._most:
            del self._levels[next(iter(self._levels))]
        self._levels[key] = (level, self._monotonic())

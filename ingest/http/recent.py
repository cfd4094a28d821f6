"""What was read lately, kept for a short time: a change in the ledger holds once that is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Reads by key, in a thread; those who ask for the same key at once share one reading."""

    def __init__(
        self,
        read: Callable[[str], T],
        *,
        keep_s: float,
        most: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._keep_s = keep_s
        self._most = most
        self._monotonic = monotonic
        self._kept: dict[str, tuple[float, asyncio.Task[T]]] = {}

    async def get(self, key: str) -> T:
        """What reading says, or said less than ``keep_s`` ago; raises what reading raises, and keeps no failure."""
        self._drop_old()
        reading = self._kept.get(key, (0.0, None))[1]
        if reading is None:
            while len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            reading = asyncio.create_task(asyncio.to_thread(self._read, key))
            self._kept[key] = (self._monotonic() + self._keep_s, reading)
        try:
            return await asyncio.shield(reading)  # one who leaves takes nothing from the others
        except BaseException:
            if reading.done() and self._kept.get(key, (0.0, None))[1] is reading:
                del self._kept[key]
            raise

    def _drop_old(self) -> None:
        """Keep nothing for longer than it is good, above all no keys; the oldest stands first."""
        now = self._monotonic()
        while self._kept and (oldest := next(iter(self._kept.items())))[1][0] <= now:
            del self._kept[oldest[0]]

    def forget(self, key: str) -> None:
        """Read this key anew the next time."""
        self._kept.pop(key, None)

"""How many bytes each account may have waiting: one count for all its sessions, in all doors (FAULTS.md S17).

What lies on the disk is counted when an upload begins, unless that was done a moment ago, and again before a write is
refused, since imports take files away meanwhile. In between every byte that an upload grows by is added at once, on the
event loop, so that parallel uploads cannot share what is left; by how much uploads through other doors have grown since
the count is asked for each write. What may have been counted twice is room that is missed until the next count; none is
given twice.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from ingest.door.counts import Counts
from ingest.parts import Stock

_COUNT_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Mark:
    """How things stood when somebody began to count: which doors there were, and what had come, in bytes."""

    doors: tuple[int, ...] = ()
    elsewhere: int = 0
    kept: int = 0


class Quota:
    """The count of one account."""

    def __init__(self, counts: Counts, account: str) -> None:
        self._counts = counts
        # by how much uploads have ever grown, told before and after each write: another door takes what may be there
        # by now and leaves out what was surely there when it looked
        self._begun = counts.number("bytes of uploads begun", account)
        self._done = counts.number("bytes of uploads done", account)
        self._pending = 0
        self._settled = 0
        self._kept = 0
        self._uploads: dict[str, int] = {}  # those open in this process, with their sizes
        self._mark = Mark()
        self._counted = float("-inf")

    @property
    def is_old(self) -> bool:
        """Whether it is time to count what is on the disk."""
        return not self.is_current or time.monotonic() - self._counted > _COUNT_AGAIN_S

    @property
    def is_current(self) -> bool:
        """Whether the same doors are there as when it was counted: what one that has gone had told is gone as well."""
        return self._mark.doors == self._counts.doors()

    @property
    def is_idle(self) -> bool:
        """Whether no upload is open, and what was counted is of no more use."""
        return self.is_old and not self._uploads

    def mark(self) -> Mark:
        """To be taken before what is on the disk is counted."""
        return Mark(self._counts.doors(), self._done.elsewhere(), self._kept)

    def begin(self, name: str, size: int) -> None:
        """An upload is open, with ``size`` bytes that it has already."""
        self._settled -= size
        self._uploads[name] = size

    def count(self, mark: Mark, stock: Stock) -> None:
        """Take what is on the disk now for what is there beside the open uploads."""
        self._mark = mark
        self._settled = stock.bytes_without(set(self._uploads)) + max(0, self._kept - mark.kept)
        self._counted = time.monotonic()

    def fits(self, name: str, size: int, max_bytes: int) -> bool:
        """Whether the upload may grow to ``size`` bytes, as counted; if so, `grow` must follow at once."""
        self._plan(size - self._uploads[name])
        others = sum(self._uploads.values()) - self._uploads[name]
        elsewhere = self._begun.elsewhere() - self._mark.elsewhere
        fits = self.is_current and self._settled + others + elsewhere + size <= max_bytes
        if not fits:
            self._plan(0)
        return fits

    def grow(self, name: str, size: int) -> None:
        """The upload has ``size`` bytes now."""
        grown = max(0, size - self._uploads[name])
        self._plan(grown)
        self._done.add(grown)
        self._pending = 0
        self._uploads[name] = size

    def _plan(self, growth: int) -> None:
        self._begun.add(growth - self._pending)
        self._pending = growth

    def end(self, name: str, *, kept: bool) -> None:
        """The upload is not open any more; its bytes count on when they were ``kept``."""
        size = self._uploads.pop(name, 0)
        if kept:
            self._settled += size
            self._kept += size

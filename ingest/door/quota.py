"""How many bytes each account may have waiting: one count for all its sessions in this process (FAULTS.md S17).

What lies on the disk is counted when an upload begins, unless that was done a moment ago, and again before a write is
refused, since imports take files away meanwhile. In between every byte that an upload grows by is added at once, on the
event loop, so that parallel uploads cannot share what is left. Uploads through another process are counted as they were
at the last look.
"""

from __future__ import annotations

import time

from ingest.parts import Stock

_COUNT_AGAIN_S = 2.0


class Quota:
    """The count of one account; ``uploads`` are those open in this process, by name, with their sizes."""

    def __init__(self) -> None:
        self._settled = 0
        self._uploads: dict[str, int] = {}
        self._counted = float("-inf")

    @property
    def is_old(self) -> bool:
        """Whether it is time to count what is on the disk."""
        return time.monotonic() - self._counted > _COUNT_AGAIN_S

    @property
    def is_idle(self) -> bool:
        """Whether no upload is open, and what was counted is of no more use."""
        return self.is_old and not self._uploads

    def begin(self, name: str, size: int) -> None:
        """An upload is open, with ``size`` bytes that it has already."""
        self._settled -= size
        self._uploads[name] = size

    def count(self, stock: Stock) -> None:
        """Take what is on the disk now for what is there beside the open uploads."""
        self._settled = stock.bytes_without(set(self._uploads))
        self._counted = time.monotonic()

    def fits(self, name: str, size: int, max_bytes: int) -> bool:
        """Whether the upload may grow to ``size`` bytes."""
        others = sum(self._uploads.values()) - self._uploads[name]
        return self._settled + others + size <= max_bytes

    def grow(self, name: str, size: int) -> None:
        """The upload has ``size`` bytes now."""
        self._uploads[name] = size

    def end(self, name: str, *, kept: bool) -> None:
        """The upload is not open any more; its bytes count on when they were ``kept``."""
        size = self._uploads.pop(name, 0)
        if kept:
            self._settled += size

"""Room on the disk: intake stops first, then new imports, and what is left belongs to commits and the ledger (W12).

Two marks for free bytes, two for free inodes. Below the first the door takes no new upload; below the second, half of
the first, it refuses the running ones as well, and no import is started. Each is passed again with a tenth more, so
that nothing flickers. It recovers by itself: as imports are carried out, by the sweeper, or by the operator.

Diagnostics: ``disk_low`` and ``disk_recovered``, once each time that a mark is passed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from ingest.errors import DiskFull
from ingest.settings import DiskSettings

_LOOK_AGAIN_S = 1.0
_RECOVERED = 1.1

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Free:
    """What is free on the fullest of the file systems; ``inodes`` is ``None`` where they are not counted."""

    bytes: int
    inodes: int | None


class Disk:
    """The file systems below ``folders``. Looks block, and are cheap: at most one a second is made."""

    def __init__(
        self, folders: Sequence[Path], settings: DiskSettings, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._folders = folders
        self._settings = settings
        self._monotonic = monotonic
        self._looked = float("-inf")
        self.is_low = False
        self.is_lowest = False

    @property
    def is_old(self) -> bool:
        """Whether it is time to look again."""
        return self._monotonic() - self._looked > _LOOK_AGAIN_S

    def look(self) -> None:
        """Bring ``is_low`` (no new uploads) and ``is_lowest`` (no uploads, no new imports) up to date."""
        if not self.is_old:
            return
        self._looked = self._monotonic()
        free = self.free()
        low, lowest = self._is_below(free, 1.0, self.is_low), self._is_below(free, 0.5, self.is_lowest)
        if (low, lowest) != (self.is_low, self.is_lowest):
            tell = _log.error if low else _log.info
            action = "disk_low" if low else "disk_recovered"
            tell(action, action=action, free_bytes=free.bytes, free_inodes=free.inodes, imports_stopped=lowest)
        self.is_low, self.is_lowest = low, lowest

    def check_import(self, size: int) -> None:
        """Raises `DiskFull` when an import of so many encrypted bytes might not leave what commits need."""
        free = self.free()
        if free.bytes < self._settings.min_free_bytes // 2 + size:
            raise DiskFull(
                "There is no room for the file on our side at the moment.",
                detail=f"{free.bytes:,} bytes are free; the file has {size:,}, and half of `disk.min_free_bytes` stays",
            )

    def free(self) -> Free:
        """What is free now, to this user."""
        found = []
        for folder in self._folders:
            with suppress(FileNotFoundError):  # not made yet: its parent is among them
                found.append(os.statvfs(folder))
        counted = [facts.f_favail for facts in found if facts.f_files]
        return Free(min(facts.f_bavail * facts.f_frsize for facts in found), min(counted) if counted else None)

    def _is_below(self, free: Free, share: float, was_below: bool) -> bool:  # noqa: FBT001  # private
        share *= _RECOVERED if was_below else 1.0
        few = free.inodes is not None and free.inodes < self._settings.min_free_inodes * share
        return few or free.bytes < self._settings.min_free_bytes * share

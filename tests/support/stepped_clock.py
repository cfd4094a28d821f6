"""A wall clock that a test sets while real processes run by it; their monotonic clock stays what it is."""

from __future__ import annotations

import mmap
import struct
import time
from datetime import timedelta
from pathlib import Path

from tests.support.shims import build


class SteppedClock:
    """The clock of all processes that have its `environment`; those of this process stay right."""

    def __init__(self, folder: Path) -> None:
        self._shim = build("stepped_clock", folder)
        self._file = folder / "clock"
        self._file.write_bytes(bytes(24))
        with self._file.open("r+b") as file:
            self._setting = mmap.mmap(file.fileno(), 24)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._shim), "STEPPED_CLOCK": str(self._file)}

    def step(self, ahead: timedelta = timedelta()) -> None:
        """Set the clock to be so much ahead of the right time, or behind it."""
        struct.pack_into("=q", self._setting, 8, 0)
        struct.pack_into("=q", self._setting, 0, ahead // timedelta(microseconds=1) * 1000)

    def slew(self, factor: float) -> None:
        """Let the clock run so fast from now on."""
        struct.pack_into("=q", self._setting, 16, time.monotonic_ns())
        struct.pack_into("=q", self._setting, 8, round((factor - 1) * 1_000_000))

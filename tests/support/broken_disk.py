"""A disk that refuses calls of SQLite's on the ledger, switched on and off while processes run."""

from __future__ import annotations

import errno
import itertools
import mmap
import struct
from enum import IntFlag
from pathlib import Path

from tests.support.shims import build


class Call(IntFlag):
    """What is refused."""

    SYNC = 1
    WRITE = 2
    TRUNCATE = 4
    REMOVE = 8


class On(IntFlag):
    """Of which file."""

    DATABASE = 1
    JOURNAL = 2
    FOLDER = 4


ALL_CALLS = Call.SYNC | Call.WRITE | Call.TRUNCATE | Call.REMOVE
ALL_FILES = On.DATABASE | On.JOURNAL | On.FOLDER


PLACES = [
    (call, file)
    for call, file in itertools.product(Call, On)
    if (call is Call.SYNC or file is not On.FOLDER) and (call is not Call.REMOVE or file is On.JOURNAL)
]
"""What SQLite does with which file."""


class BrokenDisk:
    """The disk under one ledger, for all processes that have `environment`; it is well at first."""

    def __init__(self, setting: Path) -> None:
        self._file = setting
        if not setting.exists():
            setting.write_bytes(bytes(48))
        with setting.open("r+b") as file:
            self._setting = mmap.mmap(file.fileno(), 48)

    def environment(self, database: Path) -> dict[str, str]:
        shim = build("broken_disk", self._file.parent)
        return {"LD_PRELOAD": str(shim), "BROKEN_DISK": str(self._file), "BROKEN_DATABASE": str(database)}

    def refuse(
        self,
        calls: Call = ALL_CALLS,
        files: On = ALL_FILES,
        *,
        error: int = errno.EIO,
        first: int = 1,
        on: bool = False,
    ) -> None:
        """Refuse the ``first``-th of these calls from now, and with ``on`` all after it."""
        self.mend()
        struct.pack_into("=6q", self._setting, 0, 0, files, error, first, on, 0)
        struct.pack_into("=q", self._setting, 0, calls)

    def mend(self) -> bool:
        """Refuse nothing more; whether anything was refused."""
        _, _, _, first, _, count = struct.unpack_from("=6q", self._setting)
        struct.pack_into("=6q", self._setting, 0, 0, 0, 0, 0, 0, 0)
        return bool(count >= first > 0)

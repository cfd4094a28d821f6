"""Memory that the doors of one machine share: each process has a sheet of its own, and reads those of all others.

Nobody waits for anybody: a sheet is written by one process only, so there is no lock that a stopped process could keep.
A sheet counts as long as its process holds a lock on one byte of the file; the lock ends with the process, also with
one that was killed. The file belongs in a file system in memory, or a disk that hangs would stop the door.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import stat
import struct
import time
from pathlib import Path

from ingest.door.errors import SharedCountsUnusable

MOST_DOORS = 16
_LAYOUT = 1  # other layouts have other files
_WORD_BYTES = 8
_HEAD_WORDS = 512  # the first ones are not 0 where a sheet is in use, and another number for each door
_FLOCK = struct.Struct("hhqqi4x")  # fcntl(2): type, whence, start, length, process


class Sheets:
    """`MOST_DOORS` sheets of ``size`` words (signed, 64 bits) in ``words``; this process writes the one at ``own``."""

    def __init__(self, size: int, descriptor: int | None = None) -> None:
        self.size = size
        self._descriptor = descriptor
        length = (_HEAD_WORDS + MOST_DOORS * size) * _WORD_BYTES
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, length)
        self.words = memoryview(self._memory).cast("q")
        self._number = self._take_one()
        self.own = self._start_of(self._number)

    @classmethod
    def shared(cls, size: int, folder: Path, spool: Path) -> Sheets:
        """A sheet beside those of the other doors on this spool; blocks.

        Raises `SharedCountsUnusable` when the file in ``folder`` cannot be used, or no sheet is free.
        """
        place = hashlib.blake2b(os.fsencode(spool.resolve()), digest_size=8).hexdigest()
        path = folder / f"sealdrop-door-{os.geteuid()}-{_LAYOUT}-{place}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
            try:
                _check_is_ours(path, descriptor)
                # room that is missing is said now, and not by a signal later
                os.posix_fallocate(descriptor, 0, (_HEAD_WORDS + MOST_DOORS * size) * _WORD_BYTES)
                return cls(size, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise SharedCountsUnusable(
                f"{path}: the doors that share the port cannot count together: {error.strerror}. "
                "`door.shared_dir` must be a folder in memory that this user may write to."
            ) from error

    def doors(self) -> tuple[int, ...]:
        """Which doors there are, this one among them: another value when one has come or gone."""
        return tuple(self.words[:MOST_DOORS])

    def others(self) -> list[int]:
        """Where the sheets of the other doors begin."""
        in_use = self.words[:MOST_DOORS].tolist()
        return [self._start_of(number) for number, used in enumerate(in_use) if used and number != self._number]

    def forget_the_dead(self) -> int:
        """Take the sheets of processes that have ended out of use; how many. Does not block."""
        dead = 0
        for number in range(MOST_DOORS):
            # the lock is taken, not only asked for: a new door may want this sheet at the same moment
            if self.words[number] and number != self._number and self._locks(number):
                self.words[number] = 0
                self._lock(number, fcntl.F_UNLCK)
                dead += 1
        return dead

    def close(self) -> None:
        """Give the sheet up; nothing may be counted any more."""
        self.words[self._number] = 0
        self.words.release()
        self._memory.close()
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _take_one(self) -> int:
        for number in range(MOST_DOORS):
            if self._locks(number):
                start = self._start_of(number)
                if self._descriptor is not None:  # what the last door that had it has left
                    self.words[start : start + self.size] = memoryview(bytes(self.size * _WORD_BYTES)).cast("q")
                self.words[number] = time.monotonic_ns()
                return number
        raise SharedCountsUnusable(f"{MOST_DOORS} doors share the port already, which is the limit: end one of them.")

    def _start_of(self, number: int) -> int:
        return _HEAD_WORDS + number * self.size

    def _locks(self, number: int) -> bool:
        """Lock a sheet's byte; whether nobody else has it."""
        try:
            self._lock(number, fcntl.F_WRLCK)
        except BlockingIOError:
            return False
        return True

    def _lock(self, number: int, kind: int) -> None:
        # locks of the open file, not of the process: those would not keep two doors of one process apart
        if self._descriptor is not None:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, number, 1, 0))


def _check_is_ours(path: Path, descriptor: int) -> None:
    """Raises `SharedCountsUnusable` for what another user has put there, or may write to."""
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
        raise SharedCountsUnusable(
            f"{path}: this is not a file of this user's alone. Find out who made it, remove it, and start again; or "
            "set `door.shared_dir` to a folder that only this user may write to."
        )

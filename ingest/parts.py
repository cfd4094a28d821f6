"""Uploads in progress, and unfinished ones that can be continued: one part for each name of an account.

A part is a file of its own with a lock on it while a session writes it; the lock ends with the session or its process,
so that several doors on one spool, and one that was killed, leave nothing to clean up. What decides about a part is
done under the account's lock (`Spool.locked`), and the part itself is the reservation of its place: the number of files
that an account has can be exceeded by no race (FAULTS.md S17).
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ingest.spool import Spool, is_allowed_name, is_in_progress_name

_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = _OPEN | os.O_CREAT | os.O_EXCL
_COUNT = struct.Struct("<qd")  # names at most, and the monotonic second in which they were counted
_COUNT_AGAIN_S = 2.0


class PartBusy(Exception):
    """Another session, perhaps of another process, is writing this part."""


class PartMissing(Exception):
    """There is no unfinished upload of this name that could be continued."""


class TooManyFiles(Exception):
    """The account has as many files and unfinished uploads as it may."""


@dataclass(frozen=True, slots=True)
class Part:
    """An open part, locked by its descriptor; whoever has it closes that."""

    path: Path
    descriptor: int
    size: int
    replaces: bool  # there is something of this name in the drop already


@dataclass(frozen=True, slots=True)
class Stock:
    """What an account has in the spool that no import has taken: complete files and parts, by name."""

    complete: dict[str, os.stat_result]
    parts: dict[str, os.stat_result]

    def bytes_without(self, names: set[str]) -> int:
        """The sum of all sizes but those under ``names``."""
        return sum(
            facts.st_size for some in (self.complete, self.parts) for name, facts in some.items() if name not in names
        )


class Parts:
    """The parts of all accounts in one spool. Blocking."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def begin(self, account: str, name: str, *, max_files: int) -> Part:
        """A new, empty part in place of an unfinished one.

        Raises `PartBusy`, and `TooManyFiles` when it would be one file more than ``max_files``.
        """
        path = self._path(account, name)
        with self._spool.locked(account) as lock:
            self._let_go_of(path)
            self._reserve(lock, account, name, max_files)
            descriptor = os.open(path, _CREATE, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return Part(path, descriptor, 0, replaces=self._is_there(account, name))

    def resume(self, account: str, name: str) -> Part:
        """The unfinished upload of this name, to be continued.

        A file that its client closed under a name for uploads in progress is one too (WinSCP does so when it is
        interrupted). Raises `PartBusy`, `PartMissing`.
        """
        path = self._path(account, name)
        with self._spool.locked(account):
            if is_in_progress_name(name) and not path.exists():
                self._take_back(account, name, path)
            descriptor = _locked(path)
            facts = os.fstat(descriptor)
            return Part(path, descriptor, facts.st_size, replaces=self._is_there(account, name))

    def remove(self, account: str, name: str) -> bool:
        """Remove an unfinished upload; whether there was one. Raises `PartBusy`."""
        path = self._path(account, name)
        with self._spool.locked(account):
            return self._let_go_of(path)

    def rename(self, account: str, old: str, new: str, *, replace: bool) -> None:
        """Give a complete file another name, durably, in place of an unfinished upload of that name.

        No upload under either name, of whatever process, begins or becomes complete meanwhile: both are decided about
        under the account's lock. Raises `PartBusy`, and as `Spool.rename`.
        """
        with self._spool.locked(account):
            with suppress(PartMissing):
                os.close(_locked(self._path(account, old)))  # a part of that name stays
            self._let_go_of(self._path(account, new))
            self._spool.rename(account, old, new, replace=replace)

    def stock(self, account: str) -> Stock:
        """All that the account has waiting, in the drop and in parts; follows no link.

        What is moved from one to the other meanwhile is seen in one of them at least, so the parts are read twice.
        """
        drop, parts = self._spool.drop(account), self._spool.parts(account)
        before = _plain_files(parts)
        return Stock(_plain_files(drop), before | _plain_files(parts))

    def find(self, account: str, name: str) -> os.stat_result | None:
        """The facts about a part, in progress or unfinished; ``None`` when there is none."""
        with suppress(FileNotFoundError):
            facts = self._path(account, name).stat(follow_symlinks=False)
            if _may_go_on(facts):
                return facts
        return None

    def open_to_read(self, account: str, name: str) -> int | None:
        """A descriptor to read a part by, which the caller closes; ``None`` when there is none."""
        if self.find(account, name) is None:
            return None
        with suppress(FileNotFoundError):
            return os.open(self._path(account, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        return None

    def _path(self, account: str, name: str) -> Path:
        return self._spool.parts(account) / name

    def _reserve(self, lock: int, account: str, name: str, max_files: int) -> None:
        """Raises `TooManyFiles` when a file of this name would be one too many.

        Listing a full folder for each upload would cost more than all the rest of it. So the file of the account's
        ``lock`` holds how many files there can be at most: those that were counted a moment ago, and one for each
        upload that began since.
        """
        noted = os.pread(lock, _COUNT.size, 0)
        count, counted_at = _COUNT.unpack(noted) if len(noted) == _COUNT.size else (0, float("-inf"))
        count += 1
        now = time.monotonic()
        if count > max_files or not 0 <= now - counted_at < _COUNT_AGAIN_S:  # in the future: before the last boot
            stock = self.stock(account)
            count, counted_at = len(stock.complete.keys() | stock.parts.keys() | {name}), now
            if count > max_files:
                raise TooManyFiles
        os.pwrite(lock, _COUNT.pack(count, counted_at), 0)

    def _is_there(self, account: str, name: str) -> bool:
        """Whether the name is in the drop, be it as a link that somebody planted: that goes, not what it leads to."""
        try:
            with self._spool.opened(account) as drop:
                os.stat(name, dir_fd=drop, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _take_back(self, account: str, name: str, path: Path) -> None:
        """Make a complete file the part at ``path``, if there is one."""
        with suppress(FileNotFoundError), self._spool.opened(account) as drop:
            if stat.S_ISREG(os.stat(name, dir_fd=drop, follow_symlinks=False).st_mode):
                os.rename(name, path, src_dir_fd=drop)

    def _let_go_of(self, path: Path) -> bool:
        try:
            descriptor = _locked(path)
        except PartMissing:
            return False
        try:
            path.unlink()
        finally:
            os.close(descriptor)
        return True


def _locked(path: Path) -> int:
    """A descriptor of a part that nobody else writes. Raises `PartBusy`, `PartMissing`."""
    try:
        descriptor = os.open(path, _OPEN)
    except OSError:  # not there, or planted: a link, a folder
        raise PartMissing from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _may_go_on(os.fstat(descriptor)):
            path.unlink(missing_ok=True)  # gone already when it was just swept
            raise PartMissing
    except BlockingIOError:
        os.close(descriptor)
        raise PartBusy from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _may_go_on(facts: os.stat_result) -> bool:
    """Whether a file in the folder of parts is a part: a plain file with one name.

    One with a second name has been published by a process that died before it could take the first away; writing to it
    would change a complete file (FAULTS.md S24).
    """
    return stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1


def _plain_files(folder: Path) -> dict[str, os.stat_result]:
    found: dict[str, os.stat_result] = {}
    with suppress(FileNotFoundError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    if is_allowed_name(entry.name) and entry.is_file(follow_symlinks=False):
                        with suppress(FileNotFoundError):
                            found[entry.name] = entry.stat(follow_symlinks=False)
        finally:
            os.close(descriptor)
    return found

"""One account's folders on disk: looked up by descriptor, no link followed, plain files only (FAULTS.md S1).

Every method blocks on the disk and is called in a thread; places come from `ingest.door.paths`, whose names hold no
separator, so that each is one step below a folder that was opened without following a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ingest.door.paths import RESULTS, File, Folder
from ingest.spool import Spool, is_result_name

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a planted pipe must not block the open


class AccountDrop:
    """The complete files of ``account`` and its results; raises ``FileNotFoundError`` for all that is neither."""

    def __init__(self, spool: Spool, account: str) -> None:
        self._spool = spool
        self._account = account

    def prepare(self) -> None:
        """Make the account's folders where they are missing."""
        if not self._spool.results(self._account).is_dir():
            self._spool.open_account(self._account)

    def open(self, file: File) -> int:
        """A descriptor to read ``file``; the caller closes it."""
        with self._folder(results=file.folder == "results") as folder:
            try:
                descriptor = os.open(file.name, _READ, dir_fd=folder)
            except OSError as error:
                raise FileNotFoundError(file.name) from error
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
            raise FileNotFoundError(file.name)

    def stat(self, file: File) -> os.stat_result:
        """Size and times of ``file``."""
        with self._folder(results=file.folder == "results") as folder:
            return _stat_plain(file.name, folder)

    def list(self, folder: Folder) -> dict[str, os.stat_result]:
        """The complete files of a folder, by name."""
        if not folder.results:
            return self._spool.files(self._account)
        found: dict[str, os.stat_result] = {}
        with self._folder(results=True) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                if is_result_name(entry.name):
                    with suppress(FileNotFoundError):
                        found[entry.name] = _stat_plain(entry.name, descriptor)
        return found

    def remove(self, name: str) -> None:
        """Remove a file that waits in the drop, durably."""
        with self._folder(results=False) as folder:
            _stat_plain(name, folder)
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def rename(self, old: str, new: str, *, replace: bool) -> os.stat_result:
        """Give a waiting file another name, durably; raises ``FileExistsError`` unless it may ``replace``."""
        with self._folder(results=False) as folder:
            facts = _stat_plain(old, folder)
        self._spool.rename(self._account, old, new, replace=replace)
        return facts

    @contextmanager
    def _folder(self, *, results: bool) -> Iterator[int]:
        drop = os.open(self._spool.drop(self._account), _FOLDER)
        try:
            if not results:
                yield drop
                return
            inner = os.open(RESULTS, _FOLDER, dir_fd=drop)
            try:
                yield inner
            finally:
                os.close(inner)
        finally:
            os.close(drop)


def _stat_plain(name: str, folder: int) -> os.stat_result:
    """The facts about a plain file in an open folder."""
    facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(facts.st_mode):
        raise FileNotFoundError(name)
    return facts

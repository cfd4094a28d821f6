"""What one account sees of its files: looked up by descriptor, no link followed, plain files only (FAULTS.md S1).

An upload is seen by its owner under its final name from its first byte on; for the rest of the service there is no such
file before it is published. Every method blocks on the disk and is called in a thread; places come from
`ingest.door.paths`, whose names hold no separator, so that each is one step below a folder that was opened without
following a link.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from ingest.door.paths import File, Folder
from ingest.door.readme import README
from ingest.parts import Parts
from ingest.spool import Spool, is_in_progress_name, is_result_name

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a planted pipe must not block the open


class Unfinished(Exception):
    """The file is an upload that its client has not closed, so it cannot be given another name."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client may know of a file: not its owner, inode or place on this machine."""

    size: int
    modified: int
    writable: bool = True


class AccountDrop:
    """The files of ``account``, its results and the README; raises ``FileNotFoundError`` for what is none of these."""

    def __init__(self, spool: Spool, account: str, *, readme: bytes, since: int) -> None:
        self._spool = spool
        self._parts = Parts(spool)
        self._account = account
        self._readme = readme
        self._since = since

    def prepare(self) -> None:
        """Make the account's folders where they are missing."""
        if not self._spool.results(self._account).is_dir() or not self._spool.parts(self._account).is_dir():
            self._spool.open_account(self._account)

    def open(self, file: File) -> int:
        """A descriptor to read ``file``; the caller closes it."""
        if file == File("drop", README):
            return self._open_readme()
        if file.folder == "drop" and (part := self._parts.open_to_read(self._account, file.name)) is not None:
            return part
        with self._spool.opened(self._account, results=file.folder == "results") as folder:
            try:
                descriptor = os.open(file.name, _READ, dir_fd=folder)
            except OSError as error:
                raise FileNotFoundError(file.name) from error
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return descriptor
            os.close(descriptor)
            raise FileNotFoundError(file.name)

    def stat(self, file: File) -> Seen:
        """Size and time of ``file``."""
        if file == File("drop", README):
            return Seen(len(self._readme), self._since, writable=False)
        if file.folder == "drop" and (part := self._parts.find(self._account, file.name)) is not None:
            return seen(part)
        with self._spool.opened(self._account, results=file.folder == "results") as folder:
            return seen(_stat_plain(file.name, folder), writable=file.folder == "drop")

    def is_complete(self, name: str) -> bool:
        """Whether a complete file of this name waits in the drop."""
        try:
            with self._spool.opened(self._account) as folder:
                _stat_plain(name, folder)
        except FileNotFoundError:
            return False
        return True

    def list(self, folder: Folder) -> dict[str, Seen]:
        """The files of a folder, by name; results newest first, the others by name."""
        if not folder.results:
            stock = self._parts.stock(self._account)
            files = {name: seen(facts) for name, facts in (stock.complete | stock.parts).items()}
            shown = {name: facts for name, facts in files.items() if not is_in_progress_name(name)}
            return dict(sorted({README: self.stat(File("drop", README)), **shown}.items()))
        found: dict[str, os.stat_result] = {}
        with self._spool.opened(self._account, results=True) as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                if is_result_name(entry.name):
                    with suppress(FileNotFoundError):
                        found[entry.name] = _stat_plain(entry.name, descriptor)
        newest_first = sorted(found, key=lambda name: (-found[name].st_mtime_ns, name))
        return {name: seen(found[name], writable=False) for name in newest_first}

    def remove(self, name: str) -> None:
        """Remove a file that waits in the drop, durably, and an unfinished upload of this name.

        Raises `PartBusy` while it is being written.
        """
        unfinished = self._parts.remove(self._account, name)
        with self._spool.opened(self._account) as folder:
            try:
                _stat_plain(name, folder)
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                if not unfinished:
                    raise
            os.fsync(folder)

    def rename(self, old: str, new: str, *, replace: bool) -> Seen:
        """Give a waiting file another name, durably, in place of an unfinished upload of that name.

        Raises ``FileExistsError`` unless it may ``replace``, `Unfinished` for a file that is not complete, `PartBusy`.
        """
        if not self.is_complete(old) and self._parts.find(self._account, old) is not None:
            raise Unfinished
        with self._spool.opened(self._account) as folder:
            facts = _stat_plain(old, folder)
        self._parts.rename(self._account, old, new, replace=replace)
        return seen(facts)

    def _open_readme(self) -> int:
        descriptor = os.memfd_create(README, os.MFD_CLOEXEC)
        os.write(descriptor, self._readme)
        return descriptor


def seen(facts: os.stat_result, *, writable: bool = True) -> Seen:
    """What a client may know of these facts."""
    return Seen(facts.st_size, int(facts.st_mtime), writable)


def _stat_plain(name: str, folder: int) -> os.stat_result:
    """The facts about a plain file in an open folder."""
    facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(facts.st_mode):
        raise FileNotFoundError(name)
    return facts

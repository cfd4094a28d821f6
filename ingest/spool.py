"""The spool: where the customers' files lie between the door and the lake.

A file is in a drop, or it has been taken (renamed out of every client's reach, under its import's ID), or it is gone.
The spool knows only bytes and names; the ledger is the truth about state. All folders lie on one file system, so that
every move is one rename.

    drops/<account>/           what the client sees; complete files only
    drops/<account>/results/   what the client may read and never write
    parts/<account>/           uploads in progress and unfinished ones, each under the name that it will have
    taken/<import ID>/         ``manifest`` and ``data`` of one import
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from failpoints import passing
from manifests.names import FILE_NAME

Taken = Literal["manifest", "data"]

_RESULT_NAME = re.compile(r"[A-Za-z0-9_()+@][A-Za-z0-9 ._()+@-]{0,254}")
_IN_PROGRESS = (".filepart", ".part", ".partial", ".tmp")
_MANIFEST = (".manifest", ".manifest.json", ".manifest.yaml", ".manifest.yml")


def is_allowed_name(name: str) -> bool:
    """Whether a client may use this file name (FAULTS.md S10); `FILE_NAME_RULE` says it in words."""
    return FILE_NAME.fullmatch(name) is not None


def is_result_name(name: str) -> bool:
    """Whether a result may have this name: that of a manifest with an ID and endings after it, at most 255 bytes."""
    return _RESULT_NAME.fullmatch(name) is not None


def is_manifest_name(name: str) -> bool:
    """Whether a file of this name is a manifest (CONTRACT.md 1)."""
    return name.lower().endswith(_MANIFEST)


def is_in_progress_name(name: str) -> bool:
    """Whether a client uses this name for an upload that it has not finished (CONTRACT.md 1)."""
    return name.startswith(".") or name.lower().endswith(_IN_PROGRESS)


def fsync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink_unless_locked(path: Path) -> bool:
    """Remove a file, except one that a process has open with a lock on it, as `ingest.parts` does; whether it did."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


class Spool:
    """The folders under ``root``; methods are safe to repeat after a crash and block: not for the event loop."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._drops = root / "drops"
        self._parts = root / "parts"
        self._taken = root / "taken"

    def prepare(self) -> None:
        """Make the folders, private to this user."""
        for folder in (self.root, self._drops, self._parts, self._taken):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def open_account(self, account: str) -> None:
        """Make an account's drop, its ``results`` and its place for uploads in progress."""
        for folder in (self.drop(account), self.results(account), self._parts / account):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fsync_folder(folder.parent)

    def drop(self, account: str) -> Path:
        """The folder that the account's clients see as ``/``."""
        return self._drops / account

    def results(self, account: str) -> Path:
        """The folder that the account's clients see as ``/results``, read-only to them."""
        return self._drops / account / "results"

    def taken(self, import_id: str, which: Taken) -> Path:
        """Where one file of an import lies after it was taken."""
        return self._taken / import_id / which

    @property
    def drops(self) -> Path:
        """The folder of all drops, one sub-folder for each account; what the watcher watches."""
        return self._drops

    def new_part(self, account: str) -> Path:
        """A fresh path for a file that is being made, which no client can name; nothing is created yet."""
        return self._parts / account / f".{secrets.token_hex(16)}"

    def parts(self, account: str) -> Path:
        """The folder of an account's uploads in progress; `ingest.parts` says what is in it."""
        return self._parts / account

    def publish(self, account: str, part: Path, name: str, *, replace: bool = True) -> None:
        """Make a finished upload appear under ``name``, durably; may replace a file that no import has taken yet.

        The bytes are synced before the name exists, and the name before this returns (FAULTS.md S15). Raises
        ``FileExistsError`` when there is a file of this name that may not be replaced, ``OSError`` when a sync or the
        rename fails: then there is no file of this name.
        """
        published = self.drop(account) / name
        with part.open("rb") as file:
            passing("publish.unsynced")
            os.fsync(file.fileno())
        passing("publish.synced")
        if replace:
            part.replace(published)
        else:
            # a crash between the two leaves a part with two names, which is recognised by just that
            os.link(part, published, follow_symlinks=False)
            passing("publish.linked")
            part.unlink()
        try:
            passing("publish.named")
            fsync_folder(self.drop(account))
        except OSError:
            published.unlink(missing_ok=True)  # its client is told that it failed, and will send it again
            raise
        passing("publish.durable")

    def sweep_parts(self, *, older_than_s: float) -> int:
        """Remove uploads that nobody goes on with: nothing was written to them for so long. Tells how many."""
        swept = 0
        newest = time.time() - older_than_s
        for part in self._parts.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                if part.stat(follow_symlinks=False).st_mtime < newest and _unlink_unless_locked(part):
                    swept += 1
        return swept

    def rename(self, account: str, old: str, new: str, *, replace: bool) -> None:
        """Give a file in an account's drop another name, durably; no collector sees it under both.

        Raises ``FileNotFoundError`` when there is no ``old``, ``FileExistsError`` when there is a ``new`` and
        ``replace`` is false.
        """
        source, target = self.drop(account) / old, self.drop(account) / new
        with self.locked(account):
            if replace:
                source.rename(target)
            else:
                # a link refuses to overwrite in one step, where a look and then a rename would race (FAULTS.md S12)
                os.link(source, target, follow_symlinks=False)
                passing("rename.linked")
                source.unlink()
        passing("rename.named")
        fsync_folder(self.drop(account))

    def files(self, account: str) -> dict[str, os.stat_result]:
        """The complete files that wait in an account's drop, by name; follows no link."""
        found: dict[str, os.stat_result] = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.drop(account)) as entries:
            for entry in entries:
                if (
                    entry.is_file(follow_symlinks=False)
                    and is_allowed_name(entry.name)
                    and not is_in_progress_name(entry.name)
                ):
                    with contextlib.suppress(FileNotFoundError):
                        found[entry.name] = entry.stat(follow_symlinks=False)
        return found

    def take(self, account: str, name: str, import_id: str, which: Taken) -> bool:
        """Move a file out of every client's reach; ``False`` when it was neither in the drop nor taken before."""
        target = self.taken(import_id, which)
        if not target.exists():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            passing("take.folder_made")
            try:
                (self.drop(account) / name).rename(target)
            except FileNotFoundError:
                return False
            passing("take.moved")
        # also when it was moved before: whoever did may have died before it was durable, and a file that came back
        # into the drop after a loss of power would be imported again
        fsync_folder(target.parent)
        fsync_folder(self._taken)
        passing("take.synced")
        fsync_folder(self.drop(account))
        passing("take.durable")
        return True

    def write_result(self, account: str, name: str, content: bytes) -> None:
        """Put a file into the account's ``results``, durably and whole; the same name again replaces it."""
        part = self.new_part(account)
        part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            passing("result.written")
            os.fsync(file.fileno())
        passing("result.synced")
        part.replace(self.results(account) / name)
        passing("result.moved")
        fsync_folder(self.results(account))

    def discard_taken(self, import_id: str) -> None:
        """Remove the files of an import that is over; nothing happens when they are gone."""
        folder = self._taken / import_id
        (folder / "manifest").unlink(missing_ok=True)
        passing("discard.begun")
        (folder / "data").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()

    def remove_account(self, account: str) -> None:
        """Delete an account's drop, its results and its uploads in progress; nothing happens when they are gone."""
        with self.locked(account):
            for folder in (self.drop(account), self._parts / account):
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(folder)

    @contextlib.contextmanager
    def locked(self, account: str) -> Iterator[None]:
        """Only one process at a time collects from an account's drop; the lock ends with the process that holds it."""
        path = self._parts / f".{account}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

"""The spool: where the customers' files lie between the door and the lake.

A file is in a drop, or it has been taken (renamed out of every client's reach, under its import's ID), or it is gone.
The spool knows only bytes and names; the ledger is the truth about state. All folders lie on one file system, so that
every move is one rename.

    drops/<account>/           what the client sees; complete files only
    drops/<account>/results/   what the client may read and never write
    parts/<account>/           uploads in progress and unfinished ones, each under the name that it will have
    taken/<import ID>/         ``manifest`` and ``data`` of one import, kept for a while after its end, and an empty
                               file that is named after its account: so they have an owner also in a ledger that was
                               restored from a time before them; and one named after the import that it replays
    taken/.<import ID>/        the same of an import that the operator gives by hand, before it is in the ledger
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from failpoints import passing
from manifests.names import FILE_NAME

Taken = Literal["manifest", "data"]

_RESULT_NAME = re.compile(r"[A-Za-z0-9_()+@][A-Za-z0-9 ._()+@-]{0,254}")
_RESULTS = "results"
_IN_PROGRESS = (".filepart", ".part", ".partial", ".tmp")
_OWNER = ".account"
_REPLAYED = ".replayed"
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
    _fsync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_folder(path: Path | str, inside: int | None = None) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from None


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
        for folder in (self.drop(account), self._parts / account):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fsync_folder(folder.parent)
        with self.opened(account) as drop:
            with contextlib.suppress(FileExistsError):
                os.mkdir(_RESULTS, 0o700, dir_fd=drop)
            os.fsync(drop)

    @contextlib.contextmanager
    def opened(self, account: str, *, results: bool = False) -> Iterator[int]:
        """A descriptor of the account's drop or results, to reach one step from; no link is followed (FAULTS.md S1).

        Raises ``FileNotFoundError`` when there is no such folder, also when there is something else of its name.
        """
        drop = _open_folder(self.drop(account))
        try:
            if not results:
                yield drop
                return
            inner = _open_folder(_RESULTS, drop)
            try:
                yield inner
            finally:
                os.close(inner)
        finally:
            os.close(drop)

    def drop(self, account: str) -> Path:
        """The folder that the account's clients see as ``/``."""
        return self._drops / account

    def results(self, account: str) -> Path:
        """The folder that the account's clients see as ``/results``, read-only to them."""
        return self._drops / account / _RESULTS

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
        passing("publish.unsynced")
        _fsync(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        passing("publish.synced")
        with self.opened(account) as drop:
            if replace:
                os.replace(part, name, dst_dir_fd=drop)
            else:
                # a crash between the two leaves a part with two names, which is recognised by just that
                os.link(part, name, dst_dir_fd=drop, follow_symlinks=False)
                passing("publish.linked")
                part.unlink()
            try:
                passing("publish.named")
                os.fsync(drop)
            except OSError:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=drop)  # its client is told that it failed, and will send it again
                raise
        passing("publish.durable")

    def sweep_parts(self, *, older_than_s: float, dry_run: bool = False) -> int:
        """Remove uploads that nobody goes on with: nothing was written to them for so long. Tells how many."""
        swept, now = 0, time.time()
        for part in self._parts.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                written = part.stat(follow_symlinks=False).st_mtime
                if written > now and not dry_run:  # by a clock that was ahead: its time begins now (FAULTS.md W8)
                    os.utime(part, (now, now), follow_symlinks=False)
                elif written < now - older_than_s and (dry_run or _unlink_unless_locked(part)):
                    swept += 1
        return swept

    def rename(self, account: str, old: str, new: str, *, replace: bool) -> None:
        """Give a file in an account's drop another name, durably; with the account's lock, no collector sees it twice.

        Raises ``FileNotFoundError`` when there is no ``old``, ``FileExistsError`` when there is a ``new`` and
        ``replace`` is false.
        """
        with self.opened(account) as drop:
            if replace:
                os.replace(old, new, src_dir_fd=drop, dst_dir_fd=drop)
            else:
                # a link refuses to overwrite in one step, where a look and then a rename would race (FAULTS.md S12)
                os.link(old, new, src_dir_fd=drop, dst_dir_fd=drop, follow_symlinks=False)
                passing("rename.linked")
                os.unlink(old, dir_fd=drop)
            passing("rename.named")
            os.fsync(drop)

    def files(self, account: str) -> dict[str, os.stat_result]:
        """The complete files that wait in an account's drop, by name; follows no link."""
        found: dict[str, os.stat_result] = {}
        with (
            contextlib.suppress(FileNotFoundError),
            self.opened(account) as drop,
            os.scandir(drop) as entries,
        ):
            for entry in entries:
                if (
                    entry.is_file(follow_symlinks=False)
                    and is_allowed_name(entry.name)
                    and not is_in_progress_name(entry.name)
                ):
                    with contextlib.suppress(FileNotFoundError):
                        found[entry.name] = entry.stat(follow_symlinks=False)
        return found

    def unfinished(self, account: str) -> list[str]:
        """The names of an account's uploads in progress, and of files in its drop that are named as such."""
        names: list[str] = []
        for folder, all_of_it in ((self._parts / account, True), (self.drop(account), False)):
            with contextlib.suppress(FileNotFoundError):
                names += [path.name for path in folder.iterdir() if all_of_it or is_in_progress_name(path.name)]
        return names

    def take(self, account: str, name: str, import_id: str, which: Taken) -> bool:
        """Move a file out of every client's reach; ``False`` when it was neither in the drop nor taken before.

        What turns out to be no plain file, since somebody has put it there at this moment, goes back (FAULTS.md S1).
        """
        target = self.taken(import_id, which)
        if self._given(import_id).exists():
            self.take_given(import_id)
        with self.opened(account) as drop:
            if not target.exists():
                self._make_place(account, target)
                passing("take.folder_made")
                try:
                    os.rename(name, target, src_dir_fd=drop)
                except FileNotFoundError:
                    return False
                if not stat.S_ISREG(target.stat(follow_symlinks=False).st_mode):
                    os.rename(target, name, dst_dir_fd=drop)
                    return False
                passing("take.moved")
            # also when it was moved before: whoever did may have died before it was durable, and a file that came back
            # into the drop after a loss of power would be imported again
            self._fsync_place(target)
            passing("take.synced")
            os.fsync(drop)
        passing("take.durable")
        return True

    def begin_giving(self, account: str, import_id: str, *, replay_of: str | None = None) -> Path:
        """A folder for the files of an import that comes from no drop, ``manifest`` and ``data``; nobody looks there.

        `keep_given` makes durable what the caller puts there. Then the import may be in the ledger, and from then on
        `take`, by whomever, finds its files here and never in the drop.
        """
        folder = self._given(import_id)
        folder.mkdir(mode=0o700)
        (folder / f"{account}{_OWNER}").touch(mode=0o600)
        if replay_of is not None:
            (folder / f"{replay_of}{_REPLAYED}").touch(mode=0o600)
        return folder

    def keep_given(self, import_id: str) -> None:
        """Make durable what was put into the folder of `begin_giving`."""
        folder = self._given(import_id)
        for file in folder.iterdir():
            _fsync(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        fsync_folder(folder)
        fsync_folder(self._taken)

    def take_given(self, import_id: str) -> None:
        """Put the files of `begin_giving` where those of an import lie, durably; nothing happens the second time."""
        with contextlib.suppress(FileNotFoundError):
            self._given(import_id).rename(self._taken / import_id)
        passing("given.moved")
        fsync_folder(self._taken)

    def discard_given(self, import_id: str) -> None:
        """Remove the folder of `begin_giving`; nothing happens when it is gone."""
        shutil.rmtree(self._given(import_id), ignore_errors=True)

    def all_given(self, *, older_than_s: float) -> list[str]:
        """The IDs of all imports whose files were given so long ago and are still there."""
        newest = time.time() - older_than_s
        given: list[str] = []
        for entry in self._taken.glob(".*"):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat(follow_symlinks=False).st_mtime < newest:
                    given.append(entry.name.removeprefix("."))
        return given

    def _given(self, import_id: str) -> Path:
        return self._taken / f".{import_id}"

    def _make_place(self, account: str, target: Path) -> None:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        (target.parent / f"{account}{_OWNER}").touch(mode=0o600)

    def _fsync_place(self, target: Path) -> None:
        fsync_folder(target.parent)
        fsync_folder(self._taken)

    def owner(self, import_id: str) -> str | None:
        """The account whose files these are; ``None`` when they do not say, or there are none."""
        return self._named_by(import_id, _OWNER)

    def replayed(self, import_id: str) -> str | None:
        """The import of which this one is a replay, if it is one."""
        return self._named_by(import_id, _REPLAYED)

    def _named_by(self, import_id: str, ending: str) -> str | None:
        names = [file.name for file in self.taken_files(import_id)]
        return next((name.removesuffix(ending) for name in names if name.endswith(ending)), None)

    def all_taken(self) -> list[str]:
        """The IDs of all imports that have files here, in the order of their receipt."""
        return sorted(entry.name for entry in self._taken.iterdir() if entry.is_dir() and entry.name[0] != ".")

    def taken_files(self, import_id: str) -> list[Path]:
        """The files of an import that are there."""
        try:
            return list((self._taken / import_id).iterdir())
        except FileNotFoundError:
            return []

    def size(self, import_id: str) -> int:
        """The bytes of an import's data file; 0 when it is not there."""
        try:
            return self.taken(import_id, "data").stat().st_size
        except FileNotFoundError:
            return 0

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
        with self.opened(account, results=True) as results:
            os.replace(part, name, dst_dir_fd=results)
            passing("result.moved")
            os.fsync(results)

    def discard_taken(self, import_id: str) -> None:
        """Remove the files of an import that is over; nothing happens when they are gone."""
        folder = self._taken / import_id
        # the manifest first: without it nobody tries the import again with what a crash has left of it; the owner's
        # name last: that says whose it is
        files = self.taken_files(import_id)
        for file in sorted(files, key=lambda file: (file.name.endswith(_OWNER), file.name != "manifest")):
            file.unlink(missing_ok=True)
            passing("discard.begun")
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()

    def remove_results(self, account: str, names: Iterable[str]) -> None:
        """Remove files of the account's ``results``; nothing happens to those that are gone."""
        for name in names:
            (self.results(account) / name).unlink(missing_ok=True)

    def sync_discarded(self) -> None:
        """Make it durable that the folders of `discard_taken` are gone."""
        fsync_folder(self._taken)

    def sync_results(self, account: str) -> None:
        """Make it durable that the files of `remove_results` are gone; nothing happens when the folder is."""
        with contextlib.suppress(FileNotFoundError), self.opened(account, results=True) as results:
            os.fsync(results)

    def remove_account(self, account: str) -> None:
        """Delete an account's drop, its results and its uploads in progress; nothing happens when they are gone."""
        with self.locked(account):
            for folder in (self.drop(account), self._parts / account):
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(folder)

    @contextlib.contextmanager
    def locked(self, account: str) -> Iterator[int]:
        """Only one process at a time collects from an account's drop; the lock ends with the process that holds it.

        Gives the descriptor of the lock's file, in which `ingest.parts` notes something.
        """
        path = self._parts / f".{account}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

"""What a logged-in account may do: the SFTP requests, answered for its own drop and nothing else.

``/`` holds the complete files that wait, ``/results`` what became of them, read-only; there are no other folders. A
file is complete when its client asks for CLOSE; when the session ends first, by whatever way, nothing is published
(FAULTS.md S13). Each refusal says what to do about it. Everything that waits for the disk runs in a thread, except
reads and writes of open files.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from asyncssh import (
    FXF_APPEND,
    FXF_CREAT,
    FXF_EXCL,
    FXF_TRUNC,
    FXF_WRITE,
    SFTPAttrs,
    SFTPFailure,
    SFTPFileAlreadyExists,
    SFTPName,
    SFTPNoSuchFile,
    SFTPPermissionDenied,
    SSHServerChannel,
)

from ingest.door.account_drop import AccountDrop
from ingest.door.paths import RESULTS, File, Folder, place_of
from ingest.door.refusing import RefusingServer
from ingest.door.upload import Upload, UploadsInProgress
from ingest.spool import Spool, is_in_progress_name

Published = Callable[[str, str], Awaitable[None]]
"""Account and file name; awaited before the client's CLOSE or RENAME is answered."""

MAX_READ_BYTES = 256 * 1024  # the library passes a READ of 4 GiB on as it is
_MAX_OFFSET = 2**62
_REMEMBERED_UPLOADS = 256

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_READ_ONLY = "/results can only be read; it is cleared by the server. Upload to / itself."
_NO_FILE = "There is no such file. An import may have taken it already: its report will be in /results."
_IS_FOLDER = "This is a folder, not a file."
_NO_APPEND = "An upload cannot be continued or appended to yet: send the whole file again."
_BUSY = "This file is being uploaded in another session. Wait for it, or use another name."


class Download:
    """A file that is open for reading only."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor


class DropView(RefusingServer):
    """One SFTP session of one account."""

    def __init__(
        self,
        channel: SSHServerChannel[bytes],
        account: str,
        spool: Spool,
        uploads: UploadsInProgress,
        *,
        max_file_bytes: int,
        published: Published,
    ) -> None:
        super().__init__(channel)
        self._account = account
        self._spool = spool
        self._uploads = uploads
        self._max_file_bytes = max_file_bytes
        self._published = published
        self._drop = AccountDrop(spool, account)
        self._open: set[Upload | Download] = set()
        # a client looks at its file again after CLOSE and takes a missing one for a failed upload, when in truth an
        # import was quick: what this session sent stays visible to its own STAT
        self._sent: dict[str, SFTPAttrs] = {}

    async def prepare(self) -> None:
        """Make the account's folders where they are missing."""
        await asyncio.to_thread(self._drop.prepare)

    def end(self) -> None:
        """Close everything that is open and publish none of it; safe to repeat.

        Called when the session is over, before the library closes each handle by the same hook that a client's CLOSE
        reaches, so that the two cannot be mistaken for one another.
        """
        for file in tuple(self._open):
            self._let_go(file)
            if isinstance(file, Upload):
                file.discard()
                log.info("an upload ended without CLOSE", action="door_upload_dropped", account=self._account)

    # --- open files

    async def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> Upload | Download:
        """Open a file to read it, or a new part to write; ``attrs`` have no effect."""
        del attrs
        place = place_of(path)
        if isinstance(place, Folder):
            raise SFTPFailure(_IS_FOLDER)
        if not pflags & (FXF_WRITE | FXF_APPEND):
            return await self._open_to_read(place)
        if place.folder == "results":
            raise SFTPPermissionDenied(_READ_ONLY)
        return await self._open_to_write(place, pflags)

    async def _open_to_read(self, place: File) -> Download:
        try:
            file = Download(await asyncio.to_thread(self._drop.open, place))
        except FileNotFoundError:
            raise SFTPNoSuchFile(_NO_FILE) from None
        self._open.add(file)
        return file

    async def _open_to_write(self, place: File, pflags: int) -> Upload:
        if pflags & FXF_APPEND:
            raise SFTPPermissionDenied(_NO_APPEND)
        waiting = await self._waiting(place)
        if waiting is None and not pflags & FXF_CREAT:
            raise SFTPNoSuchFile(_NO_FILE)
        if waiting is not None and pflags & FXF_EXCL:
            raise SFTPFileAlreadyExists("There is a file of this name. Remove it first, or use another name.")
        if waiting is not None and not pflags & FXF_TRUNC:
            raise SFTPPermissionDenied(_NO_APPEND)
        self._uploads.begin(self._account, place.name)
        try:
            upload = await asyncio.to_thread(
                Upload, self._spool, self._account, place.name, max_bytes=self._max_file_bytes
            )
        except BaseException:
            self._uploads.end(self._account, place.name)
            raise
        self._open.add(upload)
        return upload

    async def close(self, file_obj: object) -> None:
        """Publish an upload and wait until it is recorded; a file that was only read is just closed."""
        file = _opened(file_obj)
        if file not in self._open:  # the session is over, and `end` has closed it
            return
        if isinstance(file, Download):
            self._let_go(file)
            return
        self._open.discard(file)
        try:
            await self._publish(file)
        finally:
            self._uploads.end(self._account, file.name)

    async def _publish(self, upload: Upload) -> None:
        facts = await asyncio.to_thread(upload.publish)
        self._remember(upload.name, facts)
        if not is_in_progress_name(upload.name):
            await self._published(self._account, upload.name)
        log.info(
            "an upload is complete",
            action="door_upload_complete",
            account=self._account,
            bytes=facts.st_size,
            file=upload.name,
        )

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        """At most `MAX_READ_BYTES` from ``offset``; clients ask again for the rest."""
        file = _opened(file_obj)
        size = min(size, MAX_READ_BYTES)
        if offset > _MAX_OFFSET:  # behind the end of any file; the system would call it an error
            return b""
        return file.read(offset, size) if isinstance(file, Upload) else os.pread(file.descriptor, size, offset)

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        """Write all of ``data``."""
        file = _opened(file_obj)
        if isinstance(file, Download):
            raise SFTPPermissionDenied("This file was opened for reading only.")
        file.write(offset, data)
        return len(data)

    async def fsync(self, file_obj: object) -> None:
        """Bring an upload to the disk."""
        file = _opened(file_obj)
        if isinstance(file, Upload):
            await asyncio.to_thread(file.sync)

    async def fstat(self, file_obj: object) -> SFTPAttrs:
        """Size and times of an open file."""
        file = _opened(file_obj)
        if isinstance(file, Upload):
            return SFTPAttrs(size=file.size, permissions=stat.S_IFREG | 0o600)
        return _file_attrs(os.fstat(file.descriptor), writable=False)

    def fsetstat(self, file_obj: object, attrs: SFTPAttrs) -> None:
        """Accept owner, mode and times without effect (FAULTS.md S23); refuse another size than the file has."""
        file = _opened(file_obj)
        _check_size(attrs, file.size if isinstance(file, Upload) else None)

    # --- names

    async def stat(self, path: bytes) -> SFTPAttrs:
        """Size and times of a folder, of a waiting file, or of one that this session sent."""
        place = place_of(path)
        if isinstance(place, Folder):
            return _folder_attrs(writable=not place.results)
        try:
            facts = await asyncio.to_thread(self._drop.stat, place)
        except FileNotFoundError:
            if place.folder == "drop" and place.name in self._sent:
                return self._sent[place.name]
            raise SFTPNoSuchFile(_NO_FILE) from None
        return _file_attrs(facts, writable=place.folder == "drop")

    lstat = stat

    async def setstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        """Accept owner, mode and times without effect (FAULTS.md S23); refuse another size than the file has."""
        place = place_of(path)
        if place == Folder(results=True) or (isinstance(place, File) and place.folder == "results"):
            raise SFTPPermissionDenied(_READ_ONLY)
        _check_size(attrs, (await self.stat(path)).size)

    def scandir(self, path: bytes) -> AsyncIterator[SFTPName]:
        """The entries of ``/`` or ``/results``; refuses other paths before the folder counts as open."""
        place = place_of(path)
        if isinstance(place, File):
            raise SFTPNoSuchFile("There is no such folder.")
        return self._entries(place)

    async def _entries(self, folder: Folder) -> AsyncIterator[SFTPName]:
        files = await asyncio.to_thread(self._drop.list, folder)
        for name in (b".", b".."):
            yield SFTPName(name, attrs=_folder_attrs(writable=not folder.results))
        if not folder.results:
            yield SFTPName(RESULTS.encode("ascii"), attrs=_folder_attrs(writable=False))
        for file_name, facts in files.items():
            yield SFTPName(file_name.encode("ascii"), attrs=_file_attrs(facts, writable=not folder.results))

    def realpath(self, path: bytes) -> bytes:
        """The path as this view writes it, from ``/``; there need not be such a file."""
        return str(place_of(path)).encode("ascii")

    async def remove(self, path: bytes) -> None:
        """Remove a file that waits in the drop."""
        name = self._own_name(path)
        try:
            await asyncio.to_thread(self._drop.remove, name)
        except FileNotFoundError:
            raise SFTPNoSuchFile(_NO_FILE) from None
        self._sent.pop(name, None)

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename a waiting file; refuses a name that is there."""
        await self._rename(oldpath, newpath, replace=False)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        """Rename a waiting file; replaces one that waits under the new name."""
        await self._rename(oldpath, newpath, replace=True)

    async def _rename(self, oldpath: bytes, newpath: bytes, *, replace: bool) -> None:
        old, new = self._own_name(oldpath), self._own_name(newpath)
        self._uploads.begin(self._account, new)
        try:
            await self._rename_reserved(old, new, replace=replace)
        finally:
            self._uploads.end(self._account, new)

    async def _rename_reserved(self, old: str, new: str, *, replace: bool) -> None:
        try:
            facts = await asyncio.to_thread(self._drop.rename, old, new, replace=replace)
        except FileNotFoundError:
            raise SFTPNoSuchFile(_NO_FILE) from None
        except FileExistsError:
            raise SFTPFileAlreadyExists("There is a file of the new name. Remove it first.") from None
        self._sent.pop(old, None)
        self._remember(new, facts)
        if not is_in_progress_name(new):
            await self._published(self._account, new)

    # --- what the library asks for itself

    def exit(self) -> None:
        """The session is over."""
        self.end()

    def format_user(self, uid: int | None) -> str:
        """The owner in a long listing: the account, not a user of this machine."""
        del uid
        return self._account

    def format_group(self, gid: int | None) -> str:
        """The group in a long listing: the account, not a group of this machine."""
        del gid
        return self._account

    # --- state

    def _own_name(self, path: bytes) -> str:
        """The name of a file in the drop that nobody is uploading."""
        place = place_of(path)
        if isinstance(place, Folder):
            raise SFTPPermissionDenied("Folders of the drop cannot be renamed or removed.")
        if place.folder == "results":
            raise SFTPPermissionDenied(_READ_ONLY)
        if self._uploads.is_open(self._account, place.name):
            raise SFTPFailure(_BUSY)
        return place.name

    async def _waiting(self, place: File) -> os.stat_result | None:
        try:
            return await asyncio.to_thread(self._drop.stat, place)
        except FileNotFoundError:
            return None

    def _let_go(self, file: Upload | Download) -> None:
        self._open.discard(file)
        if isinstance(file, Upload):
            self._uploads.end(self._account, file.name)
        else:
            os.close(file.descriptor)

    def _remember(self, name: str, facts: os.stat_result) -> None:
        self._sent.pop(name, None)
        self._sent[name] = _file_attrs(facts, writable=True)
        while len(self._sent) > _REMEMBERED_UPLOADS:
            del self._sent[next(iter(self._sent))]


def _opened(file_obj: object) -> Upload | Download:
    """A handle's file, as the library hands it back."""
    if not isinstance(file_obj, Upload | Download):
        raise TypeError("a handle that this view did not give")
    return file_obj


def _check_size(attrs: SFTPAttrs, size: int | None) -> None:
    if attrs.size is not None and attrs.size != size:
        raise SFTPPermissionDenied("The size of a file cannot be set: send the whole file again.")


def _file_attrs(facts: os.stat_result, *, writable: bool) -> SFTPAttrs:
    """What a client may know of a file: not its owner, inode or place on this machine."""
    modified = int(facts.st_mtime)
    mode = stat.S_IFREG | (0o600 if writable else 0o400)
    return SFTPAttrs(size=facts.st_size, permissions=mode, atime=modified, mtime=modified, nlink=1)


def _folder_attrs(*, writable: bool) -> SFTPAttrs:
    return SFTPAttrs(permissions=stat.S_IFDIR | (0o700 if writable else 0o500), nlink=1)

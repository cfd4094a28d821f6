"""What a logged-in account may do: the SFTP requests, answered for its own drop and nothing else.

``/`` holds the complete files that wait and the account's own uploads in progress, ``/results`` what became of them,
read-only; there are no other folders. Each refusal says what to do about it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable

import structlog
from asyncssh import (
    FXF_APPEND,
    FXF_WRITE,
    SFTPAttrs,
    SFTPFailure,
    SFTPFileAlreadyExists,
    SFTPName,
    SFTPNoSuchFile,
    SFTPPermissionDenied,
    SSHServerChannel,
)

from ingest.door.account_drop import AccountDrop, Seen, Unfinished, seen
from ingest.door.attributes import check_size, file_attributes, folder_attributes
from ingest.door.open_files import NO_FILE, Download, OpenFiles, Published
from ingest.door.paths import RESULTS, File, Folder, place_of
from ingest.door.readme import README, readme_text
from ingest.door.refusing import RefusingServer
from ingest.door.upload import BUSY, Progress, Upload, UploadsInProgress
from ingest.parts import PartBusy
from ingest.settings import DoorSettings
from ingest.spool import Spool, is_in_progress_name

_REMEMBERED_UPLOADS = 256

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

READ_ONLY = "/results can only be read; it is cleared by the server. Upload to / itself."
_README_ONLY = f"{README} is this server's own and can only be read. Use another name."
_IS_FOLDER = "This is a folder, not a file."


class DropView(RefusingServer):
    """One SFTP session of one account."""

    def __init__(
        self,
        channel: SSHServerChannel[bytes],
        account: str,
        spool: Spool,
        uploads: UploadsInProgress,
        *,
        settings: DoorSettings,
        progress: Progress,
        published: Published,
    ) -> None:
        super().__init__(channel)
        self._account = account
        self._uploads = uploads
        self._published = published
        readme = readme_text(settings, account).encode()
        self._drop = AccountDrop(spool, account, readme=readme, since=int(time.time()))
        self._files = OpenFiles(
            account, spool, self._drop, uploads, settings=settings, progress=progress, published=published
        )
        # a client looks at its file again after CLOSE and takes a missing one for a failed upload, when in truth an
        # import was quick: what this session sent stays visible to its own STAT
        self._sent: dict[str, Seen] = {}

    async def prepare(self) -> None:
        """Make the account's folders where they are missing."""
        await asyncio.to_thread(self._drop.prepare)

    def end(self) -> None:
        """Close everything that is open and publish none of it; safe to repeat."""
        self._files.end()

    # --- open files

    async def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> Upload | Download:
        """Open a file to read it, or a part to write; ``attrs`` have no effect."""
        del attrs
        place = place_of(path)
        if isinstance(place, Folder):
            raise SFTPFailure(_IS_FOLDER)
        if not pflags & (FXF_WRITE | FXF_APPEND):
            return await self._files.open_to_read(place)
        self._check_own(place)
        return await self._files.open_to_write(place.name, pflags)

    async def close(self, file_obj: object) -> None:
        """Publish an upload and wait until it is recorded; a file that was only read is just closed."""
        file = _opened(file_obj)
        facts = await self._files.close(file)
        if isinstance(file, Upload) and facts is not None:
            self._remember(file.name, seen(facts))

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        """At most `MAX_READ_BYTES` from ``offset``; clients ask again for the rest."""
        return self._files.read(_opened(file_obj), offset, size)

    def write(self, file_obj: object, offset: int, data: bytes) -> int | Awaitable[int]:
        """Write all of ``data``."""
        return self._files.write(_opened(file_obj), offset, data)

    async def fsync(self, file_obj: object) -> None:
        """Bring an upload to the disk."""
        file = _opened(file_obj)
        if isinstance(file, Upload):
            await asyncio.to_thread(file.sync)

    async def fstat(self, file_obj: object) -> SFTPAttrs:
        """Size and times of an open file."""
        file = _opened(file_obj)
        if isinstance(file, Upload):
            return file_attributes(Seen(file.size, int(time.time())))
        return file_attributes(seen(os.fstat(file.descriptor), writable=False))

    def fsetstat(self, file_obj: object, attrs: SFTPAttrs) -> None:
        """Accept owner, mode and times without effect (FAULTS.md S23); refuse another size than the file has."""
        file = _opened(file_obj)
        check_size(attrs, file.size if isinstance(file, Upload) else None)

    # --- names

    async def stat(self, path: bytes) -> SFTPAttrs:
        """Size and times of a folder, of a file that waits or is being sent, or of one that this session sent."""
        place = place_of(path)
        if isinstance(place, Folder):
            return folder_attributes(writable=not place.results)
        try:
            return file_attributes(await asyncio.to_thread(self._drop.stat, place))
        except FileNotFoundError:
            if place.folder == "drop" and place.name in self._sent:
                return file_attributes(self._sent[place.name])
            raise SFTPNoSuchFile(NO_FILE) from None

    lstat = stat

    async def setstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        """Accept owner, mode and times without effect (FAULTS.md S23); refuse another size than the file has."""
        place = place_of(path)
        if place == Folder(results=True):
            raise SFTPPermissionDenied(READ_ONLY)
        if isinstance(place, File):
            self._check_own(place)
        check_size(attrs, (await self.stat(path)).size)

    def scandir(self, path: bytes) -> AsyncIterator[SFTPName]:
        """The entries of ``/`` or ``/results``; refuses other paths before the folder counts as open."""
        place = place_of(path)
        if isinstance(place, File):
            raise SFTPNoSuchFile("There is no such folder.")
        return self._entries(place)

    async def _entries(self, folder: Folder) -> AsyncIterator[SFTPName]:
        files = await asyncio.to_thread(self._drop.list, folder)
        for name in (b".", b".."):
            yield SFTPName(name, attrs=folder_attributes(writable=not folder.results))
        if not folder.results:
            yield SFTPName(RESULTS.encode("ascii"), attrs=folder_attributes(writable=False))
        for file_name, facts in files.items():
            yield SFTPName(file_name.encode("ascii"), attrs=file_attributes(facts))

    def realpath(self, path: bytes) -> bytes:
        """The path as this view writes it, from ``/``; there need not be such a file."""
        return str(place_of(path)).encode("ascii")

    async def remove(self, path: bytes) -> None:
        """Remove a file that waits in the drop, or an unfinished upload."""
        name = self._own_name(path)
        try:
            await asyncio.to_thread(self._drop.remove, name)
        except FileNotFoundError:
            raise SFTPNoSuchFile(NO_FILE) from None
        except PartBusy:
            raise SFTPFailure(BUSY) from None
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
            raise SFTPNoSuchFile(NO_FILE) from None
        except FileExistsError:
            raise SFTPFileAlreadyExists("There is a file of the new name. Remove it first.") from None
        except PartBusy:
            raise SFTPFailure(BUSY) from None
        except Unfinished:
            raise SFTPFailure(
                "This upload was interrupted and is not complete: continue it, or send it again, and rename it then."
            ) from None
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
        self._check_own(place)
        if self._uploads.is_open(self._account, place.name):
            raise SFTPFailure(BUSY)
        return place.name

    def _check_own(self, place: File) -> None:
        """Raises ``SFTPPermissionDenied`` for a file that the account may only read."""
        if place.folder == "results":
            raise SFTPPermissionDenied(READ_ONLY)
        if place.name == README:
            raise SFTPPermissionDenied(_README_ONLY)

    def _remember(self, name: str, facts: Seen) -> None:
        self._sent.pop(name, None)
        self._sent[name] = facts
        while len(self._sent) > _REMEMBERED_UPLOADS:
            del self._sent[next(iter(self._sent))]


def _opened(file_obj: object) -> Upload | Download:
    """A handle's file, as the library hands it back."""
    if not isinstance(file_obj, Upload | Download):
        raise TypeError("a handle that this view did not give")
    return file_obj

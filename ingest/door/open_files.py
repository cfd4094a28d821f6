"""The files that one SFTP session has open: uploads, which become complete by CLOSE only, and downloads.

When the session ends first, by whatever way, nothing is published (FAULTS.md S13); what has arrived stays as an
unfinished upload. Everything that waits for the disk runs in a thread, except reads and writes of open files.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import structlog
from asyncssh import (
    FXF_APPEND,
    FXF_CREAT,
    FXF_EXCL,
    FXF_TRUNC,
    SFTPError,
    SFTPFailure,
    SFTPFileAlreadyExists,
    SFTPNoSpaceOnFilesystem,
    SFTPNoSuchFile,
    SFTPPermissionDenied,
    SFTPQuotaExceeded,
)

from ingest.door.account_drop import AccountDrop
from ingest.door.paths import File
from ingest.door.quota import Mark
from ingest.door.readme import size_text
from ingest.door.upload import BUSY, Progress, Upload, UploadsInProgress
from ingest.parts import Part, PartBusy, PartMissing, Parts, Stock, TooManyFiles
from ingest.settings import DoorSettings
from ingest.spool import Spool, is_in_progress_name

Published = Callable[[str, str], Awaitable[None]]
"""Account and file name; awaited before the client's CLOSE or RENAME is answered."""

MAX_READ_BYTES = 256 * 1024  # the library passes a READ of 4 GiB on as it is
_MAX_OFFSET = 2**62

NO_FILE = "There is no such file. An import may have taken it already: its report will be in /results."
_COMPLETE = "A complete file cannot be continued or appended to: send the whole file again, or remove it first."
_NO_ROOM = "The server has no room for more files at the moment. Try again later, and tell its operator if it lasts."
_ALREADY_THERE = "There is a file of this name. Remove it first, or use another name."

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Download:
    """A file that is open for reading only."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def read(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset``."""
        return os.pread(self.descriptor, size, offset)


class OpenFiles:
    """What one session of ``account`` has open."""

    def __init__(
        self,
        account: str,
        spool: Spool,
        drop: AccountDrop,
        uploads: UploadsInProgress,
        *,
        settings: DoorSettings,
        progress: Progress,
        published: Published,
    ) -> None:
        self._account = account
        self._spool = spool
        self._parts = Parts(spool)
        self._drop = drop
        self._uploads = uploads
        self._settings = settings
        self._progress = progress
        self._published = published
        self._open: set[Upload | Download] = set()

    async def open_to_read(self, place: File) -> Download:
        """Open a file; raises ``SFTPNoSuchFile``."""
        try:
            file = Download(await asyncio.to_thread(self._drop.open, place))
        except FileNotFoundError:
            raise SFTPNoSuchFile(NO_FILE) from None
        self._open.add(file)
        return file

    async def open_to_write(self, name: str, pflags: int) -> Upload:
        """A new upload, or the unfinished one of this name when the client asks to go on with a file as it is."""
        self._uploads.begin(self._account, name)
        try:
            part, look = await asyncio.to_thread(self._part_and_look, name, pflags)
        except BaseException:
            self._uploads.end(self._account, name)
            raise
        upload = Upload(self._account, name, part, appends=bool(pflags & FXF_APPEND))
        quota = self._uploads.quota(self._account)
        quota.begin(name, part.size)
        if look is not None:
            quota.count(*look)
        self._progress.open_uploads += 1
        self._progress.young = True
        self._open.add(upload)
        return upload

    def _part_and_look(self, name: str, pflags: int) -> tuple[Part, tuple[Mark, Stock] | None]:
        """The part, and what the account has on the disk when it is time to count that; blocks."""
        self._uploads.disk.look()
        if self._uploads.disk.is_low:
            raise SFTPNoSpaceOnFilesystem(_NO_ROOM)
        part = self._part(name, pflags)
        try:
            return part, self._look() if self._uploads.quota(self._account).is_old else None
        except BaseException:
            os.close(part.descriptor)
            raise

    def _look(self) -> tuple[Mark, Stock]:
        """What the account has on the disk, and how things stood when the look began; blocks."""
        with self._spool.locked(self._account):  # a file that is being renamed might not be seen
            return self._uploads.quota(self._account).mark(), self._parts.stock(self._account)

    def _part(self, name: str, pflags: int) -> Part:
        """The part that a client's flags ask for; blocks."""
        complete = self._drop.is_complete(name)
        unfinished = self._parts.find(self._account, name) is not None
        goes_on = not pflags & FXF_TRUNC and (unfinished or (complete and is_in_progress_name(name)))
        if pflags & FXF_EXCL and (complete or unfinished):
            raise SFTPFileAlreadyExists(_ALREADY_THERE)
        if not pflags & FXF_CREAT and not complete and not unfinished:
            raise SFTPNoSuchFile(NO_FILE)
        if complete and not goes_on and not pflags & FXF_TRUNC:
            raise SFTPPermissionDenied(_COMPLETE)
        try:
            if goes_on:
                return self._parts.resume(self._account, name)
            return self._parts.begin(self._account, name, max_files=self._settings.max_account_files)
        except PartBusy:
            raise SFTPFailure(BUSY) from None
        except PartMissing:
            raise SFTPNoSuchFile(NO_FILE) from None
        except TooManyFiles:
            raise SFTPQuotaExceeded(
                f"An account may have at most {self._settings.max_account_files:,} files waiting. Send the manifests "
                "of those that wait, so that they are imported, or remove some."
            ) from None

    async def close(self, file: Upload | Download) -> os.stat_result | None:
        """Publish an upload, durably, and wait until it is recorded; ``None`` when the file was only read.

        Does nothing when the session is over, and `end` has closed the file.
        """
        if file not in self._open:
            return None
        if isinstance(file, Download):
            self._let_go(file)
            return None
        self._open.discard(file)
        self._progress.open_uploads -= 1
        kept = False
        try:
            facts = await asyncio.to_thread(file.publish, self._spool)
            kept = True
            if not is_in_progress_name(file.name):
                await self._published(self._account, file.name)
        except FileExistsError:
            raise SFTPFileAlreadyExists(_ALREADY_THERE) from None
        finally:
            self._end_upload(file, kept=kept)
        log.info(
            "an upload is complete",
            action="door_upload_complete",
            account=self._account,
            bytes=facts.st_size,
            file=file.name,
        )
        return facts

    def read(self, file: Upload | Download, offset: int, size: int) -> bytes:
        """At most `MAX_READ_BYTES` from ``offset``; clients ask again for the rest."""
        if offset > _MAX_OFFSET:  # behind the end of any file; the system would call it an error
            return b""
        return file.read(offset, min(size, MAX_READ_BYTES))

    def write(self, file: Upload | Download, offset: int, data: bytes) -> int | Awaitable[int]:
        """Write all of ``data``, or refuse it at the first byte over a limit, also far behind the end (S11)."""
        if isinstance(file, Download):
            raise SFTPPermissionDenied("This file was opened for reading only.")
        file.check_usable()
        end = file.end_of(offset, len(data))
        if end > self._settings.max_file_bytes:
            self._refuse(
                file,
                f"A file may have at most {size_text(self._settings.max_file_bytes)}; nothing of this one was kept. "
                "Split it into several files, or compress it before it is encrypted.",
            )
        if self._uploads.disk.is_old or not self._fits(file, end):
            return self._write_when_counted(file, offset, data, end)
        return self._written(file, offset, data)

    async def _write_when_counted(self, file: Upload, offset: int, data: bytes, end: int) -> int:
        """Look at the disk; and at a quota that looks full: an import may have made room since it was counted."""
        await asyncio.to_thread(self._uploads.disk.look)
        if self._uploads.disk.is_lowest:
            self._refuse(file, f"{_NO_ROOM} Nothing of this file was kept.", SFTPNoSpaceOnFilesystem)
        quota = self._uploads.quota(self._account)
        if not self._fits(file, end):
            quota.count(*await asyncio.to_thread(self._look))
        while not quota.is_current:  # another door has come or gone during the look
            quota.count(*await asyncio.to_thread(self._look))
        if not self._fits(file, end):
            self._refuse(
                file,
                f"An account may have at most {size_text(self._settings.max_account_bytes)} waiting, all files "
                "together; nothing of this one was kept. Send the manifests of the files that wait, so that they are "
                "imported, or remove some.",
            )
        return self._written(file, offset, data)

    def _fits(self, file: Upload, end: int) -> bool:
        return self._uploads.quota(self._account).fits(file.name, end, self._settings.max_account_bytes)

    def _written(self, file: Upload, offset: int, data: bytes) -> int:
        try:
            file.write(offset, data)
        finally:
            self._uploads.quota(self._account).grow(file.name, 0 if file.refused is not None else file.size)
        self._progress.received += len(data)
        return len(data)

    def _refuse(self, file: Upload, text: str, answer: Callable[[str], SFTPError] = SFTPQuotaExceeded) -> None:
        self._uploads.quota(self._account).grow(file.name, 0)
        file.refuse(answer(text))

    def end(self) -> None:
        """Close everything that is open and publish none of it; safe to repeat.

        Called when the session is over, before the library closes each handle by the same hook that a client's CLOSE
        reaches, so that the two cannot be mistaken for one another.
        """
        for file in tuple(self._open):
            self._let_go(file)

    def _let_go(self, file: Upload | Download) -> None:
        self._open.discard(file)
        if isinstance(file, Download):
            os.close(file.descriptor)
            return
        self._progress.open_uploads -= 1
        kept = file.keep()
        self._end_upload(file, kept=kept)
        log.info("an upload ended without CLOSE", action="door_upload_unfinished", account=self._account, kept=kept)

    def _end_upload(self, file: Upload, *, kept: bool) -> None:
        self._uploads.quota(self._account).end(file.name, kept=kept)
        self._uploads.end(self._account, file.name)

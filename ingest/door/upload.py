"""One upload in progress: a part file of its own, bounded, and never a complete file unless its client closes it.

Writes go to the page cache on the event loop: a session is one request at a time, and handing each packet to a thread
costs more than the write. Syncing and renaming wait for the disk and are called in a thread.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from asyncssh import SFTPError, SFTPFailure, SFTPNoSpaceOnFilesystem, SFTPQuotaExceeded

from ingest.spool import Spool

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class Upload:
    """An open part file that becomes ``name`` in the drop by `publish`, or nothing by `discard`.

    ``size`` is the largest offset written; clients send packets out of order, and a file with a hole counts in full.
    ``refused`` is the answer to every further request after a write failed.
    """

    def __init__(self, spool: Spool, account: str, name: str, *, max_bytes: int) -> None:
        """Blocks; raises ``OSError`` when the part cannot be made."""
        self.account = account
        self.name = name
        self.size = 0
        self.refused: SFTPError | None = None
        self._spool = spool
        self._max_bytes = max_bytes
        self._part = spool.new_part(account)
        self._descriptor: int | None = os.open(self._part, _CREATE, 0o600)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data``; an upload that fails or grows beyond the limit is discarded at once.

        Raises ``SFTPQuotaExceeded`` at the first byte over the limit, also when it is written far behind the end
        (FAULTS.md S11), ``SFTPNoSpaceOnFilesystem`` or ``SFTPFailure`` when the disk refuses (S3).
        """
        descriptor = self._usable()
        end = offset + len(data)
        if end > self._max_bytes:
            self._refuse(
                SFTPQuotaExceeded(
                    f"A file may have at most {size_text(self._max_bytes)}; nothing of this one was kept. "
                    "Split it into several files, or compress it before it is encrypted."
                )
            )
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(descriptor, rest, offset)
                offset += written
                rest = rest[written:]
        except OSError:
            self._refuse(
                SFTPNoSpaceOnFilesystem(
                    "The server could not store the file; nothing of it was kept. Try again later, "
                    "and tell the operator of this server if it happens again."
                )
            )
        self.size = max(self.size, end)

    def read(self, offset: int, size: int) -> bytes:
        """What was written so far; raises as `write` when the upload is refused."""
        return os.pread(self._usable(), size, offset)

    def sync(self) -> None:
        """Bring what was written so far to the disk; blocks."""
        os.fsync(self._usable())

    def publish(self) -> os.stat_result:
        """Make the file appear in the drop, durably; blocks. Discards the part and raises when that fails."""
        descriptor = self._usable()
        try:
            facts = os.fstat(descriptor)
            self._close()
            self._spool.publish(self.account, self._part, self.name)
        except OSError:
            self.discard()
            raise
        return facts

    def discard(self) -> None:
        """Remove the part; nothing happens when it is gone or has been published."""
        self._close()
        with suppress(OSError):  # what stays behind is swept at the next start
            self._part.unlink(missing_ok=True)

    def _usable(self) -> int:
        if self.refused is not None:
            raise self.refused.with_traceback(None)  # or each of a million requests would add a frame to it
        if self._descriptor is None:
            raise SFTPFailure("This upload is over. Open the file again.")
        return self._descriptor

    def _refuse(self, answer: SFTPError) -> None:
        self.discard()
        self.refused = answer
        raise answer

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class UploadsInProgress:
    """Which names are being uploaded now, in all sessions of this process."""

    def __init__(self) -> None:
        self._names: set[tuple[str, str]] = set()
        self._none = asyncio.Event()
        self._none.set()
        self.closed = False

    def begin(self, account: str, name: str) -> None:
        """Reserve a name; raises ``SFTPFailure`` when it is taken, or when the door is closing."""
        if self.closed:
            raise SFTPFailure("The server is restarting. Connect again in a minute and send the file then.")
        if self.is_open(account, name):
            raise SFTPFailure("This file is being uploaded in another session. Wait for it, or use another name.")
        self._names.add((account, name))
        self._none.clear()

    def end(self, account: str, name: str) -> None:
        """Give a name free again; nothing happens when it is."""
        self._names.discard((account, name))
        if not self._names:
            self._none.set()

    def is_open(self, account: str, name: str) -> bool:
        """Whether a session is uploading under this name."""
        return (account, name) in self._names

    async def wait_until_none(self) -> None:
        """Return when no upload is in progress."""
        await self._none.wait()


def size_text(size: int) -> str:
    """A size for people: the decimal unit, and the exact number where the unit rounds nothing away for machines."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.4g} {name} ({size:,} bytes)"
    return f"{size:,} bytes"

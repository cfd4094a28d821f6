"""One upload in progress: a part of its own, bounded, and never a complete file unless its client closes it.

Writes go to the page cache on the event loop: a session is one request at a time, and handing each packet to a thread
costs more than the write. Syncing and renaming wait for the disk and are called in a thread.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass

from asyncssh import SFTPError, SFTPFailure, SFTPNoSpaceOnFilesystem

from ingest.disk import Disk
from ingest.door.counts import Counts
from ingest.door.quota import Quota
from ingest.parts import Part
from ingest.spool import Spool

_MOST_QUOTAS = 1000


class Upload:
    """An open part that becomes ``name`` in the drop by `publish`, stays unfinished by `keep`, or goes by `discard`.

    ``size`` is the largest offset written; clients send packets out of order, and a file with a hole counts in full.
    With ``appends`` every write goes to the end, whatever offset it names (draft-ietf-secsh-filexfer-02 §6.3).
    ``refused`` is the answer to every further request after a write failed.
    """

    def __init__(self, account: str, name: str, part: Part, *, appends: bool) -> None:
        self.account = account
        self.name = name
        self.size = part.size
        self.refused: SFTPError | None = None
        self._part = part
        self._appends = appends
        self._open = True

    def end_of(self, offset: int, length: int) -> int:
        """How large the upload is after a write of ``length`` bytes at ``offset``."""
        return max(self.size, (self.size if self._appends else offset) + length)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data``; an upload that the disk refuses is discarded at once.

        Raises ``SFTPNoSpaceOnFilesystem`` when the disk is full or fails (FAULTS.md S3).
        """
        descriptor = self._usable()
        end = self.end_of(offset, len(data))
        place = self.size if self._appends else offset
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(descriptor, rest, place)
                place += written
                rest = rest[written:]
        except OSError:
            self.refuse(
                SFTPNoSpaceOnFilesystem(
                    "The server could not store the file; nothing of it was kept. Try again later, "
                    "and tell the operator of this server if it happens again."
                )
            )
        self.size = end

    def read(self, offset: int, size: int) -> bytes:
        """What was written so far; raises as `write` when the upload is refused."""
        return os.pread(self._usable(), size, offset)

    def sync(self) -> None:
        """Bring what was written so far to the disk; blocks."""
        os.fsync(self._usable())

    def publish(self, spool: Spool) -> os.stat_result:
        """Make the file appear in the drop, durably; blocks. Discards the part and raises when that fails.

        Raises ``FileExistsError`` when a file of this name has come since the upload was opened (FAULTS.md S12).
        """
        descriptor = self._usable()
        try:
            facts = os.fstat(descriptor)
            # still open, and so locked: nobody can continue the part between its last byte and its name
            spool.publish(self.account, self._part.path, self.name, replace=self._part.replaces)
        except OSError:
            self.discard()
            raise
        self._close()
        return facts

    def keep(self) -> bool:
        """Leave what was written as an unfinished upload; whether there is anything to continue."""
        if not self._open or self.size == 0:
            self.discard()
            return False
        self._close()
        return True

    def discard(self) -> None:
        """Remove the part; nothing happens when it is gone or has been published."""
        if self._open:
            with suppress(OSError):  # what stays behind is swept when it is old enough
                self._part.path.unlink(missing_ok=True)
        self._close()

    def refuse(self, answer: SFTPError) -> None:
        """Discard the upload, and raise ``answer`` now and for every further request."""
        self.discard()
        self.refused = answer
        raise answer

    def check_usable(self) -> None:
        """Raises the refusal, or ``SFTPFailure`` when the upload is over."""
        self._usable()

    def _usable(self) -> int:
        if self.refused is not None:
            raise self.refused.with_traceback(None)  # or each of a million requests would add a frame to it
        if not self._open:
            raise SFTPFailure("This upload is over. Open the file again.")
        return self._part.descriptor

    def _close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._part.descriptor)


@dataclass(slots=True)
class Progress:
    """How the uploads of one connection get on; ``received`` is in bytes."""

    received: int = 0
    open_uploads: int = 0
    young: bool = False  # one was opened since the last look

    def stalled(self, grown: int, least: float) -> bool:
        """Whether an upload was open since the last look and ``grown`` is less than it should be."""
        young, self.young = self.young, False
        return self.open_uploads > 0 and not young and grown < least


class UploadsInProgress:
    """Which names are being uploaded now, in all sessions of this process, and what room there is for how much."""

    def __init__(self, counts: Counts, disk: Disk) -> None:
        self._counts = counts
        self.disk = disk
        self._names: set[tuple[str, str]] = set()
        self._quotas: dict[str, Quota] = {}
        self._none = asyncio.Event()
        self._none.set()
        self.closed = False

    def begin(self, account: str, name: str) -> None:
        """Reserve a name; raises ``SFTPFailure`` when it is taken, or when the door is closing."""
        if self.closed:
            raise SFTPFailure("The server is restarting. Connect again in a minute and send the file then.")
        if self.is_open(account, name):
            raise SFTPFailure(BUSY)
        self._names.add((account, name))
        self._none.clear()

    def end(self, account: str, name: str) -> None:
        """Give a name free again; nothing happens when it is."""
        self._names.discard((account, name))
        if len(self._quotas) > _MOST_QUOTAS:
            self._quotas = {name: quota for name, quota in self._quotas.items() if not quota.is_idle}
        if not self._names:
            self._none.set()

    def is_open(self, account: str, name: str) -> bool:
        """Whether a session is uploading under this name."""
        return (account, name) in self._names

    def quota(self, account: str) -> Quota:
        """The account's count; it is forgotten some time after its last upload."""
        if (quota := self._quotas.get(account)) is None:
            quota = self._quotas[account] = Quota(self._counts, account)
        return quota

    async def wait_until_none(self) -> None:
        """Return when no upload is in progress."""
        await self._none.wait()


BUSY = "This file is being uploaded in another session. Wait for it, or use another name."

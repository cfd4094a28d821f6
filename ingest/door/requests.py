"""The requests of one SFTP session: the library's protocol handler with what it offers cut down, and its seams closed.

The library has one hook, ``close``, for a client's CLOSE and for the end of a session, and hands the text of every
uncaught exception to the client. Both are mended here, at the handler, along with a bound on open handles and on
answers that a client does not read. `OFFERED` is all that a client can ask for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import structlog
from asyncssh import (
    FX_EOF,
    FX_NO_SUCH_FILE,
    SFTPAttrs,
    SFTPError,
    SFTPFailure,
    SFTPInvalidHandle,
    SFTPLimits,
    SFTPPermissionDenied,
    SSHReader,
    SSHServerChannel,
    SSHWriter,
)
from asyncssh.constants import (
    FXP_CLOSE,
    FXP_FSETSTAT,
    FXP_FSTAT,
    FXP_LSTAT,
    FXP_MKDIR,
    FXP_OPEN,
    FXP_OPENDIR,
    FXP_READ,
    FXP_READDIR,
    FXP_READLINK,
    FXP_REALPATH,
    FXP_REMOVE,
    FXP_RENAME,
    FXP_RMDIR,
    FXP_SETSTAT,
    FXP_STAT,
    FXP_SYMLINK,
    FXP_WRITE,
)
from asyncssh.packet import PacketDecodeError, SSHPacket
from asyncssh.sftp import MAX_SFTP_PACKET_LEN, SFTPServerHandler

from ingest.door.frames import Frames
from ingest.door.open_files import MAX_READ_BYTES
from ingest.door.quiet import Quiet
from ingest.door.view import DropView

SFTP_VERSION = 3  # what OpenSSH speaks; later versions reach further into the file system and nobody needs them
_MAX_WRITE_BYTES = 256 * 1024
_MAX_HINTS = 50

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

PacketHandler = Callable[[Any, SSHPacket], Awaitable[object]]

# mkdir, rmdir and the links are among them only so that their refusal has our text
OFFERED: tuple[int | bytes, ...] = (
    FXP_OPEN,
    FXP_CLOSE,
    FXP_READ,
    FXP_WRITE,
    FXP_LSTAT,
    FXP_FSTAT,
    FXP_SETSTAT,
    FXP_FSETSTAT,
    FXP_OPENDIR,
    FXP_READDIR,
    FXP_REMOVE,
    FXP_MKDIR,
    FXP_RMDIR,
    FXP_REALPATH,
    FXP_STAT,
    FXP_RENAME,
    FXP_READLINK,
    FXP_SYMLINK,
    b"posix-rename@openssh.com",
    b"fsync@openssh.com",
    b"limits@openssh.com",
)


class RequestHandler(Quiet, SFTPServerHandler):
    """Runs the requests of one session, one after the other."""

    _extensions = [(name, b"1") for name in OFFERED if isinstance(name, bytes)]  # noqa: RUF012  the library's own shape

    def __init__(
        self,
        view: DropView,
        reader: SSHReader[bytes],
        writer: SSHWriter[bytes],
        frames: Frames,
        *,
        account: str,
        max_handles: int,
        on_request: Callable[[], None],
    ) -> None:
        super().__init__(view, reader, writer, SFTP_VERSION)
        self._view = view
        self._frames = frames
        self._account = account
        self._max_handles = max_handles
        self._on_request = on_request
        self._hints = 0
        self._last_hint = ""
        # OpenSSH's sftp drops the text of a status and prints a word of its own, but shows what comes on stderr
        self._show_hints = "OpenSSH" in str(reader.get_extra_info("client_version", ""))

    async def run(self) -> None:
        """Serve until the session ends; nothing stays open, whichever way it ends.

        What leaves this ends the whole connection, with all its sessions: so nothing does.
        """
        try:
            await self._view.prepare()
            await super().run()
        except EOFError:  # before the first request
            await self._cleanup(None)
        except Exception as error:
            log.exception("a session failed", action="door_request_failed", account=self._account)
            await self._cleanup(error)
        finally:
            self._view.end()

    async def _cleanup(self, exc: Exception | None) -> None:
        # before the library closes what is open through the hook that a requested CLOSE comes through
        self._view.end()
        if (channel := self._open_channel()) is not None:
            channel.exit(0 if exc is None else 1)  # without a status scp takes all that it sent for failed
        await super()._cleanup(exc)

    async def recv_packet(self) -> SSHPacket:
        """The next request."""
        return SSHPacket(await self._frames.next())

    async def _process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> None:
        self._on_request()
        await super()._process_packet(pkttype, pktid, packet)
        if self._writer is not None:
            await self._writer.drain()  # a client that asks and never reads must not fill our memory
        self._on_request()

    async def answer(self, handler: PacketHandler, packet: SSHPacket) -> object:
        """Run one request; only texts that were written for clients leave it."""
        try:
            return await handler(self, packet)
        except PacketDecodeError:
            raise
        except SFTPError as error:
            if error.code not in (FX_EOF, FX_NO_SUCH_FILE):
                self._refused(error)
            raise
        except Exception:
            log.exception("a request failed", action="door_request_failed", account=self._account)
            failure = SFTPFailure(
                "The server could not do this. Try again later, and tell its operator if it happens again."
            )
            self._refused(failure)
            raise failure from None

    def _refused(self, error: SFTPError) -> None:
        """Log a refusal and show it to the person at the other end; repeated ones once, and not without end."""
        if error.reason == self._last_hint or self._hints >= _MAX_HINTS:
            return
        self._last_hint = error.reason
        self._hints += 1
        log.info("a request was refused", action="door_refused", account=self._account, reason=error.reason)
        if self._show_hints and (channel := self._open_channel()) is not None:
            channel.write_stderr(error.reason.encode("utf-8") + b"\n")

    def _open_channel(self) -> SSHServerChannel[bytes] | None:
        """The channel, as long as something can be sent on it."""
        if self._writer is None or self._writer.channel.is_closing():
            return None
        return cast("SSHServerChannel[bytes]", self._writer.channel)  # a server's session has a server's channel

    def check_handles(self) -> None:
        """Raises ``SFTPPermissionDenied`` when the session has as many handles open as it may (FAULTS.md S18)."""
        if len(self._file_handles) + len(self._dir_handles) >= self._max_handles:
            raise SFTPPermissionDenied(
                f"A session may have {self._max_handles} files and folders open at once. Close some of them first."
            )

    async def _process_open(self, packet: SSHPacket) -> bytes:
        path, pflags, attrs = packet.get_string(), packet.get_uint32(), SFTPAttrs.decode(packet, SFTP_VERSION)
        packet.check_end()
        file = await self._view.open(path, pflags, attrs)
        handle = self._get_next_handle()
        self._file_handles[handle] = file
        return handle

    async def _process_close(self, packet: SSHPacket) -> None:
        handle = packet.get_string()
        packet.check_end()
        if (file := self._file_handles.pop(handle, None)) is not None:
            await self._view.close(file)
        elif self._dir_handles.pop(handle, None) is None:
            raise SFTPInvalidHandle("This handle is not open.")

    async def _process_write(self, packet: SSHPacket) -> int:
        handle, offset, data = packet.get_string(), packet.get_uint64(), packet.get_string()
        # what stands behind is passed over, as OpenSSH does: rclones of 2022 send the rest of their buffer as well
        file = self._file_handles.get(handle)
        if file is None:
            raise SFTPInvalidHandle("This file is not open.")
        written = self._view.write(file, offset, data)
        return written if isinstance(written, int) else await written

    async def _process_limits(self, packet: SSHPacket) -> SFTPLimits:
        packet.check_end()
        return SFTPLimits(MAX_SFTP_PACKET_LEN, MAX_READ_BYTES, _MAX_WRITE_BYTES, self._max_handles)


def _closed_seam(kind: int | bytes) -> PacketHandler:
    """The handler of one kind of request, with nothing but texts for clients coming out of it."""
    known = SFTPServerHandler._packet_handlers[kind]
    assert known is not None  # noqa: S101  every kind in `OFFERED` has one
    name = known.__name__
    opens = kind in (FXP_OPEN, FXP_OPENDIR)

    async def process(handler: RequestHandler, packet: SSHPacket) -> object:
        return await handler.answer(run, packet)

    async def run(handler: RequestHandler, packet: SSHPacket) -> object:
        if opens:
            handler.check_handles()
        return await getattr(handler, name)(packet)

    return process


RequestHandler._packet_handlers = {kind: _closed_seam(kind) for kind in OFFERED}

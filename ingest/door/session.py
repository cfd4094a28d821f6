"""One SFTP session: a channel on which nothing but ``sftp`` can be asked for, and what connects it to its requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from asyncssh import SSHReader, SSHServerChannel, SSHServerConnection, SSHWriter
from asyncssh.packet import SSHPacket
from asyncssh.stream import SSHServerStreamSession

from ingest.door.frames import Frames
from ingest.door.quiet import Quiet
from ingest.door.requests import RequestHandler
from ingest.door.view import DropView

_WINDOW_BYTES = 2 * 1024 * 1024
_PACKET_BYTES = 32 * 1024


class SftpChannel(Quiet, SSHServerChannel[bytes]):
    """A session channel on which a client can ask for nothing but the ``sftp`` subsystem."""

    def __init__(self, connection: SSHServerConnection) -> None:
        connection._update_recv_pktlen(_PACKET_BYTES)  # as `create_server_channel` does
        super().__init__(
            connection,
            connection._loop,
            allow_pty=False,
            line_editor=False,
            line_echo=False,
            line_history=0,
            max_line_length=1,
            encoding=None,
            errors="strict",
            window=_WINDOW_BYTES,
            max_pktsize=_PACKET_BYTES,
        )

    def _process_env_request(self, packet: SSHPacket) -> bool:
        # the library keeps every variable; a client could send them without end
        del packet
        return False


class SftpSession(SSHServerStreamSession[bytes]):
    """Starts a handler when the client asks for ``sftp``; shells, commands and other subsystems are refused."""

    def __init__(
        self,
        view: Callable[[SSHServerChannel[bytes]], DropView],
        *,
        account: str,
        max_handles: int,
        on_request: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(None)
        self._frames = Frames(most_bytes=_WINDOW_BYTES, pause=self._pause, resume=self._resume)
        self._make_view = view
        self._account = account
        self._max_handles = max_handles
        self._on_request = on_request
        self._on_end = on_end

    def subsystem_requested(self, subsystem: str) -> bool:
        """Only ``sftp``."""
        return subsystem == "sftp"

    def session_started(self) -> None:
        """Serve the requests in a task of the connection."""
        assert self._chan is not None  # noqa: S101  the library sets it before it calls this
        assert self._conn is not None  # noqa: S101
        reader: SSHReader[bytes] = SSHReader(self, self._chan)
        writer: SSHWriter[bytes] = SSHWriter(self, self._chan)
        handler = RequestHandler(
            self._make_view(cast("SSHServerChannel[bytes]", self._chan)),
            reader,
            writer,
            self._frames,
            account=self._account,
            max_handles=self._max_handles,
            on_request=self._on_request,
        )
        self._conn.create_task(handler.run(), reader.logger)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Bytes of requests."""
        del datatype
        self._frames.feed(data)

    def eof_received(self) -> bool:
        """The client sends no more requests; answers can go on to it."""
        self._frames.end()
        return super().eof_received()

    def exception_received(self, exc: Exception) -> None:
        """A break or a signal, which ends the session as it would end a program."""
        self._frames.end(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone."""
        self._frames.end(exc)
        super().connection_lost(exc)
        self._on_end()

    def _pause(self) -> None:
        if self._chan is not None:
            self._chan.pause_reading()

    def _resume(self) -> None:
        if self._chan is not None:
            self._chan.resume_reading()

"""The listener: opens the door with every option of the library set on purpose, and closes it in order.

Diagnostics: log records with the actions ``door_open``, ``door_login``, ``door_refused``, ``door_upload_complete``,
``door_upload_dropped``, ``door_request_failed``, ``door_closed``.
"""

from __future__ import annotations

import asyncio
import logging

import asyncssh
import structlog

from ingest.door import algorithms
from ingest.door.connection import AuthorizedKeys, DoorConnection
from ingest.door.errors import AddressUnavailable
from ingest.door.host_key import load_host_key
from ingest.door.occupancy import Occupancy
from ingest.door.upload import UploadsInProgress
from ingest.door.view import Published
from ingest.settings import DoorSettings
from ingest.spool import Spool

_KEEPALIVE_S = 30
_KEEPALIVES_UNANSWERED = 3
_BACKLOG = 128
_END_S = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Door:
    """The SFTP server on one address; ``port`` is the real one after `start`.

    ``published`` is awaited with account and file name when a file is complete and on the disk, before its client
    hears so; an exception from it makes the client's request fail.
    """

    def __init__(
        self, settings: DoorSettings, spool: Spool, *, authorized_keys: AuthorizedKeys, published: Published
    ) -> None:
        self.port = settings.port
        self._settings = settings
        self._spool = spool
        self._authorized_keys = authorized_keys
        self._published = published
        self._occupancy = Occupancy(settings)
        self._uploads = UploadsInProgress()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    async def start(self) -> None:
        """Listen.

        Raises `HostKeyMissing`, `HostKeyExposed` or `HostKeyUnusable` for the host key, `AddressUnavailable` when the
        address cannot be had.
        """
        settings = self._settings
        host_key = await asyncio.to_thread(load_host_key, settings.host_key_file)
        swept = await asyncio.to_thread(self._spool.sweep_parts, older_than_s=2 * settings.idle_timeout_s)
        # the library tells of each connection and request; what matters of it is logged here, with names checked
        logging.getLogger("asyncssh").setLevel(logging.WARNING)
        try:
            self._acceptor = await asyncssh.listen(
                settings.host,
                settings.port,
                backlog=_BACKLOG,
                server_factory=self._connection,
                server_host_keys=[host_key],
                server_version="Sealdrop",
                config=None,
                kex_algs=algorithms.KEY_EXCHANGES,
                encryption_algs=algorithms.CIPHERS,
                mac_algs=algorithms.MACS,
                compression_algs=algorithms.COMPRESSIONS,
                signature_algs=algorithms.SIGNATURES,
                public_key_auth=True,
                password_auth=False,
                kbdint_auth=False,
                host_based_auth=False,
                gss_host=None,
                gss_kex=False,
                gss_auth=False,
                x509_trusted_certs=None,
                login_timeout=settings.login_timeout_s,
                keepalive_interval=_KEEPALIVE_S,
                keepalive_count_max=_KEEPALIVES_UNANSWERED,
                tcp_keepalive=True,
                rdns_lookup=False,
                allow_pty=False,
                allow_scp=False,
                agent_forwarding=False,
                x11_forwarding=False,
                line_editor=False,
                process_factory=None,
                session_factory=None,
                sftp_factory=None,  # sessions come from `DoorConnection.session_requested`
            )
        except OSError as error:
            raise AddressUnavailable(
                f"The door cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. "
                "End the program that uses it, or change `door.host` or `door.port` in the settings."
            ) from error
        self.port = self._acceptor.get_port()
        log.info("the door is open", action="door_open", port=self.port, parts_swept=swept)

    async def drain(self, timeout_s: float) -> None:
        """Close in order: no new connection and no new upload, ``timeout_s`` for those that run, then the end.

        Uploads that are not complete by then are discarded. Does nothing when the door is not open.
        """
        if self._acceptor is None:
            return
        acceptor, self._acceptor = self._acceptor, None
        acceptor.close()
        self._uploads.closed = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._uploads.wait_until_none()
        except TimeoutError:
            log.warning("uploads were cut off", action="door_closed", timeout_s=timeout_s)
        connections = self._occupancy.connections
        for connection in connections:
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "The server is stopping")
        try:
            async with asyncio.timeout(_END_S):
                for connection in connections:
                    await connection.wait_closed()
                await self._uploads.wait_until_none()
                await acceptor.wait_closed()
        except TimeoutError:  # storage that hangs: the process may end all the same, nothing was promised to a client
            log.warning("a connection did not end", action="door_closed")
        log.info("the door is closed", action="door_closed", connections=len(connections))

    def _connection(self) -> DoorConnection:
        return DoorConnection(
            self._settings,
            self._spool,
            self._occupancy,
            self._uploads,
            authorized_keys=self._authorized_keys,
            published=self._published,
        )

"""The listener: opens the door with every option of the library set on purpose, and closes it in order.

Diagnostics: log records with the actions ``door_open``, ``door_login``, ``door_refused``, ``door_penalty``,
``door_upload_complete``, ``door_upload_unfinished``, ``door_request_failed``, ``door_access_unknown``,
``door_others_gone``, ``door_reloaded``, ``door_closed``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from concurrent.futures import ThreadPoolExecutor

import asyncssh
import structlog

from ingest.addresses import read_addresses
from ingest.clock import Now, utc_now
from ingest.disk import Disk
from ingest.door import algorithms
from ingest.door.connection import DoorConnection
from ingest.door.counts import Counts
from ingest.door.errors import AddressUnavailable
from ingest.door.handshake import Handshake
from ingest.door.host_key import load_host_key
from ingest.door.login import Accesses
from ingest.door.occupancy import Occupancy
from ingest.door.open_files import Published
from ingest.door.upload import UploadsInProgress
from ingest.settings import DiskSettings, DoorSettings
from ingest.spool import Spool

_KEEPALIVE_S = 30
_KEEPALIVES_UNANSWERED = 3
_BACKLOG = 64  # so many are also accepted at once; a few times as many descriptors are kept for those inside
_END_S = 5.0
_LOOK_FOR_DEAD_S = 1.0
_LOOK_AT_ACCESS_S = 3.0
_THREADS = 128

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Door:
    """The SFTP server on one address; ``port`` is the real one after `start`.

    ``published`` is awaited with account and file name when a file is complete and on the disk, before its client
    hears so; an exception from it makes the client's request fail.
    """

    def __init__(
        self,
        settings: DoorSettings,
        spool: Spool,
        *,
        accesses: Accesses,
        published: Published,
        disk: Disk | None = None,
        now: Now = utc_now,
    ) -> None:
        self.port = settings.port
        self._settings = settings
        self._spool = spool
        self._accesses = accesses
        self._published = published
        self._now = now
        self._disk = disk or Disk([spool.root], DiskSettings())
        self._counts: Counts
        self._occupancy: Occupancy
        self._uploads: UploadsInProgress
        self._options: asyncssh.SSHServerConnectionOptions
        self._listener: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen.

        Raises `HostKeyMissing`, `HostKeyExposed` or `HostKeyUnusable` for a host key, `AddressUnavailable` when the
        address cannot be had, `SharedCountsUnusable` when doors on one port cannot count together.
        """
        settings = self._settings
        self._options = await asyncio.to_thread(self._make_options, settings)
        self._counts = await asyncio.to_thread(self._make_counts)
        self._occupancy = Occupancy(settings, self._counts)
        self._uploads = UploadsInProgress(self._counts, self._disk)
        # the library tells of each connection and request; what matters of it is logged here, with names checked
        logging.getLogger("asyncssh").setLevel(logging.WARNING)
        _take_all_descriptors()
        # so many that those whose storage hangs leave some to the others (FAULTS.md S20): an account's sessions, one
        # request at a time each, can hold fewer
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="door"))
        try:
            self._listener = await loop.create_server(
                self._handshake,
                settings.host,
                settings.port,
                backlog=_BACKLOG,
                reuse_port=settings.reuse_port or None,
            )
        except OSError as error:
            self._counts.close()
            raise AddressUnavailable(
                f"The door cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. "
                "End the program that uses it, or change `door.host` or `door.port` in the settings."
            ) from error
        self.port = self._listener.sockets[0].getsockname()[1]
        tasks = (self._end_what_may_no_longer_be(), self._forget_dead_doors())
        self._tasks = [asyncio.create_task(task) for task in tasks]
        log.info("the door is open", action="door_open", port=self.port)

    async def reload(self, settings: DoorSettings) -> None:
        """Take other settings and host keys for the connections that come from now on; those that are open stay.

        Raises as `start` for the host keys, and then nothing has changed. Address and port stay as they were.
        """
        self._options = await asyncio.to_thread(self._make_options, settings)
        if (settings.host, settings.port) != (self._settings.host, self._settings.port):
            log.warning("the address changes with the next start only", action="door_reloaded")
        self._settings = self._occupancy.settings = settings
        log.info("the door has new settings", action="door_reloaded")

    async def drain(self, timeout_s: float) -> None:
        """Close in order: no new connection and no new upload, ``timeout_s`` for those that run, then the end.

        Uploads that are not complete by then are kept as unfinished. Does nothing when the door is not open.
        """
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        listener.close()
        for task in self._tasks:
            task.cancel()
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
                await listener.wait_closed()
        except TimeoutError:  # storage that hangs: the process may end all the same, nothing was promised to a client
            log.warning("a connection did not end", action="door_closed")
        self._counts.close()
        log.info("the door is closed", action="door_closed", connections=len(connections))

    def _make_counts(self) -> Counts:
        if not self._settings.reuse_port:
            return Counts()
        return Counts.shared(self._settings.shared_dir, self._spool.root)

    def _make_options(self, settings: DoorSettings) -> asyncssh.SSHServerConnectionOptions:
        """Every option of the library that matters, also where its default is ours; reads the host keys."""
        files = (settings.host_key_file, settings.next_host_key_file)
        host_keys = [load_host_key(file) for file in files if file is not None]
        chacha20 = (algorithms.CHACHA20,) if settings.allow_chacha20 else ()
        return asyncssh.SSHServerConnectionOptions(
            server_factory=self._connection,
            server_host_keys=host_keys,
            send_server_host_keys=len(host_keys) > 1,
            server_version="Sealdrop",
            config=None,
            kex_algs=algorithms.KEY_EXCHANGES,
            encryption_algs=algorithms.CIPHERS + chacha20,
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

    def _handshake(self) -> Handshake:
        return Handshake(
            asyncio.get_running_loop(),
            self._options,
            balancers=read_addresses(self._settings.proxy_from),
            on_bad_header=_log_bad_header,
        )

    def _connection(self) -> DoorConnection:
        return DoorConnection(
            self._settings,
            self._spool,
            self._occupancy,
            self._uploads,
            accesses=self._accesses,
            published=self._published,
            now=self._now,
        )

    async def _end_what_may_no_longer_be(self) -> None:
        """End the connections of accounts and keys that open nothing any more, every few seconds."""
        while True:
            await asyncio.sleep(_LOOK_AT_ACCESS_S)
            if not (logged_in := self._occupancy.logged_in()):
                continue
            try:
                accesses = await self._accesses(logged_in.keys())
            except Exception as error:  # nobody is thrown out because the ledger is busy
                log.warning("accesses cannot be looked at", action="door_access_unknown", detail=type(error).__name__)
                continue
            for account, connections in logged_in.items():
                for connection in connections:
                    if isinstance(owner := connection.get_owner(), DoorConnection):
                        owner.end_unless_open(accesses.get(account))

    async def _forget_dead_doors(self) -> None:
        """Let doors that were killed count no more."""
        while True:
            if dead := self._counts.forget_the_dead():
                log.warning("doors on this port have ended without a word", action="door_others_gone", doors=dead)
            await asyncio.sleep(_LOOK_FOR_DEAD_S)


def _take_all_descriptors() -> None:
    """Have as many descriptors as the system lets this process have; the usual 1024 are a habit of old programs."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _log_bad_header(problem: str) -> None:
    log.warning("a balancer sent no PROXY header", action="door_refused", reason=problem)

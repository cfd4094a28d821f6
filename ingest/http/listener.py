"""A port: accepts connections, as many as may be at once, and gives each to uvicorn with the TLS of that moment."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address

import structlog
import uvicorn
from starlette.types import ASGIApp

from ingest.addresses import read_addresses, source_of
from ingest.http.errors import AddressUnavailable
from ingest.http.protocol import ApiProtocol
from ingest.http.settings import HttpSettings

_BACKLOG = 512
_PAUSE_S = 0.5  # when the system has no descriptor left

_log = structlog.get_logger()


class _Embedded(uvicorn.Server):
    """uvicorn without its signal handlers: the service has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """One port; ``context`` is asked at each connection, so that a new certificate needs no new port."""

    def __init__(
        self, app: ASGIApp, settings: HttpSettings, port: int, context: Callable[[], ssl.SSLContext | None]
    ) -> None:
        self._settings = settings
        self._context = context
        self._exempt = read_addresses(settings.exempt_sources)
        self._config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, round(settings.idle_timeout_s)),
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
            h11_max_incomplete_event_size=settings.max_header_bytes,
        )
        self._config.load()
        self._server = _Embedded(self._config)
        self._sources: Counter[str] = Counter()
        self._opening: set[asyncio.Task[None]] = set()
        self._socket = _bound(settings.host, port)
        self.port: int = self._socket.getsockname()[1]

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Accept connections until the end of the block; then running requests get their time."""
        serving = asyncio.create_task(self._server.serve(sockets=[]))
        accepting = asyncio.create_task(self._accept())
        try:
            yield
        finally:
            accepting.cancel()
            self._socket.close()
            for task in self._opening:
                task.cancel()
            self._server.should_exit = True
            await serving
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(self._socket)
            except OSError as error:
                _log.error("accept_failed", action="accept_failed", detail=error.strerror)
                await asyncio.sleep(_PAUSE_S)
                continue
            source = source_of(address[0])
            if self._refuses(source, address[0]):
                accepted.close()
                continue
            # asyncio sets it only where the socket names its protocol; an answer is several writes, and would wait
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sources[source] += 1
            task = asyncio.create_task(self._open(accepted, source))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _refuses(self, source: str, address: str) -> bool:
        if self._sources.total() >= self._settings.max_connections:
            return True
        too_many = self._sources[source] >= self._settings.max_connections_per_source
        return too_many and not self._exempt.matches(address)

    async def _open(self, accepted: socket.socket, source: str) -> None:
        """Shake hands, then let the protocol go on; whichever way it ends, the connection is counted out once."""

        def leave() -> None:
            self._sources[source] -= 1
            if self._sources[source] <= 0:
                del self._sources[source]

        timeout_s = self._settings.header_timeout_s
        protocol = ApiProtocol(self._config, self._server.server_state, header_timeout_s=timeout_s, on_lost=leave)
        context = self._context()
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=context,
                ssl_handshake_timeout=None if context is None else timeout_s,
                ssl_shutdown_timeout=None if context is None else timeout_s,
            )
        except (OSError, asyncio.CancelledError):  # no TLS, too late, or gone; `ssl.SSLError` is an `OSError`
            if not protocol.is_made:
                leave()


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `AddressUnavailable`."""
    try:
        is_ipv6 = ip_address(host).version == 6
    except ValueError:
        is_ipv6 = False
    try:
        bound = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
            backlog=_BACKLOG,
            dualstack_ipv6=is_ipv6 and host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        raise AddressUnavailable(
            f"The HTTP API cannot listen on {host} port {port}: {error.strerror}. Free the port, or correct `host` and "
            "`port` in [http]."
        ) from None
    bound.settimeout(0)
    return bound

"""The HTTP API as a part of the service: its ports, its certificate, and what has to be renewed from time to time."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import structlog
from starlette.routing import BaseRoute
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from ingest.app import App
from ingest.http.asgi import make_app
from ingest.http.errors import HttpError
from ingest.http.listener import Listener
from ingest.http.openings import Openings
from ingest.http.passcodes import Passcodes
from ingest.http.settings import HttpSettings
from ingest.http.tls import server_context, stamp
from ingest.keyset_rotation import rotate_due_keysets
from ingest.outcomes import cause_of
from ingest.token_custody import renew_token_key

_LOOK_AT_FILES_S = 2.0
_RENEW_S = 3600.0

_log = structlog.get_logger()


class HttpApi:
    """The API; ``port`` and ``redirect_port`` are there while it runs."""

    def __init__(self, app: App, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes
        self._settings = app.settings.http
        self._context: ssl.SSLContext | None = None
        self._stamp: tuple[object, ...] = ()
        self.openings = Openings(app.database, app.now)
        self.port: int | None = None
        self.redirect_port: int | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve until the end of the block; then running requests get their time.

        Raises what the vault raises, `TlsUnusable`, and `AddressUnavailable`.
        """
        settings = self._settings
        await self._load(settings)
        await self._renew_token_key()
        async with contextlib.AsyncExitStack() as stack:
            passcodes = Passcodes()
            stack.callback(passcodes.close)
            application = make_app(self._app, self._routes, openings=self.openings, passcodes=passcodes)
            stack.push_async_callback(_cancelled, asyncio.create_task(self.openings.keep()))
            listener = Listener(application, settings, settings.port, lambda: self._context)
            await stack.enter_async_context(listener.open())
            self.port = listener.port
            if settings.redirect_port is not None:
                redirecting = Listener(Redirect(settings.public_url), settings, settings.redirect_port, lambda: None)
                await stack.enter_async_context(redirecting.open())
                self.redirect_port = redirecting.port
            for work in (self._follow_files(), self._keep_renewing()):
                stack.push_async_callback(_cancelled, asyncio.create_task(work))
            _log.info("http_open", action="http_open", port=self.port, redirect_port=self.redirect_port)
            yield

    async def reload(self, settings: HttpSettings) -> None:
        """Take certificate, key, version of TLS and client certificates from these settings, for new connections.

        Raises `TlsUnusable`; then everything stays as it was.
        """
        await self._load(settings)
        self._settings = settings

    async def _load(self, settings: HttpSettings) -> None:
        found = await asyncio.to_thread(self._stamp_of, settings)
        authorities = await asyncio.to_thread(self._app.api_accesses.authorities)
        certificates = {authority.certificate for _, authority in authorities}
        self._context = await asyncio.to_thread(server_context, settings, certificates)
        self._stamp = found

    def _stamp_of(self, settings: HttpSettings) -> tuple[object, ...]:
        """What changes when the certificate, its key, or the CAs of accounts do."""
        authorities = self._app.api_accesses.authorities()
        return *stamp(settings), frozenset(authority.fingerprint for _, authority in authorities)

    async def _follow_files(self) -> None:
        """Load the certificate anew when it changes; one that cannot be used is said once, and the old one stays."""
        while True:
            await asyncio.sleep(_LOOK_AT_FILES_S)
            try:
                found = await asyncio.to_thread(self._stamp_of, self._settings)
                if found != self._stamp:
                    self._stamp = found
                    await self._load(self._settings)
                    _log.info("tls_reloaded", action="tls_reloaded")
            except Exception as error:
                detail = error.public if isinstance(error, HttpError) else cause_of(error)
                _log.error("tls_not_reloaded", action="tls_not_reloaded", detail=detail)

    async def renew(self) -> None:
        """Replace old keys of tokens and old keysets, by no clock that has just jumped. Raises as the vault does."""
        if await asyncio.to_thread(self._app.sweeps.distrusted_until, self._app.now()) is not None:
            return
        await self._renew_token_key()
        await asyncio.to_thread(rotate_due_keysets, self._app)

    async def _renew_token_key(self) -> None:
        await asyncio.to_thread(renew_token_key, self._app, timedelta(days=self._settings.token_key_days))

    async def _keep_renewing(self) -> None:
        """Renew at the start and then every hour."""
        while True:
            try:
                await self.renew()
            except Exception as error:  # an end of this loop would be noticed by nobody
                _log.error("keys_not_renewed", action="keys_not_renewed", detail=cause_of(error))
            await asyncio.sleep(_RENEW_S)


class Redirect:
    """Answers every request on the plain port with the way to the other one, and hangs up."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url.encode()

    async def __call__(self, connection: Connection, _receive: Receive, send: Send) -> None:
        """301, whatever was asked; the body is not read."""
        path, query = connection["raw_path"], connection["query_string"]
        # a target need not be a path (RFC 9112 §3.2): only one that is goes into the URL
        target = path + (b"?" + query if query else b"") if path.startswith(b"/") else b"/"
        headers = [(b"location", self._public_url + target), (b"content-length", b"0"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 301, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

"""Bodies: bounded by what is announced and by what comes, in size and in time, and handed on whole.

Nothing is read before a request has got here, so before its sender is known and allowed to send it.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from ingest.http.problems import Problem
from ingest.http.settings import HttpSettings


class Bodies:
    """Reads the body of each request; the endpoint then finds it in one piece."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self._app = app
        self._settings = settings
        self._buffered = 0

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Read the body, or refuse it; its bytes count until the answer is complete."""
        self._check_headers(Headers(scope=connection))
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._settings.body_timeout_s):
                    await self._read(body, receive)
            except TimeoutError:
                raise Problem(
                    408,
                    "body.too_slow",
                    f"The body did not come within {self._settings.body_timeout_s:g} seconds.",
                    {"Connection": "close"},
                ) from None
            await self._app(connection, _replayed(bytes(body), receive), send)
        finally:
            self._buffered -= len(body)

    def _check_headers(self, headers: Headers) -> None:
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Problem(415, "body.encoding", "Send the body without a Content-Encoding.")
        if int(headers.get("content-length", "0")) > self._settings.max_body_bytes:
            raise self._too_large()

    async def _read(self, body: bytearray, receive: Receive) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > self._settings.max_body_bytes:
                raise self._too_large()
            if self._buffered + len(chunk) > self._settings.max_buffered_bytes:
                raise Problem(503, "busy", "Too much is being uploaded at once. Try again.", {"Retry-After": "1"})
            self._buffered += len(chunk)
            body += chunk
            more = message.get("more_body", False)

    def _too_large(self) -> Problem:
        most = f"{self._settings.max_body_bytes:,}"
        return Problem(413, "body.too_large", f"The body is larger than {most} bytes. Send it in several requests.")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, and then what really comes: the end of the connection."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay

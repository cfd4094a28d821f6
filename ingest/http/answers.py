"""The outermost layer: every request ends in an answer of ours, with an ID, safe headers, and a line in the log.

What nobody foresaw ends here as well: the client learns the ID and nothing else, the log where it came from.
"""

from __future__ import annotations

import asyncio
import secrets
import time

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from ingest.http.problems import Problem
from ingest.http.scopes import SCOPES, methods_of
from ingest.http.settings import HttpSettings
from ingest.outcomes import AFTER, Next, cause_of

_SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
_HSTS = (b"strict-transport-security", b"max-age=63072000")  # RFC 6797 §6.1: two years
_CLOSE = (b"connection", b"close")
_OUR_FAULT = "Something went wrong on our side. Try again; tell whoever runs this service the request ID if it stays."

_log = structlog.get_logger()


class Answers:
    """Runs the application, and answers for it when it fails."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id = connection["state"]["request_id"] = secrets.token_hex(8)
        begun = time.perf_counter()
        answer = _Answer(connection, request_id, send, self._settings.body_timeout_s)
        try:
            try:
                _check_headers(connection, self._settings.max_header_bytes)
                _check_route(connection)
                await self._app(connection, receive, answer.send)
            except Problem as problem:
                await problem.response()(connection, receive, answer.send)
            except ClientDisconnect:
                pass
            except Exception as error:
                _log.error("request_failed", action="request_failed", request_id=request_id, detail=cause_of(error))
                if answer.status is None:
                    await _problem_of(error).response()(connection, receive, answer.send)
                else:
                    raise ConnectionAbortedError from None  # half an answer is out: the server ends the connection
        finally:
            _log.info(
                "http_request",
                action="http_request",
                request_id=request_id,
                account=connection["state"].get("account"),
                method=connection["method"] if answer.known else "other",
                path=connection["path"] if answer.known else "other",
                status=answer.status,
                ms=round((time.perf_counter() - begun) * 1000, 1),
            )


class _Answer:
    """What goes out: `send` adds the headers that every answer has."""

    def __init__(self, connection: Connection, request_id: str, send: Send, timeout_s: float) -> None:
        self._send = send
        self._timeout_s = timeout_s
        self.known = (connection["path"], connection["method"]) in SCOPES
        self.status: int | None = None
        self._headers = [*_SAFE, (b"x-request-id", request_id.encode())]
        if connection["scheme"] == "https":
            self._headers.append(_HSTS)
        # a client that waits for "100 Continue" may send its body after a refusal or not: nobody could tell where the
        # next request begins (RFC 9110 §10.1.1)
        self._expects = any(name == b"expect" for name, _ in connection["headers"])

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), *self._headers]
            if self._expects and message["status"] >= 400 and _CLOSE not in headers:
                headers.append(_CLOSE)
            message = {**message, "headers": headers}
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(message)
        except TimeoutError:  # the client does not take its answer
            raise ClientDisconnect from None


def _check_headers(connection: Connection, most_bytes: int) -> None:
    """Refuse what is too large, and what two servers in a row could take for requests of different length.

    FAULTS.md H11. Raises a `Problem` that closes the connection.
    """
    headers = connection["headers"]
    target = len(connection["raw_path"]) + len(connection["query_string"])
    if target + sum(len(name) + len(value) + 4 for name, value in headers) > most_bytes:
        raise Problem(
            431, "http.headers_too_large", f"The headers are larger than {most_bytes:,} bytes.", {"Connection": "close"}
        )
    names = [name for name, _ in headers]
    chunked = b"transfer-encoding" in names
    # RFC 9112 §6.1: both may be an attempt at request smuggling; HTTP/1.0 knows no chunks
    if chunked and (b"content-length" in names or connection["http_version"] == "1.0"):
        raise Problem(
            400,
            "http.framing",
            "Content-Length and Transfer-Encoding do not go together, and HTTP/1.0 has no Transfer-Encoding.",
            {"Connection": "close"},
        )
    if any(name == b"expect" and value.lower() != b"100-continue" for name, value in headers):
        raise Problem(417, "http.expectation", "The only expectation known here is 100-continue.")


def _check_route(connection: Connection) -> None:
    path, method = connection["path"], connection["method"]
    if (path, method) in SCOPES:
        return
    if methods := methods_of(path):
        allowed = ", ".join(methods)
        raise Problem(405, "http.method", f"This path takes {allowed}.", {"Allow": allowed})
    raise Problem(404, "http.path", "There is nothing at this path.")


def _problem_of(error: Exception) -> Problem:
    """The answer to an error of ours, or to one that nobody foresaw."""
    after = AFTER.get(type(error))
    if after is not None and after.next is Next.DEFER:
        return Problem(503, "unavailable", "The service is not ready for this now. Try again.", {"Retry-After": "5"})
    return Problem(500, "internal", _OUR_FAULT)

"""HPKE around every endpoint that knows its account: answers are sealed, bodies opened (CONTRACT.md 7).

Two layers, because they stand at two places: answers are sealed from right behind the authentication on, so that
refusals are sealed as well; bodies are opened once they were read within their limits. An error in a sealed answer has
the status that it would have plain. What is refused before the account is known, or because there is nothing to seal
it to, comes plain: such a text holds nothing of anybody's data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from ingest.http.authentication import Caller
from ingest.http.negotiation import MEDIA_TYPE, OPENED, Asked, asked_by, kind_of, must_open
from ingest.http.openings import Openings
from ingest.http.problems import Problem
from ingest.http.recent import Recent
from ingest.http.scopes import SCOPES, Scope
from keystore.active_keysets import ActiveKeysets, Opened
from keystore.errors import HpkeCannotOpen
from keystore.tink_keyset import PublicKeyset

_IN_A_THREAD_FROM = 64 * 1024  # bytes; below it the thread would cost more than it frees
_DROPPED = (b"content-type", b"content-length")


class SealedAnswers:
    """Seals the answer to whoever asks for it, to the customer's primary response keyset."""

    def __init__(self, app: ASGIApp, response_keysets: Recent[PublicKeyset | None]) -> None:
        self._app = app
        self._response_keysets = response_keysets

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Collect the answer and seal it; an answer that nobody wants sealed is left alone."""
        caller: Caller | None = connection["state"].get("caller")
        if caller is None:
            await self._app(connection, receive, send)
            return
        asked = connection["state"]["asked"] = asked_by(connection["headers"])
        if not (asked.sealed_answer and caller.access.hpke.works):
            await self._app(connection, receive, send)
            return
        account = caller.access.account
        keyset = await self._response_keysets.get(account)
        if keyset is None:
            raise Problem(
                406,
                "hpke.no_response_keyset",
                "There is no public keyset of yours to encrypt the answer to. Upload one: PUT /1/keys/response.json.",
            )
        answer = _Collected()
        try:
            await self._app(connection, receive, answer.take)
        except Problem as problem:
            answer = _Collected()
            await problem.response()(connection, receive, answer.take)
        sealed = await _off_loop(keyset.seal, bytes(answer.body), account)
        headers = [(name, value) for name, value in answer.headers if name not in _DROPPED]
        response = Response(sealed, answer.status, media_type=MEDIA_TYPE)
        response.raw_headers += headers
        await response(connection, receive, send)


class OpenedBodies:
    """Opens the bodies that are sealed, and refuses what the account may not send so (`ingest.http.negotiation`)."""

    def __init__(
        self,
        app: ASGIApp,
        request_keysets: Recent[ActiveKeysets],
        openings: Openings,
        now: Callable[[], datetime],
    ) -> None:
        self._app = app
        self._request_keysets = request_keysets
        self._openings = openings
        self._now = now

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Hand on the plain body, as JSON."""
        caller: Caller | None = connection["state"].get("caller")
        if caller is None:
            await self._app(connection, receive, send)
            return
        message = await receive()
        body: bytes = message["body"]
        asked: Asked = connection["state"]["asked"]
        rules = caller.access.hpke
        path, method = connection["path"], connection["method"]
        # public keysets are no secret, and without them nobody could begin
        enforced = rules.enforced and SCOPES[path, method] is not Scope.KEYS
        try:
            if must_open(asked, rules, kind_of(body), has_body=method != "GET", enforced=enforced):
                body = await self._opened(caller, connection["state"]["request_id"], body)
                connection["headers"] = _as_json(connection["headers"], len(body))
        except Problem as problem:
            if str(problem.code).startswith("hpke."):
                self._openings.note(caller, connection["state"]["request_id"], str(problem.code), len(body))
            raise
        await self._app(connection, _given({**message, "body": body}, receive), send)

    async def _opened(self, caller: Caller, request_id: str, body: bytes) -> bytes:
        account = caller.access.account
        try:
            keysets = await self._request_keysets.get(account)
            opened: Opened = await _off_loop(keysets.open, body, account, self._now())
        except HpkeCannotOpen as error:
            raise Problem(400, error.code, error.public) from None
        self._openings.note(caller, request_id, OPENED, len(body), opened)
        return opened.plain


class _Collected:
    """An answer, taken as it comes."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", []))
        else:
            self.body += message.get("body", b"")


async def _off_loop(work: Callable[..., Any], data: bytes, *further: object) -> Any:
    """Do the work, in a thread when there is much of it."""
    if len(data) < _IN_A_THREAD_FROM:
        return work(data, *further)
    return await asyncio.to_thread(work, data, *further)


def _as_json(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name not in (*_DROPPED, b"transfer-encoding")]
    return [*kept, (b"content-type", b"application/json"), (b"content-length", b"%d" % length)]


def _given(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def give() -> Message:
        return waiting.pop() if waiting else await receive()

    return give

"""The endpoints for data: upload, events by cursor, profile (CONTRACT.md 7).

An endpoint finds the authenticated account in ``request.state.account`` and a body that is in the clear and not too
large. Whatever blocks runs in threads. Days and times are UTC.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import wraps

import polars as pl
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest.app import App
from ingest.cursor_custody import open_cursor_key
from ingest.http.cursors import Cursors, Reading
from ingest.http.data_answers import cursor_answer, events_answer, profile_answer
from ingest.http.event_query import read_batch_size, read_query
from ingest.http.problems import Problem
from ingest.outcomes import Next, after, cause_of, code_of, public_of
from ingest.uploads.answer import answer_of
from ingest.uploads.batch import Upload
from ingest.uploads.body import read_body
from ingest.uploads.intake import Intake
from manifests.codes import OUR_FAULT
from manifests.types import USER_COLUMNS
from stores.event_pages import EventQuery, Place
from stores.lookups import Lookups

_STATUS = {
    "body.too_many_records": 413,
    "idempotency.key_reused": 422,
    "account.disabled": 403,
    "store.snapshot_gone": 410,
}
_RETRY_AFTER = {"Retry-After": "1"}
_MOST_KEY_CHARS = 255
_LOOK_UPS = ("identity", "email", "objectId")

Endpoint = Callable[[Request], Awaitable[Response]]

_log = structlog.get_logger()


def data_routes(app: App, intake: Intake) -> list[Route]:
    """The routes; whoever gives the intake closes it, after the last request."""
    data = _Data(app, intake)
    return [
        Route("/1/upload", _answering(data.upload), methods=["POST"]),
        Route("/1/events.json", _answering(data.begin_events), methods=["POST"]),
        Route("/1/events.json", _answering(data.events), methods=["GET"]),
        Route("/1/profile.json", _answering(data.profile), methods=["GET"]),
    ]


class _Data:
    """The endpoints."""

    def __init__(self, app: App, intake: Intake) -> None:
        self._app = app
        self._intake = intake
        self._lookups = Lookups(app.lake)
        self._cursors: Cursors | None = None

    async def upload(self, request: Request) -> Response:
        """Store records; with ``dryRun=1`` only say what would become of them."""
        content = await request.body()
        settings = self._app.settings
        dry_run = _flag(request, "dryRun")
        account = request.state.account
        key = None if dry_run else _idempotency_key(request)
        body = await asyncio.to_thread(
            read_body,
            content,
            max_records=settings.uploads.max_records,
            max_properties=settings.limits.max_properties,
        )
        upload = Upload(
            body,
            dry_run=dry_run,
            key_hash=None if key is None else hashlib.sha256(f"{account}\0{key}".encode()).digest(),
            body_hash=hashlib.sha256(content).digest(),
        )
        await self._intake.carried_out(account, upload, len(content))
        if upload.error is not None:
            raise upload.error
        return _json(answer_of(upload))

    async def begin_events(self, request: Request) -> Response:
        """A cursor over the events of a name from one day to another, both included."""
        size = read_batch_size(request.query_params.get("batch_size"))
        query = read_query(await request.body())
        return await asyncio.to_thread(self._begun, request.state.account, query, size)

    async def events(self, request: Request) -> Response:
        """The page that a cursor points to."""
        cursor = request.query_params.get("cursor", "")
        if not cursor:
            raise Problem(400, "cursor.missing", "Give the cursor: POST to this address answers with one.")
        return await asyncio.to_thread(self._page, request.state.account, cursor)

    async def profile(self, request: Request) -> Response:
        """One user's profile, what the user has done, and when."""
        given = [(name, request.query_params[name]) for name in _LOOK_UPS if request.query_params.get(name)]
        if len(given) != 1:
            raise Problem(400, "profile.query", f"Give exactly one of {', '.join(_LOOK_UPS)}.")
        return await asyncio.to_thread(self._profile, request.state.account, *given[0])

    def _begun(self, account: str, query: EventQuery, size: int) -> Response:
        reading = Reading(self._lookups.version(account), query, size, Place())
        return _json(cursor_answer(self._signed(account, reading)))

    def _page(self, account: str, cursor: str) -> Response:
        reading = self._signer().opened(account, cursor, now=self._app.now())
        if reading.version is None:
            return _json(events_answer(pl.DataFrame(), None))
        events, place = self._lookups.event_page(account, reading.version, reading.query, reading.place, reading.size)
        following = None if place is None else self._signed(account, replace(reading, place=place))
        return _json(events_answer(events, following))

    def _profile(self, account: str, name: str, value: str) -> Response:
        column, user = name, value
        if name == "email":
            profile = self._lookups.profile_by_email(account, value)
            named = [(each, str(profile[each])) for each in USER_COLUMNS if each in profile] if profile else []
            column, user = named[0] if named else ("identity", "")
        else:
            profile = self._lookups.profile(account, column, user)
        summary = self._lookups.event_summary(account, column, user) if user else []
        if profile is None and not summary:
            raise Problem(404, 404, "Profile not found")
        return _json(profile_answer(profile or {column: user}, summary))

    def _signed(self, account: str, reading: Reading) -> str:
        return self._signer().made(account, reading, now=self._app.now())

    def _signer(self) -> Cursors:
        if self._cursors is None:
            self._cursors = Cursors(
                open_cursor_key(self._app), lasts=timedelta(seconds=self._app.settings.lake.cursor_s)
            )
        return self._cursors


def _answering(endpoint: Endpoint) -> Endpoint:
    """The endpoint with our errors as problems: their texts are for senders, and everything else stays in the log."""

    @wraps(endpoint)
    async def answering(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Problem:
            raise
        except Exception as error:
            raise _problem(error, request.state.account) from error

    return answering


def _problem(error: Exception, account: str) -> Problem:
    code, consequence = code_of(error), after(error)
    if consequence.next is Next.HOLD:
        _log.error("request_failed", action="request_failed", account=account, code=code, detail=cause_of(error))
        return Problem(500, OUR_FAULT, "Something went wrong on our side. The operator was told.")
    if consequence.next is Next.DEFER:
        _log.warning("request_deferred", action="request_deferred", account=account, code=code, detail=cause_of(error))
        return Problem(503, code, f"{public_of(error)} Send the request again.", _RETRY_AFTER)
    return Problem(_STATUS.get(code, 400), code, f"{public_of(error)} {consequence.remedy}")


def _flag(request: Request, name: str) -> bool:
    said = request.query_params.get(name, "0")
    if said not in ("0", "1"):
        raise Problem(400, "query.invalid", f"{name} is 1 or 0.")
    return said == "1"


def _idempotency_key(request: Request) -> str | None:
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) > 1 or not 0 < len(keys[0]) <= _MOST_KEY_CHARS or not (keys[0].isascii() and keys[0].isprintable()):
        raise Problem(
            400, "idempotency.key_invalid", f"Idempotency-Key has 1 to {_MOST_KEY_CHARS} printable ASCII characters."
        )
    return keys[0]


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")

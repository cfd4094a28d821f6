"""How much a source and an account may ask, and from where an account may come. Counted in this process."""

from __future__ import annotations

from collections import Counter

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from ingest.addresses import read_addresses, source_of
from ingest.http.authentication import Caller, Peer, too_many
from ingest.http.buckets import Buckets
from ingest.http.problems import Problem
from ingest.http.scopes import SCOPES, Scope
from ingest.http.settings import HttpSettings

_BURST_S = 2  # a burst is as much as may come in this time


class SourceLimit:
    """Refuses requests of a source that sends too many, before anything is done for one."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self._app = app
        self._exempt = read_addresses(settings.exempt_sources)
        self._requests = Buckets(settings.source_requests_per_s, settings.source_requests_per_s * _BURST_S)

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Count the request."""
        address = Peer.of(connection).address
        if not self._exempt.matches(address) and (wait_s := self._requests.take(source_of(address))) > 0:
            raise too_many("limit.source_rate", "Too many requests come from this address.", wait_s)
        await self._app(connection, receive, send)


class AccountLimits:
    """Holds an account to its rate, to so many requests at once, and to the addresses that it may come from."""

    def __init__(self, app: ASGIApp, settings: HttpSettings) -> None:
        self._app = app
        self._settings = settings
        self._requests = Buckets(settings.account_requests_per_s, settings.account_requests_per_s * _BURST_S)
        self._running: Counter[tuple[str, bool]] = Counter()

    async def __call__(self, connection: Connection, receive: Receive, send: Send) -> None:
        """Count the request until its answer is complete."""
        caller: Caller | None = connection["state"].get("caller")
        if caller is None:
            await self._app(connection, receive, send)
            return
        account = caller.access.account
        if (wait_s := self._requests.take(account)) > 0:
            raise too_many("limit.account_rate", "This account sends too many requests.", wait_s)
        is_upload = SCOPES[connection["path"], connection["method"]] is Scope.UPLOAD
        most = self._settings.max_uploads if is_upload else self._settings.max_reads
        kind = account, is_upload
        if self._running[kind] >= most:
            what = "uploads" if is_upload else "requests"
            raise too_many("limit.concurrency", f"This account has {most} {what} running, which is the limit.", 0)
        self._running[kind] += 1
        try:
            _check_source(caller, Peer.of(connection).address)
            await self._app(connection, receive, send)
        finally:
            self._running[kind] -= 1
            if not self._running[kind]:
                del self._running[kind]


def _check_source(caller: Caller, address: str) -> None:
    sources = caller.access.sources
    if sources is not None and not read_addresses(sources).matches(address):
        raise Problem(
            403,
            "auth.source",
            "This account may not be used from this address. Come from one that whoever runs this service allows.",
        )

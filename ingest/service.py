"""The service: all parts on one event loop, or only one of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from enum import StrEnum

import structlog

from ingest.app import App
from ingest.door.server import Door
from ingest.expiry import look_at_keys
from ingest.ledger import audit
from ingest.ledger.ssh_keys import Access
from ingest.notices.deliver import deliver_due
from ingest.notices.mailer import Mailer
from ingest.outcomes import cause_of
from ingest.settings import Settings
from ingest.steps.collect import Collector
from ingest.watch import watch
from ingest.workers import Workers
from keystore.openpgp import sweep_homes
from stores.errors import StoreError

_DRAIN_S = 20.0
_LOOK_AT_KEYS_S = 3600.0

_log = structlog.get_logger()


class Part(StrEnum):
    """A part of the service that can run alone."""

    DOOR = "door"
    WORKER = "worker"
    NOTICES = "notices"


class Service:
    """The running service; ``port`` is the door's once it is open."""

    def __init__(self, app: App, parts: frozenset[Part] = frozenset(Part)) -> None:
        self._app = app
        self._parts = parts
        self._stop = asyncio.Event()
        self._mail_due = asyncio.Event()
        self._workers = Workers(app.settings, app.held_keys, on_settled=self._mail_due.set)
        self._door: Door | None = None
        self.port: int | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the parts, and at the end of the block stop them in order: the door first, then what works.

        Raises what the vault and the door raise at their start; then nothing runs.
        """
        app = self._app
        await asyncio.to_thread(_prepare, app)
        async with contextlib.AsyncExitStack() as stack:
            if Part.NOTICES in self._parts:
                stack.push_async_callback(_cancelled, asyncio.create_task(self._look_at_keys()))
            if Part.NOTICES in self._parts and app.settings.mail.host:
                stack.push_async_callback(_cancelled, asyncio.create_task(self._deliver()))
            if Part.WORKER in self._parts:
                await self._workers.start()
                stack.push_async_callback(self._workers.stop, _DRAIN_S)
            if Part.DOOR in self._parts:
                await self._open_door(stack)
            try:
                yield
            finally:
                self._stop.set()

    async def reload(self, settings: Settings) -> None:
        """Give the door other settings and host keys, for the connections that come from now on.

        Raises as `Door.reload`; the other parts keep what they were started with.
        """
        if self._door is not None:
            await self._door.reload(settings.door)

    async def _open_door(self, stack: contextlib.AsyncExitStack) -> None:
        app = self._app
        collector = Collector(
            app.spool,
            app.imports,
            now=app.now,
            on_ready=self._on_ready(asyncio.get_running_loop()),
            settle_s=app.settings.watch.rescan_s,
        )

        async def published(account: str, name: str) -> None:
            """The file is durable and complete: what fails now is made good by the next scan, not by the client."""
            try:
                await asyncio.to_thread(collector.published, account, name)
            except Exception as error:
                _log.error("collect_failed", action="collect_failed", account=account, detail=cause_of(error))

        door = Door(app.settings.door, app.spool, accesses=self._access, published=published, now=app.now)
        await door.start()
        self._door, self.port = door, door.port
        _log.info("door_open", action="door_open", port=door.port)
        watching = asyncio.create_task(watch(app.settings.watch, app.spool, app.accounts, collector, self._stop))
        stack.push_async_callback(_cancelled, watching)
        stack.push_async_callback(door.drain, app.settings.door.drain_s)

    def _on_ready(self, loop: asyncio.AbstractEventLoop) -> Callable[[str], None]:
        """What a thread calls when an import is ready."""

        def on_ready(_import_id: str) -> None:
            loop.call_soon_threadsafe(self._workers.nudge)

        return on_ready

    async def _access(self, account: str) -> Access | None:
        return await asyncio.to_thread(self._app.ssh_keys.access, account)

    async def _deliver(self) -> None:
        """Send what is due, at once when a worker has settled something, else every few seconds."""
        mailer = Mailer(self._app.settings.mail)
        while True:
            self._mail_due.clear()
            try:
                await deliver_due(self._app.outbox, mailer, self._app.settings.mail, self._app.now)
            except Exception as error:  # mail goes on when this has passed
                _log.error("outbox_unavailable", action="outbox_unavailable", detail=cause_of(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._app.settings.mail.poll_s):
                    await self._mail_due.wait()

    async def _look_at_keys(self) -> None:
        """Retire key pairs and tell of those that end soon, at the start and then every hour."""
        app = self._app
        while True:
            try:
                if await asyncio.to_thread(look_at_keys, app.accounts, app.pgp_keys, app.outbox, app.now()):
                    self._mail_due.set()
            except Exception as error:  # a look that ended for good would be missed by nobody
                _log.error("keys_not_looked_at", action="keys_not_looked_at", detail=cause_of(error))
            await asyncio.sleep(_LOOK_AT_KEYS_S)


def _prepare(app: App) -> None:
    """Everything that must be right before anything runs."""
    app.database.migrate()
    audit.start_key(app.database, app.open_vault(), at=app.now())
    app.spool.prepare()
    if (homes := sweep_homes()) > 0:  # with private keys in them, left by workers that were killed
        _log.warning("gpg_homes_swept", action="gpg_homes_swept", homes=homes)
    for account in app.accounts.all():
        try:
            for set_aside in app.lake.recover(account.id):
                _log.warning("lake_entry_set_aside", action="lake_entry_set_aside", entry=set_aside)
        except StoreError as error:  # that account's imports will be held; the others go on
            _log.error("lake_damaged", action="lake_damaged", account=account.id, detail=error.detail)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

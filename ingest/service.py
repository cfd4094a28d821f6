"""The service: all parts on one event loop, or only one of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

import structlog

from ingest.app import App
from ingest.door.server import Door
from ingest.expiry import look_at_keys
from ingest.http.errors import NotConfigured
from ingest.ledger import audit
from ingest.ledger.ssh_keys import Access
from ingest.lonely_files import LonelyFiles
from ingest.notices.deliver import Courier, deliver_due
from ingest.notices.mailer import Mailer
from ingest.notices.notice import Channel
from ingest.notices.places import AT_ONCE, Places
from ingest.notices.webhook import WebhookCourier
from ingest.outcomes import cause_of
from ingest.recovery import recover
from ingest.retention import sweep
from ingest.settings import Settings
from ingest.steps.collect import Collector
from ingest.still_running import look_at_imports
from ingest.watch import watch
from ingest.webhook_custody import target_of
from ingest.workers import Workers

if TYPE_CHECKING:
    from ingest.http.server import HttpApi

_LOOK_AT_KEYS_S = 3600.0
_SWEEP_S = 3600.0
_LOOK_AT_IMPORTS_S = 60.0

_log = structlog.get_logger()


class Part(StrEnum):
    """A part of the service that can run alone."""

    DOOR = "door"
    WORKER = "worker"
    NOTICES = "notices"
    HTTP = "http"


class Service:
    """The running service; ``port`` is the door's once it is open, ``http_port`` that of the HTTP API."""

    def __init__(self, app: App, parts: frozenset[Part] = frozenset(Part)) -> None:
        self._app = app
        self._parts = parts
        self._stop = asyncio.Event()
        self._mail_due = asyncio.Event()
        self._workers = Workers(app.settings, app.held_keys, on_settled=self._mail_due.set)
        self._door: Door | None = None
        self._http: HttpApi | None = None
        self.port: int | None = None
        self.http_port: int | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the parts, and at the end of the block stop them in order: the door first, then what works.

        Raises what the vault, the door and the HTTP API raise at their start; then nothing runs.
        """
        app = self._app
        if self._parts == {Part.HTTP} and not app.settings.http.enabled:
            raise NotConfigured(
                "There is nothing to serve: the HTTP API is off without a certificate. Set `certificate_file` and "
                "`key_file` in [http], or `allow_plain` for a try on this machine."
            )
        await asyncio.to_thread(_prepare, app, stores=Part.WORKER in self._parts)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(_cancelled, asyncio.create_task(self._sweep()))
            if Part.NOTICES in self._parts:
                for work in (self._look_at_keys(), self._look_at_imports(), self._deliver()):
                    stack.push_async_callback(_cancelled, asyncio.create_task(work))
            if Part.WORKER in self._parts:
                await self._workers.start()
                stack.push_async_callback(self._workers.stop, app.settings.worker.drain_s)
            if Part.HTTP in self._parts and app.settings.http.enabled:
                await self._open_http(stack)
            if Part.DOOR in self._parts:
                await self._open_door(stack)
            try:
                yield
            finally:
                self._stop.set()

    async def reload(self, settings: Settings) -> None:
        """Give the door other settings and host keys, and the HTTP API another certificate, for new connections.

        Raises as `Door.reload` and `HttpApi.reload`; the other parts keep what they were started with.
        """
        if self._door is not None:
            await self._door.reload(settings.door)
        if self._http is not None:
            await self._http.reload(settings.http)

    async def _open_http(self, stack: contextlib.AsyncExitStack) -> None:
        # what it needs is loaded only where it runs
        from ingest.http.data_routes import data_routes
        from ingest.http.server import HttpApi
        from ingest.uploads.intake import Intake

        intake = Intake(self._app.settings.uploads, self._app.batches)
        stack.push_async_callback(intake.close)
        http = HttpApi(self._app, data_routes(self._app, intake))
        await stack.enter_async_context(http.running())
        self._http, self.http_port = http, http.port

    async def _open_door(self, stack: contextlib.AsyncExitStack) -> None:
        app, loop = self._app, asyncio.get_running_loop()
        collector = Collector(
            app.spool,
            app.imports,
            now=app.now,
            on_ready=self._on_ready(loop),
            settle_s=app.settings.watch.rescan_s,
        )

        async def published(account: str, name: str) -> None:
            """The file is durable and complete: what fails now is made good by the next scan, not by the client."""
            try:
                await asyncio.to_thread(collector.published, account, name)
            except Exception as error:
                _log.error("collect_failed", action="collect_failed", account=account, detail=cause_of(error))

        door = Door(
            app.settings.door, app.spool, accesses=self._accesses, published=published, disk=app.disk, now=app.now
        )
        await door.start()
        self._door, self.port = door, door.port
        _log.info("door_open", action="door_open", port=door.port)
        lonely_files = LonelyFiles(
            app.outbox,
            after=timedelta(seconds=app.settings.notices.waiting_file_s),
            now=app.now,
            on_told=partial(loop.call_soon_threadsafe, self._mail_due.set),
        )
        watching = asyncio.create_task(
            watch(app.settings.watch, app.spool, app.accounts, collector, lonely_files, self._stop)
        )
        stack.push_async_callback(_cancelled, watching)
        stack.push_async_callback(door.drain, app.settings.door.drain_s)

    def _on_ready(self, loop: asyncio.AbstractEventLoop) -> Callable[[str], None]:
        """What a thread calls when an import is ready."""

        def on_ready(_import_id: str) -> None:
            loop.call_soon_threadsafe(self._workers.nudge)

        return on_ready

    async def _accesses(self, accounts: Collection[str]) -> dict[str, Access]:
        return await asyncio.to_thread(self._app.ssh_keys.accesses, accounts)

    async def _deliver(self) -> None:
        """Send what is due, at once when a worker has settled something, else every few seconds."""
        app = self._app
        couriers: dict[Channel, Courier] = {
            Channel.WEBHOOK: WebhookCourier(
                app.settings.webhook, lambda account: asyncio.to_thread(target_of, app, account)
            )
        }
        if app.settings.mail.host:
            couriers[Channel.MAIL] = Mailer(app.settings.mail)
        async with asyncio.TaskGroup() as channels:
            for channel, courier in couriers.items():
                channels.create_task(self._deliver_by(channel, courier))

    async def _deliver_by(self, channel: Channel, courier: Courier) -> None:
        """Send what is due by one channel; a delivery that hangs holds its own place, and no later round."""
        places, rounds = Places(), set[asyncio.Task[None]]()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._mail_due.clear()
                if not places.taken and len(rounds) < AT_ONCE:
                    round_ = tasks.create_task(self._deliver_once({channel: courier}, places))
                    rounds.add(round_)
                    round_.add_done_callback(rounds.discard)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._app.settings.mail.poll_s):
                        await self._mail_due.wait()

    async def _deliver_once(self, couriers: dict[Channel, Courier], places: Places) -> None:
        app = self._app
        try:
            await deliver_due(app.outbox, couriers, app.settings, app.now, places)
        except Exception as error:  # mail goes on when this has passed
            _log.error("outbox_unavailable", action="outbox_unavailable", detail=cause_of(error))

    async def _look_at_keys(self) -> None:
        """Retire key pairs and tell of those that end soon, every hour; by no clock that has just jumped."""
        app = self._app
        while True:
            try:
                if await asyncio.to_thread(app.sweeps.distrusted_until, app.now()) is None:
                    new = await asyncio.to_thread(look_at_keys, app.accounts, app.pgp_keys, app.outbox, app.now())
                    if new:
                        self._mail_due.set()
            except Exception as error:  # a look that ended for good would be missed by nobody
                _log.error("keys_not_looked_at", action="keys_not_looked_at", detail=cause_of(error))
            await asyncio.sleep(_LOOK_AT_KEYS_S)

    async def _sweep(self) -> None:
        """Remove what is older than it has to be, at the start and then every hour."""
        while True:
            try:
                await asyncio.to_thread(sweep, self._app)
            except Exception as error:  # the next one may go through
                _log.error("not_swept", action="not_swept", detail=cause_of(error))
            await asyncio.sleep(_SWEEP_S)

    async def _look_at_imports(self) -> None:
        """Tell of imports that take long."""
        app = self._app
        every = timedelta(seconds=app.settings.notices.still_running_s)
        while True:
            try:
                if await asyncio.to_thread(look_at_imports, app.imports, app.accounts, app.outbox, every, app.now()):
                    self._mail_due.set()
            except Exception as error:  # as above
                _log.error("imports_not_looked_at", action="imports_not_looked_at", detail=cause_of(error))
            await asyncio.sleep(min(_LOOK_AT_IMPORTS_S, every.total_seconds()))


def _prepare(app: App, *, stores: bool) -> None:
    """Everything that must be right before anything runs; recovery only where this process is one that ``stores``."""
    app.database.migrate()
    audit.start_key(app.database, app.open_vault(), at=app.now())
    app.spool.prepare()
    if stores:
        recover(app)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

"""The watcher goes on whatever is wrong with one drop, and the service starts whatever is wrong with one table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ingest.lonely_files import LonelyFiles
from ingest.service import Part, Service
from ingest.settings import WatchSettings
from ingest.states import State
from ingest.steps.collect import Collector
from ingest.watch import watch
from tests.support.served import wait_for
from tests.support.workshop import ACCOUNT, Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.app.close()


@asynccontextmanager
async def watched(workshop: Workshop) -> AsyncIterator[asyncio.Event]:
    """A watcher of the workshop's drops; the event is set when an import is ready."""
    app = workshop.app
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_ready(_import_id: str) -> None:
        loop.call_soon_threadsafe(ready.set)

    collector = Collector(
        app.spool,
        app.imports,
        now=app.now,
        on_ready=on_ready,
        settle_s=0.1,
    )
    stop = asyncio.Event()
    lonely_files = LonelyFiles(app.outbox, after=timedelta(hours=1), now=app.now, on_told=lambda: None)
    settings = WatchSettings(rescan_s=0.1)
    watching = asyncio.create_task(watch(settings, app.spool, app.accounts, collector, lonely_files, stop))
    yield ready
    stop.set()
    await watching


async def test_one_broken_drop_keeps_no_other_from_being_scanned(workshop: Workshop) -> None:
    app = workshop.app
    app.accounts.add("a-broken-one", now=workshop.now, actor="test")
    app.spool.drop("a-broken-one").write_text("not a folder")
    (app.spool.drop(ACCOUNT) / "broken.manifest").write_text("{")
    async with watched(workshop) as ready, asyncio.timeout(20):
        await ready.wait()
    (report,) = app.imports.newest()
    assert (report.account, report.state) == (ACCOUNT, State.READY)


async def test_watcher_outlives_a_ledger_that_is_no_ledger_for_a_moment(workshop: Workshop) -> None:
    """FAULTS W5, W17: a backup is copied into its place while the service runs."""
    ledger = workshop.settings.data_dir / "ledger.db"
    good = ledger.read_bytes()
    (workshop.app.spool.drop(ACCOUNT) / "broken.manifest").write_text("{")
    ledger.write_bytes(bytes(1000) + good[1000:])
    with capture_logs() as logs:
        async with watched(workshop) as ready, asyncio.timeout(20):
            await asyncio.to_thread(wait_for, lambda: any(r["action"] == "ledger_unavailable" for r in logs) or None)
            workshop.app.close()
            ledger.write_bytes(good)
            await ready.wait()
    assert [report.state for report in workshop.app.imports.newest()] == [State.READY]


async def test_one_damaged_table_keeps_no_other_account_from_being_served(workshop: Workshop) -> None:
    workshop.received("identity\nu1\n")
    workshop.carried_out()
    workshop.received("identity\nu2\n")
    workshop.carried_out()
    log = workshop.settings.lake_dir / ACCOUNT / "profiles" / "_delta_log"
    sorted(log.glob("*.json"))[1].write_text("damaged")
    async with Service(workshop.app, frozenset({Part.NOTICES})).running():
        pass
    workshop.received("identity\nu3\n")
    assert workshop.carried_out().state in (State.HELD, State.DEFERRED)

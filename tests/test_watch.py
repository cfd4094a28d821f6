"""The watcher goes on whatever is wrong with one drop, and the service starts whatever is wrong with one table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ingest.lonely_files import LonelyFiles
from ingest.service import Part, Service
from ingest.settings import WatchSettings
from ingest.states import State
from ingest.steps.collect import Collector
from ingest.watch import watch
from tests.support.workshop import ACCOUNT, Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.app.close()


async def test_one_broken_drop_keeps_no_other_from_being_scanned(workshop: Workshop) -> None:
    app = workshop.app
    app.accounts.add("a-broken-one", now=workshop.now, actor="test")
    app.spool.drop("a-broken-one").write_text("not a folder")
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
    (app.spool.drop(ACCOUNT) / "broken.manifest").write_text("{")
    stop = asyncio.Event()
    lonely_files = LonelyFiles(app.outbox, after=timedelta(hours=1), now=app.now, on_told=lambda: None)
    settings = WatchSettings(rescan_s=0.1)
    watching = asyncio.create_task(watch(settings, app.spool, app.accounts, collector, lonely_files, stop))
    async with asyncio.timeout(20):
        await ready.wait()
    stop.set()
    await watching
    (report,) = app.imports.newest()
    assert (report.account, report.state) == (ACCOUNT, State.READY)


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

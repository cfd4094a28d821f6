"""The watcher: looks into the drops for files that did not come through the door.

The scan every few seconds is the truth; watchfiles is only a hint that makes it happen earlier (FAULTS.md W9: hints
get lost).
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from watchfiles import awatch

from ingest.ledger.accounts import Accounts
from ingest.lonely_files import LonelyFiles
from ingest.outcomes import cause_of
from ingest.settings import WatchSettings
from ingest.spool import Spool
from ingest.steps.collect import Collector

_log = structlog.get_logger()


async def watch(
    settings: WatchSettings,
    spool: Spool,
    accounts: Accounts,
    collector: Collector,
    lonely_files: LonelyFiles,
    stop: asyncio.Event,
) -> None:
    """Scan until ``stop`` is set."""
    hinted = asyncio.Event()
    hints = asyncio.create_task(_listen(spool, hinted, stop) if settings.inotify else stop.wait())
    try:
        while not stop.is_set():
            await asyncio.to_thread(_scan, spool, accounts, collector, lonely_files)
            hinted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.rescan_s):
                    await hinted.wait()
    finally:
        hints.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hints


def _scan(spool: Spool, accounts: Accounts, collector: Collector, lonely_files: LonelyFiles) -> None:
    """One look into every drop; whatever is wrong with one keeps no other from being looked into."""
    try:
        all_accounts = accounts.all()
    except Exception as error:  # as below; a ledger that is being put back may be anything for a moment
        _log.warning("ledger_unavailable", action="ledger_unavailable", detail=cause_of(error))
        return
    for account in all_accounts:
        try:
            spool.open_account(account.id)
            lonely_files.look(account, collector.scan(account.id))
        except Exception as error:  # a watcher that ended would be missed by nobody
            _log.error("drop_not_scanned", action="drop_not_scanned", account=account.id, detail=cause_of(error))


async def _listen(spool: Spool, hinted: asyncio.Event, stop: asyncio.Event) -> None:
    try:
        async for _ in awatch(spool.drops, stop_event=stop, debounce=200, recursive=True):
            hinted.set()
    except (OSError, RuntimeError) as error:  # no inotify here, or no watch left: the scans go on
        _log.warning("watch_unavailable", action="watch_unavailable", error=str(error))
    finally:
        if stop.is_set():
            hinted.set()

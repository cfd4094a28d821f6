"""One round: all files are sent, a process dies at its failpoint, and whatever must go on by itself goes on to the end.

Time is helped along at one place only: a notice that a dead process had claimed is due at once, not ten minutes later.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from deltalake import DeltaTable
from sqlalchemy import func, select, update

from ingest.ledger.tables import imports, notices
from ingest.states import ENDS
from manifests.types import ImportType
from tests.crash.power import Disk
from tests.crash.sender import Sender
from tests.crash.site import Site
from tests.crash.verdict import Stored, Verdict, Watch, judge, stored
from tests.crash.workload import ITEMS, Template

WAIT_S = 120.0
_PAUSE_S = 0.04
_CHECKPOINT_EVERY = 20

Loss = Callable[[], None]
"""Takes away what a loss of power takes; every process of the site is dead."""


@dataclass(frozen=True)
class Round:
    """How a round went: whether its failpoint was passed, and what is wrong."""

    passed: bool
    verdict: Verdict
    resent: int


async def run_round(
    site: Site, tag: str, reference: dict[str, Stored], *, at: int = 1, loss: Loss | None = None
) -> Round:
    """Send everything over a death at the ``at``-th passing of the site's failpoint, and judge what is there then.

    With ``loss`` all processes die with the first.
    """
    if loss is None:
        make_room(site)
    site.count_anew(skip=site.ACTS_AT - at)
    sender = Sender(site, tag)
    with Watch(site) as watch:
        async with asyncio.timeout(WAIT_S):
            attending = asyncio.create_task(_attend(site, watch, loss))
            work = asyncio.create_task(_send_and_wait(site, sender, tag))
            await asyncio.wait((attending, work), return_when=asyncio.FIRST_COMPLETED)
            attending.cancel()
            work.cancel()
            ended = await asyncio.gather(attending, work, return_exceptions=True)
        for each in ended:
            if isinstance(each, Exception):
                raise each
    return Round(site.has_acted(), judge(site, tag, reference, watch), sender.resent)


async def run_round_without_power(site: Site, reference: dict[str, Stored], *, at: int = 1) -> Round:
    """A round in which the power goes at the ``at``-th passing of the site's failpoint; the site is not open yet."""
    make_room(site)
    disk = Disk(site.folder / "data", site.folder / "durable")
    site.set_environment(**disk.environment)
    await site.open()
    try:
        return await run_round(site, "round", reference, at=at, loss=disk.lose)
    finally:
        await site.close()


async def refer(site: Site) -> dict[str, Stored]:
    """Send everything without a death; what is stored then is what has to be stored after one."""
    await _send_and_wait(site, Sender(site, "before"), "before")
    return stored(site, "before")


async def _send_and_wait(site: Site, sender: Sender, tag: str) -> None:
    await sender.send_all()
    while not is_over(site, tag):
        site.go_on()
        await asyncio.sleep(_PAUSE_S)


async def _attend(site: Site, watch: Watch, loss: Loss | None) -> None:
    """Start again what has died, and with ``loss`` let everything die as soon as something has."""
    while True:
        if loss is not None and site.has_acted():
            with watch.without_looks():
                site.kill()
                loss()
            site.database.close()  # it would go on with the files that were there before
            loss = None
            await site.start()
            bring_notices_forward(site)
        elif await site.mend():
            bring_notices_forward(site)
        await asyncio.sleep(_PAUSE_S)


def is_over(site: Site, tag: str) -> bool:
    """Whether all imports of the round are over, and all notices sent."""
    ours = imports.c.manifest.startswith(f"{tag}-")
    with site.database.read() as connection:
        there = connection.scalar(select(func.count()).where(ours, imports.c.state.in_(ENDS))) or 0
        unfinished = connection.scalar(select(func.count()).where(ours, imports.c.state.not_in(ENDS))) or 0
        unsent = connection.scalar(select(func.count()).where(notices.c.state == "pending")) or 0
    return there >= len(ITEMS) and not unfinished and not unsent


def bring_notices_forward(site: Site) -> None:
    """Let the time pass after which another process may have the notices that a dead one had claimed."""
    with site.database.write() as connection:
        connection.execute(
            update(notices).where(notices.c.state == "pending").values(next_attempt_at=datetime.now(UTC))
        )


def make_room(site: Site) -> None:
    """Before a round: ``blank`` has no table; when a checkpoint is wanted, the next import of ``acme`` writes one."""
    shutil.rmtree(site.folder / "data" / "lake" / "blank", ignore_errors=True)
    if not str(site.point).startswith("lake.checkpoint"):
        return
    folder = site.lake.folder("acme", ImportType.EVENT)
    while DeltaTable(folder).version() % _CHECKPOINT_EVERY != _CHECKPOINT_EVERY - 1:
        DeltaTable(folder).alter.set_table_properties({"delta.targetFileSize": "104857600"})


def keep_as_template(site: Site, folder: Path) -> Template:
    """A template that has the site's past: accounts with tables, imports and notices. The site is closed."""
    shutil.copytree(site.template.folder, folder, ignore=shutil.ignore_patterns("installation", "gpg"))
    shutil.copytree(site.folder, folder / "installation", ignore=shutil.ignore_patterns("log", "passed"))
    return Template(folder, site.template.key_ids, site.ledger)

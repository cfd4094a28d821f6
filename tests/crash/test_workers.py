"""Real worker processes over one queue: a crowd, one that was stopped and comes back, one import that kills each."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import psutil

from failpoints import Action
from ingest.ledger.deliveries import Deliveries
from ingest.ledger.imports import Imports
from keystore.pgp_encrypt import encrypt_to
from tests.crash.conftest import Ground
from tests.crash.round_trip import is_over, run_round
from tests.crash.sender import Sender
from tests.crash.site import Forked, Nursery, Served, wait_until
from tests.crash.verdict import Watch, judge
from tests.crash.workload import ITEMS, Item, Template

POISON = Item(
    "poison",
    "acme",
    "identity,note\n" + "".join(f"u{n},{'x' * 60}\n" for n in range(3500)),  # some sixty chunks
    {"type": "profile"},
)


# no heartbeat before the worker stops: one that stops while it writes to the ledger keeps SQLite's lock
_CALM = {"SEALDROP_WORKER__LEASE_S": "5"}


class Crowded(Forked):
    """Several workers that all look by themselves, and share the failpoint: it acts in one of them."""

    action = Action.PAUSE

    def __init__(
        self, crowd: int, nursery: Nursery, template: Template, folder: Path, point: str, **environment: str
    ) -> None:
        super().__init__(nursery, template, folder, point, **environment)
        self._crowd = crowd
        self.workers: list[int] = []

    async def start(self) -> None:
        await super().start()
        self.workers = [self.fork("worker", armed=True) for _ in range(self._crowd)]

    def kill(self) -> None:
        super().kill()
        for pid in self.workers:
            self.end(pid)

    async def aim(self, point: str) -> None:
        """All have it from the start."""

    def go_on(self) -> None:
        """They do."""

    def stopped(self) -> list[int]:
        return [pid for pid in self.workers if psutil.Process(pid).status() == psutil.STATUS_STOPPED]


async def test_worker_stopped_past_its_lease_changes_nothing_when_it_comes_back(ground: Ground, tmp_path: Path) -> None:
    """FAULTS.md W2: SIGSTOP before and after the commit, another finishes, SIGCONT: one commit, verdict and mail."""
    await asyncio.gather(
        *(
            _stop_and_continue(
                Crowded(crowd, ground.nursery, ground.template, tmp_path / point, point, **_CALM), ground
            )
            for crowd, point in ((8, "map.chunk"), (3, "lake.file_durable"), (2, "lake.committed"))
        )
    )


async def _stop_and_continue(site: Crowded, ground: Ground) -> None:
    await site.open()
    try:
        round_ = await run_round(site, "round", ground.reference)
        assert round_.passed
        assert round_.verdict.good, str(round_.verdict)
        (stopped,) = site.stopped()
        settled = len(site.records("import_settled"))
        os.kill(stopped, signal.SIGCONT)
        await wait_until(lambda: bool(site.records("import_lease_lost")), "the worker learns that it lost its lease")
        with Watch(site) as watch:
            verdict = judge(site, "round", ground.reference, watch)
        assert verdict.good, str(verdict)
        assert len(site.records("import_settled")) == settled
        await Sender(site, "after").send_all()  # the worker that came back is as good as the others
        await wait_until(lambda: is_over(site, "after"), "the next imports are over")
    finally:
        await site.close()


async def test_import_that_kills_each_worker_is_held_once_and_the_queue_goes_on(ground: Ground, tmp_path: Path) -> None:
    """FAULTS.md W4: the real service starts workers again; after so many lost ones there is one notice."""
    site = Served(
        ground.template,
        tmp_path / "site",
        None,
        # more chunks than all other files of the round have together
        SEALDROP_FAILPOINT="map.chunk:40",
        SEALDROP_WORKER__PROCESSES="1",
        SEALDROP_WORKER__MAX_LOST="2",
    )
    await site.open()
    try:
        sender = Sender(site, "round")
        await sender.send_more(POISON, encrypt_to(ground.template.public_key("acme"), POISON.content.encode()))
        await sender.send_all()

        def all_over() -> bool:
            states = Counter(r.state for r in Imports(site.database).newest() if r.manifest.startswith("round-"))
            return states == {"held": 1, "succeeded": len(ITEMS) - 1, "skipped": 1}

        await wait_until(all_over, "the poison is held and all others are over")
        (held,) = [r for r in Imports(site.database).newest(limit=10) if r.manifest == POISON.manifest_name("round")]
        assert (held.state, held.code, held.attempts, held.rows_stored) == ("held", "worker.lost", 3, 0)
        deaths = [record["exit_code"] for record in site.records("worker_ended")]
        assert deaths == [-signal.SIGKILL] * 2
        told = Deliveries(site.database).of_import(held.id)
        assert [delivery.stage for delivery in told] == ["picked_up", "failed"]
    finally:
        await site.close()

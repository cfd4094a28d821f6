"""Full disks: intake stops first, nothing is lost at any step, and all goes on by itself (FAULTS.md W12)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ingest.checks import run_checks
from ingest.disk import Disk
from ingest.errors import LedgerUnavailable
from ingest.ledger.queue import Lease, Queue
from ingest.settings import DiskSettings
from ingest.states import State
from manifests.types import ImportType
from tests.support.small_disk import SmallDisk, mounted
from tests.support.workshop import ACCOUNT, Workshop

MB = 1_000_000
CSV = "identity,score\n" + "".join(f"u{n},{n}\n" for n in range(20_000))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "data", megabytes=48) as disk:
        yield disk


@pytest.fixture
def workshop(small: SmallDisk) -> Iterator[Workshop]:
    disk = DiskSettings(min_free_bytes=20 * MB, min_free_inodes=100)
    workshop = Workshop(small.folder.parent, disk=disk)
    yield workshop
    workshop.app.close()


def test_marks_stop_uploads_first_then_imports_and_recover_with_a_tenth_more(small: SmallDisk) -> None:
    clock = Clock()
    disk = Disk(
        [small.folder, small.folder / "not made yet"],
        DiskSettings(min_free_bytes=20 * MB, min_free_inodes=0),
        monotonic=clock,
    )

    def looked(free: int) -> tuple[bool, bool]:
        small.fill(free=free)
        clock.now += 2
        disk.look()
        return disk.is_low, disk.is_lowest

    marks = [(25, (False, False)), (19, (True, False)), (9, (True, True)), (10.5, (True, True)), (12, (True, False))]
    marks += [(21, (True, False)), (23, (False, False))]
    assert [looked(int(free * MB)) for free, _ in marks] == [state for _, state in marks]


def test_few_inodes_count_like_few_bytes(tmp_path: Path) -> None:
    with mounted(tmp_path / "data", megabytes=16, inodes=60) as small:
        disk = Disk([small.folder], DiskSettings(min_free_bytes=0, min_free_inodes=40), monotonic=(clock := Clock()))
        disk.look()
        assert not disk.is_low
        for number in range(25):
            (small.folder / f"{number}").touch()
        clock.now += 2
        disk.look()
        assert (disk.is_low, disk.is_lowest) == (True, False)


def test_import_that_might_not_fit_is_deferred_and_comes_in_when_there_is_room(
    workshop: Workshop, small: SmallDisk
) -> None:
    import_id = workshop.received(CSV)
    small.fill(free=10 * MB + 1000)
    assert workshop.carried_out().state == State.DEFERRED
    report = workshop.report(import_id)
    assert (report.code, workshop.stages(import_id)) == ("disk.full", [])
    small.release()
    workshop.pass_time(minutes=11)
    assert workshop.carried_out().rows_stored == 20_000


def test_check_tells_that_uploads_are_refused(workshop: Workshop, small: SmallDisk) -> None:
    small.fill(free=15 * MB)
    (found,) = [finding for finding in run_checks(workshop.app) if finding.check == "disk"]
    assert found.verdict == "fail"
    assert "new uploads are refused" in found.text


class FullDiskQueue(Queue):
    """The disk is full from a certain call on, to the last byte."""

    fill: Callable[[], None]
    at: str

    def picked_up(self, *given: Any) -> None:
        super().picked_up(*given)
        if self.at == "load":
            self.fill()

    def settle(self, lease: Lease, *given: Any, while_held: Callable[[], None] = lambda: None) -> None:
        if self.at == "ledger":
            self.fill()

        def results() -> None:
            if self.at == "results":
                self.fill()
            while_held()

        super().settle(lease, *given, while_held=results)


@pytest.mark.parametrize("step", ["load", "ledger", "results"])
def test_disk_that_is_full_at_a_step_loses_and_doubles_nothing(workshop: Workshop, small: SmallDisk, step: str) -> None:
    import_id = workshop.received(CSV)
    queue = FullDiskQueue(workshop.app.database, lease=workshop.lease)
    made_room = threading.Timer(1.5, small.release)

    def fill() -> None:
        small.fill()
        made_room.start()

    queue.fill, queue.at = fill, step
    with suppress(LedgerUnavailable):
        workshop.carrier_with(queue).carry_out(workshop.claimed())
    made_room.join()
    assert workshop.app.spool.taken(import_id, "data").exists()
    assert workshop.report(import_id).state in (State.READY, State.DEFERRED, State.SUCCEEDED)
    workshop.pass_time(minutes=11)
    while workshop.report(import_id).state != State.SUCCEEDED:
        lease = workshop.claimed()
        assert lease.lost == 0
        workshop.app.carrier.carry_out(lease)
    assert workshop.app.lake.stored(ACCOUNT, ImportType.PROFILE, import_id) == 20_000
    assert workshop.stages(import_id) == ["picked_up", "succeeded"]


def test_full_ledger_hands_out_no_import_and_goes_on(workshop: Workshop, small: SmallDisk) -> None:
    """FAULTS.md W5: SQLITE_FULL."""
    import_id = workshop.received(CSV)
    small.fill()
    with pytest.raises(LedgerUnavailable):
        workshop.app.queue.claim(workshop.now)
    assert workshop.report(import_id).state == State.READY, "it can be read"
    small.release()
    assert workshop.carried_out().state == State.SUCCEEDED

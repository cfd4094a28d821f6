"""The look at imports that take long: one notice for each interval, whoever looks how often, until the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ingest.ledger.database import Database
from ingest.ledger.imports import Imports
from ingest.ledger.outbox import Outbox
from ingest.ledger.queue import Lease
from ingest.states import State
from ingest.still_running import look_at_imports
from tests.notices.desk import NoticeDesk
from tests.notices.relay import Relay, running

EVERY = timedelta(hours=2)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[NoticeDesk]:
    desk = NoticeDesk(tmp_path)
    yield desk
    desk.close()


def look(desk: NoticeDesk) -> int:
    return look_at_imports(desk.imports, desk.accounts, desk.outbox, EVERY, desk.now)


def told(desk: NoticeDesk) -> list[str]:
    """The states of the notices that say that an import is still running."""
    return [one.state for one in desk.all() if one.stage == "still_running"]


def claimed(desk: NoticeDesk) -> Lease:
    lease = desk.queue.claim(desk.now)
    assert lease is not None
    return lease


@pytest.mark.parametrize("state", ["ready", "running", "deferred"])
def test_import_that_is_not_over_is_told_of_every_two_hours_from_its_receipt(desk: NoticeDesk, state: str) -> None:
    """CONTRACT 6."""
    desk.received()
    if state != "ready":
        lease = claimed(desk)
        if state == "deferred":
            later = desk.now + timedelta(days=3)
            desk.queue.defer(lease, desk.now, code="x", message="y", next_attempt_at=later, give_up_at=later)
    started, at = desk.now, []
    for _ in range(7 * 60):
        if look(desk):
            at.append(desk.now - started)
        desk.pass_time(minutes=1)
    assert at == [EVERY, EVERY * 2, EVERY * 3]


def test_looks_that_were_missed_are_made_good_by_one_notice(desk: NoticeDesk) -> None:
    """The service was down meanwhile, or has just been started again."""
    desk.received()
    desk.pass_time(hours=9)
    assert look(desk) == 1
    assert look(desk) == 0
    desk.pass_time(hours=1)
    assert look(desk) == 1


def test_clock_that_went_back_tells_nothing_again(desk: NoticeDesk) -> None:
    """FAULTS W8."""
    desk.received()
    desk.pass_time(hours=5)
    assert look(desk) == 1
    desk.pass_time(hours=-2)
    assert look(desk) == 0


def test_several_processes_tell_of_an_interval_once(desk: NoticeDesk) -> None:
    for _ in range(5):
        desk.received()
    desk.pass_time(hours=3)
    start = threading.Barrier(4)
    counts = []

    def process() -> None:
        database = Database(f"sqlite:///{desk.file}")
        start.wait()
        counts.append(look_at_imports(Imports(database), desk.accounts, Outbox(database), EVERY, desk.now))
        database.close()

    threads = [threading.Thread(target=process) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == len(told(desk)) == 5


def test_nothing_is_told_after_the_end(desk: NoticeDesk) -> None:
    for state in (State.SUCCEEDED, State.FAILED, State.HELD):
        desk.ended(state=state)
    desk.pass_time(days=2)
    assert look(desk) == 0


async def test_what_was_not_sent_before_the_end_is_taken_back(desk: NoticeDesk) -> None:
    """The relay was down: nobody reads that an import is still running after reading that it succeeded."""
    desk.received()
    for _ in range(2):
        desk.pass_time(hours=2)
        look(desk)
    lease = claimed(desk)
    async with running(Relay()) as relay:
        await desk.round(relay)
        assert told(desk) == ["sent", "sent"]
        desk.pass_time(hours=2)
        look(desk)
        desk.settle(lease, state=State.SUCCEEDED, client_email="ops@example.com")
        await desk.round(relay)
    assert told(desk) == ["sent", "sent", "withdrawn"]
    assert [one.state for one in desk.all() if one.stage == "succeeded"] == ["sent"]


def test_import_that_is_tried_again_counts_from_then(desk: NoticeDesk) -> None:
    report = desk.ended()
    desk.pass_time(days=3)
    assert desk.imports.retry(report.id, desk.now)
    assert look(desk) == 0
    desk.pass_time(hours=2)
    assert look(desk) == 1


def test_mail_says_how_long_it_has_been_and_why(desk: NoticeDesk) -> None:
    desk.received()
    desk.pass_time(hours=4, minutes=10)
    look(desk)
    (notice,) = desk.outbox.due(desk.now, 10)
    assert notice.occasion == 2
    assert "has not been read yet" in (notice.note or "")

"""The queue: claims, leases, fences, settling."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from ingest.errors import LeaseLost
from ingest.ledger.database import Database
from ingest.ledger.deliveries import Deliveries
from ingest.ledger.imports import Imports, new_import_id
from ingest.ledger.outbox import NewNotice, Outbox
from ingest.ledger.queue import Lease, Queue
from ingest.ledger.timeline import KEPT_FIRST, KEPT_LAST, Timeline
from ingest.notices.notice import Stage
from ingest.states import ENDS, MOVES, State
from tests.ledger.conftest import NOW

LEASE = timedelta(seconds=60)
NOTICE = NewNotice(Stage.SUCCEEDED, "data@acme.example", None)


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, lease=LEASE)


@pytest.fixture
def imports(database: Database) -> Imports:
    return Imports(database)


def new(imports: Imports) -> str:
    import_id = new_import_id(NOW)
    imports.receive(import_id, "acme", "users.manifest", "users.csv.asc", NOW)
    return import_id


def received(imports: Imports) -> str:
    import_id = new(imports)
    imports.ready(import_id, NOW)
    return import_id


def claimed(queue: Queue, at: timedelta = timedelta(0)) -> Lease:
    lease = queue.claim(NOW + at)
    assert lease is not None
    return lease


def test_moves_are_total() -> None:
    assert MOVES.keys() == set(State)
    assert all(MOVES[state] <= {State.READY, State.FAILED} for state in ENDS)


def test_ids_sort_by_time_of_receipt() -> None:
    ids = [new_import_id(NOW + timedelta(seconds=step)) for step in range(5)]
    assert ids == sorted(ids)


def test_received_import_waits_until_it_is_ready(queue: Queue, imports: Imports) -> None:
    import_id = new(imports)
    assert queue.claim(NOW) is None
    assert [one.id for one in imports.received("acme")] == [import_id]
    assert imports.received("other") == []
    imports.ready(import_id, NOW)
    assert claimed(queue).report.id == import_id
    assert imports.received("acme") == []


def test_oldest_comes_first_and_each_once(queue: Queue, imports: Imports) -> None:
    ids = [received(imports) for _ in range(3)]
    assert [claimed(queue).report.id for _ in ids] == ids
    assert queue.claim(NOW) is None


def test_twenty_claims_at_once_give_each_import_to_one(database: Database, imports: Imports) -> None:
    """FAULTS W2: double pickup."""
    ids = [received(imports) for _ in range(5)]
    taken: list[str] = []

    def take() -> None:
        lease = Queue(database, lease=LEASE).claim(NOW)
        if lease is not None:
            taken.append(lease.report.id)

    threads = [threading.Thread(target=take) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(ids)


def test_lost_worker_is_taken_over_and_can_settle_nothing(queue: Queue, imports: Imports, database: Database) -> None:
    """FAULTS W2: a worker stopped past its lease, another takes over, the first comes back."""
    received(imports)
    first = claimed(queue)
    assert queue.claim(NOW + LEASE / 2) is None
    second = claimed(queue, LEASE * 2)
    assert (second.report.id, second.report.attempts) == (first.report.id, 2)
    done = replace(first.report, state=State.SUCCEEDED, rows_stored=1)
    with pytest.raises(LeaseLost):
        queue.settle(first, done, [NOTICE], NOW)
    with pytest.raises(LeaseLost):
        queue.heartbeat(first, NOW)
    with pytest.raises(LeaseLost):
        queue.defer(first, NOW, code="x", message="y", next_attempt_at=NOW, give_up_at=NOW)
    assert Deliveries(database).of_import(first.report.id) == []
    queue.settle(second, replace(second.report, state=State.SUCCEEDED, rows_stored=1), [NOTICE], NOW)
    assert len(Deliveries(database).of_import(first.report.id)) == 1


def test_heartbeat_keeps_the_lease(queue: Queue, imports: Imports) -> None:
    received(imports)
    lease = claimed(queue)
    queue.heartbeat(lease, NOW + LEASE)
    assert queue.claim(NOW + LEASE * 1.5) is None


def test_settled_twice_settles_once(queue: Queue, imports: Imports) -> None:
    received(imports)
    lease = claimed(queue)
    queue.settle(lease, replace(lease.report, state=State.FAILED), [], NOW)
    with pytest.raises(LeaseLost):
        queue.settle(lease, replace(lease.report, state=State.SUCCEEDED), [], NOW)


def test_deferred_import_waits_for_its_time(queue: Queue, imports: Imports) -> None:
    received(imports)
    lease = claimed(queue)
    queue.defer(
        lease, NOW, code="store.unavailable", message="later", next_attempt_at=NOW + LEASE, give_up_at=NOW + LEASE
    )
    assert queue.claim(NOW + LEASE / 2) is None
    assert claimed(queue, LEASE).report.attempts == 2


def test_notice_of_a_stage_is_enqueued_once_for_each_address(
    queue: Queue, imports: Imports, database: Database
) -> None:
    received(imports)
    lease = claimed(queue)
    picked_up = NewNotice(Stage.PICKED_UP, "data@acme.example", "a line")
    queue.picked_up(lease, lease.report, [picked_up], NOW)
    again = claimed(queue, LEASE * 2)
    queue.picked_up(again, again.report, [picked_up], NOW)
    due = Outbox(database).due(NOW, 10)
    assert [(notice.stage, notice.note) for notice in due] == [(Stage.PICKED_UP, "a line")]


def test_report_survives_the_ledger(queue: Queue, imports: Imports) -> None:
    received(imports)
    lease = claimed(queue)
    report = replace(
        lease.report,
        state=State.SUCCEEDED,
        type="event",
        rows_read=10,
        rows_stored=9,
        rows_rejected=1,
        seconds={"load": 0.5},
        sha256="ab" * 32,
        bytes_plain=5_000_000_000,
        finished_at=NOW,
    )
    queue.settle(lease, report, [], NOW)
    assert imports.get(report.id) == report
    assert imports.newest(account="acme") == [report]
    assert imports.newest(account="other") == []


def test_whatever_a_refused_manifest_says_can_be_recorded(queue: Queue, imports: Imports) -> None:
    """FAULTS W4, W18: PostgreSQL refused it, so that such a manifest cost worker after worker, and nobody was told."""
    received(imports)
    lease = claimed(queue)
    said = replace(lease.report, data_file="x" * 300, client_email="a\0b@" + "x" * 300, column="sc\0ore")
    queue.settle(lease, replace(said, state=State.FAILED), [NOTICE], NOW)
    report = imports.get(lease.report.id)
    assert report is not None
    assert (report.state, report.data_file, report.column) == (
        State.FAILED,
        "x" * 128,
        "sc\N{REPLACEMENT CHARACTER}ore",
    )
    assert len(report.client_email or "") == 254


def test_import_that_comes_back_keeps_its_place_before_all_that_are_received_later(imports: Imports) -> None:
    """FAULTS W17, W18: an older ledger was restored, whose next number is lower."""
    received(imports)
    back = new_import_id(NOW)
    imports.bring_back(back, "acme", None, received_at=NOW, sequence=5, replay_of=None, now=NOW)
    later = [received(imports) for _ in range(5)]
    assert [report.id for report in reversed(imports.newest())][1:] == [back, *later]


def test_sequence_that_rows_have_is_given_to_no_import(imports: Imports) -> None:
    """FAULTS W17, W18: the lake has rows of which a restored ledger knows nothing."""
    imports.pass_by("acme", 7, NOW)
    first = received(imports)
    imports.pass_by("acme", 7, NOW)
    later = received(imports)
    back = new_import_id(NOW)
    imports.bring_back(back, "acme", None, received_at=NOW, sequence=7, replay_of=None, now=NOW)
    assert [report.id for report in reversed(imports.newest())] == [back, first, later]


def test_due_notices_are_given_to_one_process(queue: Queue, imports: Imports, database: Database) -> None:
    """FAULTS W7: two processes that deliver send nothing twice; one that dies loses nothing."""
    received(imports)
    lease = claimed(queue)
    queue.settle(lease, replace(lease.report, state=State.SUCCEEDED), [NOTICE], NOW)
    outbox = Outbox(database)
    (notice,) = outbox.due(NOW, 10)
    assert outbox.due(NOW, 10) == []
    (again,) = outbox.due(NOW + timedelta(minutes=11), 10)
    assert again == replace(notice, perhaps_taken=True)


def test_what_fails_while_settling_undoes_the_settling(queue: Queue, imports: Imports, database: Database) -> None:
    received(imports)
    lease = claimed(queue)

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        queue.settle(lease, replace(lease.report, state=State.SUCCEEDED), [NOTICE], NOW, while_held=fail)
    assert Outbox(database).due(NOW, 10) == []
    report = imports.get(lease.report.id)
    assert report is not None
    assert report.state == State.RUNNING


def test_forgotten_import_is_gone_unless_it_is_ready(imports: Imports) -> None:
    gone, kept = new(imports), received(imports)
    imports.forget(gone)
    imports.forget(kept)
    assert imports.get(gone) is None
    assert imports.get(kept) is not None


STEPS = [timedelta(hours=-1), timedelta(hours=1), timedelta(days=-3650), timedelta(days=3650)]


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_clock_that_steps_blocks_no_import_of_a_lost_worker(queue: Queue, imports: Imports, step: timedelta) -> None:
    """FAULTS W8: the worker is gone, and its lease was given by a clock that was wrong by so much."""
    received(imports)
    claimed(queue, step)
    again = queue.claim(NOW + LEASE * 2)
    assert again is not None
    assert (again.lost, again.fence) == (1, 2)


@pytest.mark.parametrize("behind", [timedelta(milliseconds=5), timedelta(seconds=2), LEASE / 2], ids=str)
def test_clock_that_is_behind_the_worker_s_takes_no_import_from_it(
    queue: Queue, imports: Imports, behind: timedelta
) -> None:
    """FAULTS W2, W8: two machines, or a clock that was set back a little; the worker is at work."""
    received(imports)
    lease = claimed(queue)
    assert queue.claim(NOW - behind) is None
    queue.heartbeat(lease, NOW + LEASE / 3)
    assert queue.claim(NOW + LEASE / 3 - behind) is None


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_worker_whose_clock_steps_keeps_its_import_from_the_next_beat_on(
    queue: Queue, imports: Imports, step: timedelta
) -> None:
    """FAULTS W8."""
    received(imports)
    lease = claimed(queue)
    queue.heartbeat(lease, NOW + step)
    assert queue.claim(NOW + step + LEASE / 2) is None
    queue.settle(lease, replace(lease.report, state=State.SUCCEEDED), [], NOW + step)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_clock_that_steps_lets_no_deferred_import_wait_for_years(
    database: Database, imports: Imports, step: timedelta
) -> None:
    """FAULTS W8: a wait that is longer than any that is ever asked for was set by another clock."""
    queue = Queue(database, lease=LEASE, longest_wait=timedelta(minutes=10))
    received(imports)
    lease, then = claimed(queue, step), NOW + step
    wait = timedelta(minutes=10)
    queue.defer(lease, then, code="x", message="y", next_attempt_at=then + wait, give_up_at=then + wait)
    assert queue.claim(NOW + timedelta(minutes=11)) is not None


def test_timeline_of_an_import_that_is_tried_for_ever_stays_bounded(
    queue: Queue, imports: Imports, database: Database
) -> None:
    import_id = received(imports)
    for _ in range(60):
        queue.defer(claimed(queue), NOW, code="x", message="y", next_attempt_at=NOW, give_up_at=NOW)
    numbers = [entry.number for entry in Timeline(database).of_import(import_id)]
    assert numbers == [*range(1, KEPT_FIRST + 1), *range(122 - KEPT_LAST + 1, 123)]


def test_only_a_lease_that_was_watched_is_taken_over_when_the_watched_are_named(queue: Queue, imports: Imports) -> None:
    """FAULTS W8: renewed between the look and the claim, it is another lease."""
    received(imports)
    lease = claimed(queue)
    much_later = NOW + timedelta(hours=1)
    assert queue.claim(much_later, unrenewed=[]) is None
    watched = queue.held()
    queue.heartbeat(lease, NOW + timedelta(seconds=1))
    assert queue.claim(much_later, unrenewed=watched) is None
    again = queue.claim(much_later, unrenewed=queue.held())
    assert again is not None
    assert again.lost == 1

"""Carrying out an import when things fail around it: the verdict is the lake's, nothing is lost or doubled."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import Interrupted, LeaseLost
from ingest.ledger.queue import Lease, Queue
from ingest.settings import RetentionSettings
from ingest.states import State
from manifests.types import ImportType
from tests.support.workshop import ACCOUNT, Workshop, without_times

CSV = "identity,score\n" + "".join(f"u{n},{n}\n" for n in range(100))
TYPED = {"score": {"dataType": "Integer"}}


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.app.close()


class ForgetfulQueue(Queue):
    """A queue whose worker dies after the lake's commit, just before it settles."""

    def settle(self, lease: Lease, *_: Any, **__: Any) -> None:
        raise LeaseLost(lease.report.id)


def test_worker_lost_after_the_commit_is_a_success_with_the_same_report(workshop: Workshop) -> None:
    """FAULTS W1, W6: an import that is in the lake already is told as what it is."""
    csv = CSV + "u101,none\n"
    reference = workshop.received(csv, columns=TYPED)
    whole = workshop.carried_out()
    import_id = workshop.received(csv, columns=TYPED)
    workshop.carrier_with(ForgetfulQueue(workshop.app.database, lease=timedelta(seconds=60))).carry_out(
        workshop.claimed()
    )
    assert workshop.report(import_id).state == State.RUNNING
    workshop.pass_time(seconds=61)
    taken_over = workshop.carried_out()
    assert (taken_over.rows_stored, taken_over.rows_rejected, taken_over.attempts) == (100, 1, 2)
    assert without_times(taken_over).rows_read == without_times(whole).rows_read == 101
    assert workshop.app.lake.stored(ACCOUNT, ImportType.PROFILE, reference) == 100
    assert workshop.app.lake.stored(ACCOUNT, ImportType.PROFILE, import_id) == 100
    assert workshop.stages(import_id) == ["picked_up", "succeeded"]


def test_worker_lost_too_often_after_the_commit_is_still_a_success(workshop: Workshop) -> None:
    """FAULTS W4 must not call a stored import lost: its sender would send it again."""
    import_id = workshop.received(CSV)
    forgetful = workshop.carrier_with(ForgetfulQueue(workshop.app.database, lease=timedelta(seconds=60)))
    for _ in range(3):
        forgetful.carry_out(workshop.claimed())
        workshop.pass_time(seconds=61)
    report = workshop.carried_out()
    assert (report.state, report.rows_stored, report.code) == (State.SUCCEEDED, 100, None)
    assert workshop.result(import_id)["rows_stored"] == 100


def test_poison_is_held_after_three_lost_workers_and_the_queue_goes_on(workshop: Workshop) -> None:
    """FAULTS W4: an import that kills its workers."""
    poison = workshop.received(CSV)
    for _ in range(3):
        workshop.claimed()
        workshop.pass_time(seconds=61)
    healthy = workshop.received(CSV)
    assert workshop.carried_out().id == poison
    report = workshop.report(poison)
    assert (report.state, report.code, report.rows_stored) == (State.HELD, "worker.lost", 0)
    assert workshop.stages(poison) == ["failed"]
    assert workshop.carried_out().id == healthy
    assert workshop.report(healthy).state == State.SUCCEEDED


def test_results_that_cannot_be_written_change_no_verdict(workshop: Workshop) -> None:
    """FAULTS W12: the ledger says what happened, whatever the disk says to a file."""
    results = workshop.app.spool.results(ACCOUNT)
    results.rmdir()
    results.write_text("not a folder")
    import_id = workshop.received(CSV)
    report = workshop.carried_out()
    assert (report.state, report.rows_stored) == (State.SUCCEEDED, 100)
    assert workshop.stages(import_id) == ["picked_up", "succeeded"]


def test_stale_worker_changes_neither_ledger_nor_results(workshop: Workshop) -> None:
    """FAULTS W2: stopped past its lease, continued after another has settled."""
    import_id = workshop.received(CSV)
    stale = workshop.claimed()
    workshop.pass_time(seconds=61)
    workshop.carried_out()
    workshop.app.carrier.carry_out(stale)  # its files are gone: it would tell of a missing file
    assert workshop.report(import_id).state == State.SUCCEEDED
    assert workshop.result(import_id)["state"] == "succeeded"
    assert workshop.stages(import_id) == ["picked_up", "succeeded"]


def test_worker_stopped_before_its_commit_stores_nothing_once_another_has_settled(workshop: Workshop) -> None:
    """FAULTS W2: SIGSTOP before the commit; meanwhile the account is closed, so the other worker fails the import."""

    class StoppedQueue(Queue):
        def picked_up(self, *picked_up: Any) -> None:
            super().picked_up(*picked_up)
            workshop.pass_time(seconds=61)
            workshop.app.accounts.set_state(ACCOUNT, "disabled", now=workshop.now, actor="test")
            assert workshop.carried_out().code == "account.disabled"

    import_id = workshop.received(CSV)
    queue = StoppedQueue(workshop.app.database, lease=timedelta(seconds=60))
    workshop.carrier_with(queue).carry_out(workshop.claimed())
    assert workshop.report(import_id).state == State.FAILED
    assert workshop.app.lake.stored(ACCOUNT, ImportType.PROFILE, import_id) is None
    assert not list(workshop.app.lake.folder(ACCOUNT, ImportType.PROFILE).glob("*.parquet"))
    assert workshop.stages(import_id) == ["picked_up", "failed"]


@pytest.mark.parametrize("stopped", [Interrupted, KeyboardInterrupt])
def test_stopped_worker_gives_its_import_back(workshop: Workshop, stopped: type[BaseException]) -> None:
    """FAULTS W14: SIGTERM, or Ctrl-C of a command, costs no try, and the next worker need not wait for the lease."""

    class StoppingQueue(Queue):
        def picked_up(self, *_: Any, **__: Any) -> None:
            raise stopped

    import_id = workshop.received(CSV)
    with pytest.raises(stopped):
        workshop.carrier_with(StoppingQueue(workshop.app.database, lease=timedelta(seconds=60))).carry_out(
            workshop.claimed()
        )
    assert workshop.report(import_id).state == State.READY
    assert workshop.claimed().lost == 0


def test_lake_that_is_away_defers_and_then_holds_and_retry_brings_it_back(workshop: Workshop) -> None:
    """FAULTS W5 for the lake: tried again for as long as the settings say, then the operator has the word."""
    lake = workshop.settings.lake_dir
    lake.rmdir()
    lake.write_text("not a folder")
    import_id = workshop.received(CSV)
    assert workshop.carried_out().state == State.DEFERRED
    assert workshop.app.queue.claim(workshop.now) is None
    workshop.pass_time(minutes=20)
    assert workshop.carried_out().state == State.DEFERRED
    workshop.pass_time(hours=1)
    held = workshop.carried_out()
    assert held.state == State.HELD
    assert held.rows_stored == 0
    lake.unlink()
    lake.mkdir()
    assert workshop.app.imports.retry(import_id, workshop.now)
    assert workshop.carried_out().state == State.SUCCEEDED
    assert workshop.stages(import_id) == ["picked_up", "failed", "succeeded"]
    assert not workshop.app.imports.retry(import_id, workshop.now)


def test_failed_import_keeps_its_files_for_another_try(workshop: Workshop) -> None:
    import_id = workshop.received(CSV, keyId="ec491319-9823-48cd-b6a1-6bb0bc666d75")
    report = workshop.carried_out()
    assert (report.state, report.code) == (State.FAILED, "key.unknown")
    assert workshop.app.spool.taken(import_id, "data").exists()


def test_stored_import_leaves_no_file_behind_when_none_is_to_be_kept(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, retention=RetentionSettings(archive_days=0))
    import_id = workshop.received(CSV)
    workshop.carried_out()
    assert not workshop.app.spool.taken(import_id, "data").parent.exists()


def test_percentage_of_errors_is_judged_at_the_end(workshop: Workshop) -> None:
    """FAULTS D8: maxErrors; the bad rows stand first."""
    bad_first = "identity,score\n" + "u,none\n" * 5 + "".join(f"u{n},{n}\n" for n in range(195))
    workshop.received(bad_first, columns=TYPED, maxErrors="5%")
    assert workshop.carried_out().rows_stored == 195
    workshop.received(bad_first, columns=TYPED, maxErrors="2%")
    report = workshop.carried_out()
    assert (report.state, report.code, report.rows_rejected) == (State.FAILED, "data.too_many_errors", 5)
    workshop.received(bad_first, columns=TYPED, maxErrors=4)
    assert workshop.carried_out().code == "data.too_many_errors"


def test_rejected_rows_beyond_the_size_of_the_file_are_counted_only(workshop: Workshop) -> None:
    """Bounded memory, whatever is rejected."""
    long = "x" * 400_000
    workshop.received("identity,note,score\n" + f"u,{long},none\n" * 30, columns=TYPED)
    report = workshop.carried_out()
    assert report.rows_rejected == 30
    assert report.rejects_in_file == 19  # of 400,005 bytes each, in 8,000,000
    assert len(report.rejects) == 30


def rows(first: str, *, header: str = "identity,score,note") -> str:
    """A file of many chunks, whose first row is given."""
    chance = random.Random(32)
    return f"{header}\n{first}\n" + "".join(f"u{n},{n},{chance.randbytes(40).hex()}\n" for n in range(12_000))


@pytest.mark.parametrize(
    ("csv", "manifest", "code"),
    [
        (rows("u,1,x", header="identity,scoer,note"), {}, "data.header"),
        (rows("u,none,x"), {"onError": "abort"}, "data.too_many_errors"),
        (rows("u,none,x"), {}, None),
        (rows('u,1,"x'), {}, "data.malformed"),
    ],
    ids=["header", "abort", "rejects", "quote"],
)
def test_verdict_on_the_data_comes_after_the_message_has_proven_itself(
    tmp_path: Path, csv: str, manifest: dict[str, Any], code: str | None
) -> None:
    """FAULTS P32: nothing is told of what a change of the cipher text made of the rows."""
    workshop = Workshop(tmp_path, chunk_bytes=100_000)
    workshop.received(csv, columns=TYPED, **manifest)
    assert workshop.carried_out().code == code, "as it was sent"
    data = workshop.app.spool.taken(workshop.received(csv, columns=TYPED, **manifest), "data")
    lines = data.read_bytes().splitlines(keepends=True)
    lines[-5] = lines[-5].swapcase()
    data.write_bytes(b"".join(lines))
    report = workshop.carried_out()
    assert (report.state, report.code, report.column) == (State.FAILED, "pgp.corrupt", None)
    assert (report.rows_read, report.rows_rejected, report.rejects, report.reject_file) == (0, 0, (), None)
    workshop.app.close()

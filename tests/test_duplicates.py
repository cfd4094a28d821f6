"""The same bytes again, for an account that wants them stored once (FAULTS.md W3): one stored, the others skipped."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingest.account_life import disable
from ingest.app import App
from ingest.by_hand import replay
from ingest.errors import LeaseLost
from ingest.ledger.queue import Lease, Queue
from ingest.report import Report
from ingest.retention import sweep
from ingest.settings import RetentionSettings
from ingest.states import State
from keystore.pgp_encrypt import encrypt_to
from manifests.types import ImportType
from tests.support.postgres import Postgres
from tests.support.workshop import ACCOUNT, Workshop

CSV = "identity,score\n" + "".join(f"u{n},{n}\n" for n in range(100))
TYPED = {"score": {"dataType": "Integer"}}


class Sender:
    """Sends one encrypted file, and it again: the same bytes each time."""

    def __init__(self, workshop: Workshop, csv: str = CSV, **manifest: Any) -> None:
        self.workshop = workshop
        self._message = encrypt_to(workshop.key.public_key, csv.encode())
        self._manifest = {"columns": TYPED, **manifest}

    def sends(self, **other: Any) -> str:
        self.workshop.pass_time(seconds=1)
        return self.workshop.received("", message=self._message, **{**self._manifest, **other})


def wanting(workshop: Workshop, *, wish: bool = True) -> Workshop:
    workshop.app.accounts.change(ACCOUNT, now=workshop.now, actor="test", skip_duplicates=wish)
    return workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield wanting(workshop)
    workshop.app.close()


@pytest.fixture
def sender(workshop: Workshop) -> Sender:
    return Sender(workshop)


def stored(workshop: Workshop, import_id: str) -> int | None:
    return workshop.app.lake.stored(ACCOUNT, ImportType.PROFILE, import_id)


def states(workshop: Workshop, *import_ids: str) -> list[str]:
    return [workshop.report(import_id).state for import_id in import_ids]


def test_each_upload_is_an_import_unless_the_account_wishes_otherwise(workshop: Workshop, sender: Sender) -> None:
    wanting(workshop, wish=False)
    ids = [sender.sends(), sender.sends()]
    assert [workshop.carried_out().state for _ in ids] == [State.SUCCEEDED] * 2
    assert [stored(workshop, each) for each in ids] == [100, 100]


def test_same_bytes_again_are_skipped_with_one_notice_and_a_report(workshop: Workshop, sender: Sender) -> None:
    first = sender.sends()
    received_at = workshop.now
    whole = workshop.carried_out()
    second = sender.sends()
    report = workshop.carried_out()
    assert (report.id, report.state, report.code) == (second, State.SKIPPED, None)
    assert (report.duplicate_of, report.first_received_at) == (first, received_at)
    assert (report.rows_read, report.rows_stored, report.attempts) == (0, 0, 1)
    assert (report.sha256, report.bytes_encrypted) == (whole.sha256, whole.bytes_encrypted)
    assert report.message is not None
    assert f"{first}, received 2026-11-22 08:15:01 UTC. Its rows are stored already (100 stored)" in report.message
    assert stored(workshop, second) is None
    assert workshop.stages(second) == ["skipped"]
    told = workshop.result(second)
    assert (told["state"], told["duplicate_of"], told["first_received_at"]) == (
        "skipped",
        first,
        "2026-11-22T08:15:01.000Z",
    )


@pytest.mark.parametrize("differs", [{"maxErrors": 3}, {"clientEmail": "other@acme.example"}])
def test_other_manifest_is_another_upload(workshop: Workshop, sender: Sender, differs: dict[str, Any]) -> None:
    ids = [sender.sends(), sender.sends(**differs)]
    assert [workshop.carried_out().state for _ in ids] == [State.SUCCEEDED] * 2


def test_same_data_encrypted_again_is_another_upload(workshop: Workshop) -> None:
    ids = [Sender(workshop).sends(), Sender(workshop).sends()]
    assert [workshop.carried_out().state for _ in ids] == [State.SUCCEEDED] * 2


def test_rejected_rows_do_not_make_the_first_any_less(workshop: Workshop) -> None:
    sender = Sender(workshop, CSV + "u100,none\n")
    sender.sends(), sender.sends()
    workshop.carried_out()
    report = workshop.carried_out()
    assert report.state == State.SKIPPED
    assert "(100 stored, 1 rejected)" in str(report.message)


def test_first_that_stored_no_row_is_none(workshop: Workshop) -> None:
    """Once the cause is gone, the same upload does what it was meant to."""
    sender = Sender(workshop, "identity,score\nu1,none\n")
    ids = [sender.sends(), sender.sends()]
    assert [workshop.carried_out().rows_rejected for _ in ids] == [1, 1]
    assert states(workshop, *ids) == [State.SUCCEEDED] * 2


@pytest.mark.parametrize("keys", [{"columns": {"scoer": {}}}, {"keyId": "ec491319-9823-48cd-b6a1-6bb0bc666d75"}])
def test_first_that_failed_is_none(workshop: Workshop, keys: dict[str, Any]) -> None:
    sender = Sender(workshop, **keys)
    ids = [sender.sends(), sender.sends()]
    assert [workshop.carried_out().state for _ in ids] == [State.FAILED] * 2
    assert [workshop.stages(each)[-1] for each in ids] == ["failed"] * 2


class DyingQueue(Queue):
    """A queue whose worker dies at the place that is named."""

    at = ""

    def picked_up(self, lease: Lease, *rest: Any) -> None:
        if self.at == "picked_up":
            raise LeaseLost(lease.report.id)
        super().picked_up(lease, *rest)

    def settle(self, lease: Lease, *rest: Any, **more: Any) -> None:
        if self.at == "settle":
            raise LeaseLost(lease.report.id)
        super().settle(lease, *rest, **more)


def begun(workshop: Workshop, *, dies_at: str) -> Report:
    """An import whose worker dies there: before it stores anything, or when it has stored all."""
    queue = DyingQueue(workshop.app.database, lease=workshop.lease)
    queue.at = dies_at
    lease = workshop.claimed()
    workshop.carrier_with(queue).carry_out(lease)
    return workshop.report(lease.report.id)


@pytest.mark.parametrize("dies_at", ["picked_up", "settle"])
def test_duplicate_waits_for_the_end_of_the_first_without_a_try(
    workshop: Workshop, sender: Sender, dies_at: str
) -> None:
    """FAULTS.md W1, W3."""
    first, second = sender.sends(), sender.sends()
    assert begun(workshop, dies_at=dies_at).state == State.RUNNING
    for _ in range(3):
        waiting = workshop.carried_out()
        assert (waiting.id, waiting.state, waiting.attempts) == (second, State.DEFERRED, 0)
        assert (waiting.duplicate_of, waiting.code, workshop.stages(second)) == (first, None, [])
        assert workshop.app.queue.claim(workshop.now) is None
        workshop.pass_time(seconds=20)
    workshop.pass_time(seconds=1)  # the lease of the first has ended
    assert [workshop.carried_out().id for _ in range(2)] == [first, second]
    assert states(workshop, first, second) == [State.SUCCEEDED, State.SKIPPED]
    assert [stored(workshop, each) for each in (first, second)] == [100, None]
    assert workshop.stages(second) == ["skipped"]


def test_duplicate_of_a_held_import_takes_its_place_and_the_held_one_is_skipped_later(
    workshop: Workshop, sender: Sender
) -> None:
    first = sender.sends()
    for _ in range(3):
        workshop.claimed()
        workshop.pass_time(seconds=61)
    assert workshop.carried_out().state == State.HELD
    second = sender.sends()
    assert workshop.carried_out().state == State.SUCCEEDED
    assert workshop.app.imports.retry(first, workshop.now)
    assert workshop.carried_out().duplicate_of == second
    assert states(workshop, first, second) == [State.SKIPPED, State.SUCCEEDED]


def test_held_import_whose_rows_are_in_the_lake_is_a_first(workshop: Workshop, sender: Sender) -> None:
    """FAULTS.md W6: the ledger has it as held, and the lake has its rows."""
    first = sender.sends()
    begun(workshop, dies_at="settle")
    workshop.pass_time(seconds=61)
    lease = workshop.claimed()
    held = {"state": State.HELD, "code": "store.damaged"}
    workshop.app.queue.settle(lease, Report(**{**as_given(lease.report), **held}), [], workshop.now)
    second = sender.sends()
    assert workshop.carried_out().duplicate_of == first
    assert states(workshop, first, second) == [State.HELD, State.SKIPPED]
    assert workshop.app.imports.retry(first, workshop.now)
    assert workshop.carried_out().rows_stored == 100


def as_given(report: Report) -> dict[str, Any]:
    return {name: getattr(report, name) for name in Report.__dataclass_fields__}


@pytest.mark.parametrize("state", [State.FAILED, State.HELD])
def test_import_that_is_tried_again_is_never_skipped_for_itself(
    workshop: Workshop, sender: Sender, state: State
) -> None:
    import_id = sender.sends()
    begun(workshop, dies_at="picked_up")
    workshop.pass_time(seconds=61)
    lease = workshop.claimed()
    workshop.app.queue.settle(lease, Report(**{**as_given(lease.report), "state": state}), [], workshop.now)
    assert workshop.app.imports.retry(import_id, workshop.now)
    assert (workshop.carried_out().state, stored(workshop, import_id)) == (State.SUCCEEDED, 100)


def test_what_the_operator_replays_is_stored(workshop: Workshop, sender: Sender) -> None:
    first, second = sender.sends(), sender.sends()
    assert [workshop.carried_out().state for _ in range(2)] == [State.SUCCEEDED, State.SKIPPED]
    assert not workshop.app.imports.retry(second, workshop.now)
    again = replay(workshop.app, ACCOUNT, second, None)
    assert (workshop.carried_out().state, stored(workshop, again)) == (State.SUCCEEDED, 100)
    sender.sends()
    assert workshop.carried_out().duplicate_of == first


def test_replay_of_a_failed_import_takes_its_place(workshop: Workshop, sender: Sender) -> None:
    failed = sender.sends()
    disable(workshop.app, ACCOUNT, actor="test")
    assert states(workshop, failed) == [State.FAILED]
    workshop.app.accounts.set_state(ACCOUNT, "active", now=workshop.now, actor="test")
    again = replay(workshop.app, ACCOUNT, failed, None)
    assert workshop.carried_out().state == State.SUCCEEDED
    third = sender.sends()
    assert workshop.carried_out().duplicate_of == again
    assert stored(workshop, third) is None


def test_dry_runs_are_neither_skipped_nor_firsts(workshop: Workshop, sender: Sender) -> None:
    ids = [sender.sends(dryRun=True), sender.sends(dryRun=True)]
    assert [workshop.carried_out().preview != () for _ in ids] == [True, True]
    assert states(workshop, *ids) == [State.SUCCEEDED] * 2


def test_wish_that_is_switched_off_lets_the_waiting_go_on(workshop: Workshop, sender: Sender) -> None:
    sender.sends(), sender.sends()
    begun(workshop, dies_at="picked_up")
    assert workshop.carried_out().state == State.DEFERRED
    wanting(workshop, wish=False)
    workshop.pass_time(seconds=30)
    report = workshop.carried_out()
    assert (report.state, report.rows_stored, report.duplicate_of) == (State.SUCCEEDED, 100, None)


def test_import_that_has_stored_its_rows_before_the_wish_is_told_as_stored(workshop: Workshop, sender: Sender) -> None:
    wanting(workshop, wish=False)
    first = sender.sends()
    begun(workshop, dies_at="settle")
    wanting(workshop)
    second = sender.sends()
    assert workshop.carried_out().id == second  # the first has no place: it was begun without the wish
    workshop.pass_time(seconds=61)
    report = workshop.carried_out()
    assert (report.id, report.state, report.rows_stored) == (first, State.SUCCEEDED, 100)


def test_disabled_account_ends_what_waits(workshop: Workshop, sender: Sender) -> None:
    sender.sends(), sender.sends()
    begun(workshop, dies_at="picked_up")
    second = workshop.carried_out()
    assert second.state == State.DEFERRED
    disable(workshop.app, ACCOUNT, actor="test")
    ended = workshop.report(second.id)
    assert (ended.state, ended.code, ended.duplicate_of) == (State.FAILED, "account.disabled", None)


def test_files_of_a_skipped_import_are_kept_as_long_as_others_and_it_is_remembered(
    workshop: Workshop, sender: Sender
) -> None:
    ids = [sender.sends(), sender.sends()]
    for _ in ids:
        workshop.carried_out()
    assert [workshop.app.spool.taken(each, "data").is_file() for each in ids] == [True, True]
    workshop.pass_time(days=workshop.settings.retention.archive_days + 1)
    sweep(workshop.app, believe_clock=True)
    assert [workshop.app.spool.taken(each, "data").is_file() for each in ids] == [False, False]
    sender.sends()
    assert workshop.carried_out().duplicate_of == ids[0]


def test_files_of_a_skipped_import_go_at_once_where_none_are_kept(tmp_path: Path) -> None:
    workshop = wanting(Workshop(tmp_path, retention=RetentionSettings(archive_days=0)))
    sender = Sender(workshop)
    ids = [sender.sends(), sender.sends()]
    for _ in ids:
        workshop.carried_out()
    assert [workshop.app.spool.taken(each, "data").exists() for each in ids] == [False, False]
    workshop.app.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_two_workers_with_the_same_bytes_at_once_store_them_once(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """FAULTS.md W2, W3: each with connections of its own, as two processes have."""
    ledger: dict[str, Any] = {}
    if engine == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        ledger = {"ledger_url": server.url(server.new(request.getfixturevalue("migrated")))}
    workshop = wanting(Workshop(tmp_path, **ledger))
    sender = Sender(workshop)
    ids = [sender.sends() for _ in range(4)]
    together = threading.Barrier(len(ids))

    def work() -> None:
        with closing(App(workshop.settings, now=lambda: workshop.now)) as app:
            lease = app.queue.claim(workshop.now)
            assert lease is not None
            together.wait()
            app.carrier.carry_out(lease)

    threads = [threading.Thread(target=work) for _ in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    workshop.pass_time(seconds=20)
    while (lease := workshop.app.queue.claim(workshop.now)) is not None:
        workshop.app.carrier.carry_out(lease)
    assert Counter(states(workshop, *ids)) == {State.SUCCEEDED: 1, State.SKIPPED: 3}
    (first,) = [each for each in ids if workshop.report(each).state == State.SUCCEEDED]
    assert [stored(workshop, each) for each in ids] == [100 if each == first else None for each in ids]
    assert {workshop.report(each).duplicate_of for each in ids} == {first, None}
    assert Counter(stage for each in ids for stage in workshop.stages(each)) == {
        "picked_up": 1,
        "succeeded": 1,
        "skipped": 3,
    }
    workshop.app.close()

"""The sweeper: what is old goes, what an import needs stays, and a clock that jumped is not believed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest

from ingest.app import App
from ingest.ledger.audit_verify import verify_audit
from ingest.retention import Sweep, sweep
from ingest.settings import RetentionSettings
from ingest.states import State
from tests.support.workshop import ACCOUNT, Workshop

CSV = "identity,score\nu1,1\nu2,none\n"
TYPED = {"score": {"dataType": "Integer"}}
UNKNOWN_KEY = "ec491319-9823-48cd-b6a1-6bb0bc666d75"


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path, retention=RetentionSettings(timeline_days=100))
    assert swept(workshop) == {}
    yield workshop
    workshop.app.close()


def counts(done: Sweep) -> dict[str, int]:
    return {each.what: each.count for each in done.swept if each.count}


def swept(workshop: Workshop) -> dict[str, int]:
    return counts(sweep(workshop.app))


def pass_days(workshop: Workshop, days: int) -> dict[str, int]:
    """A service that runs all the time; what it swept in sum."""
    total: dict[str, int] = {}
    for _ in range(days):
        workshop.pass_time(days=1)
        for what, count in swept(workshop).items():
            total[what] = total.get(what, 0) + count
    return total


def is_kept(workshop: Workshop, import_id: str) -> bool:
    return workshop.app.spool.taken(import_id, "data").exists()


def results(workshop: Workshop) -> int:
    return len(list(workshop.app.spool.results(ACCOUNT).iterdir()))


def test_files_and_results_and_timelines_go_each_after_its_time(workshop: Workshop) -> None:
    stored = workshop.received(CSV, columns=TYPED)
    workshop.carried_out()
    failed = workshop.received(CSV, keyId=UNKNOWN_KEY)
    workshop.carried_out()
    assert results(workshop) == 3
    assert pass_days(workshop, 7) == {}
    assert is_kept(workshop, stored)
    assert is_kept(workshop, failed)
    assert pass_days(workshop, 1) == {"files": 2}
    assert not workshop.app.spool.taken(stored, "data").parent.exists()
    assert not workshop.app.imports.retry(failed, workshop.now), "its files are gone"
    assert pass_days(workshop, 22) == {}
    assert pass_days(workshop, 1) == {"results": 2}
    assert results(workshop) == 0
    assert pass_days(workshop, 100)["timelines"] == 8
    assert workshop.report(stored).state == State.SUCCEEDED, "the ledger remembers the import itself"


def test_what_an_unfinished_or_held_import_needs_stays_for_ever(workshop: Workshop) -> None:
    held = workshop.received(CSV)
    for _ in range(3):
        workshop.claimed()
        workshop.pass_time(seconds=61)
    assert workshop.carried_out().state == State.HELD
    deferred, ready = workshop.received(CSV), workshop.received(CSV)
    lease, moment = workshop.claimed(), workshop.now
    workshop.app.queue.defer(lease, moment, code="x", message="y", next_attempt_at=moment, give_up_at=moment)
    assert pass_days(workshop, 400) == {}
    assert all(is_kept(workshop, import_id) for import_id in (held, deferred, ready))
    assert workshop.carried_out().state == State.SUCCEEDED


def test_import_that_is_tried_again_keeps_its_files(workshop: Workshop) -> None:
    failed = workshop.received(CSV, keyId=UNKNOWN_KEY)
    workshop.carried_out()
    pass_days(workshop, 6)
    assert workshop.app.imports.retry(failed, workshop.now)
    assert pass_days(workshop, 60) == {}
    assert is_kept(workshop, failed)


def test_sent_notices_are_forgotten_and_waiting_ones_are_not(workshop: Workshop) -> None:
    import_id = workshop.received(CSV)
    workshop.carried_out()
    picked_up, _ = workshop.app.outbox.due(workshop.now, 10)
    workshop.app.outbox.sent(picked_up.id, workshop.now)
    assert pass_days(workshop, 91)["notices"] == 1
    assert workshop.stages(import_id) == ["succeeded"]


def test_dry_run_tells_the_same_and_removes_nothing(workshop: Workshop) -> None:
    import_id = workshop.received(CSV, columns=TYPED)
    workshop.carried_out()
    for _ in range(31):
        workshop.pass_time(days=1)
        told = sweep(workshop.app, dry_run=True)
    assert counts(told) == {"files": 1, "results": 1}
    assert is_kept(workshop, import_id)
    assert results(workshop) == 2
    assert sweep(workshop.app).swept == told.swept


@pytest.mark.parametrize("years", [-10, 10])
def test_clock_that_jumps_removes_nothing(workshop: Workshop, years: int) -> None:
    """FAULTS.md W8: ten years forth or back, and mended before the day is over."""
    import_id = workshop.received(CSV)
    workshop.carried_out()
    part = workshop.app.spool.new_part(ACCOUNT)
    part.write_bytes(b"unfinished")
    right = workshop.now
    workshop.pass_time(days=365 * years)
    for _ in range(20):
        assert sweep(workshop.app).distrusted_until is not None
        workshop.received(CSV)
        workshop.carried_out()  # what is written meanwhile does not make it true
        workshop.pass_time(hours=1)
    workshop.now = right + timedelta(hours=20)
    assert sweep(workshop.app).distrusted_until is None
    assert swept(workshop) == {}
    assert is_kept(workshop, import_id)
    assert part.exists()


def test_clock_that_stays_where_it_is_was_a_long_pause(workshop: Workshop) -> None:
    """FAULTS.md W8: a machine that was off for months sweeps a day later, or when the operator says so."""
    for believe in (False, True):
        workshop.received(CSV)
        workshop.carried_out()
        workshop.pass_time(days=200)
        assert sweep(workshop.app).distrusted_until == workshop.now + timedelta(days=1)
        if believe:
            assert counts(sweep(workshop.app, believe_clock=True))["files"] == 1
        else:
            workshop.pass_time(hours=25)
            assert swept(workshop)["files"] == 1
        assert sweep(workshop.app).distrusted_until is None


@pytest.mark.parametrize("mtime", [-315_360_000, 315_360_000])
def test_time_of_a_file_decides_nothing(workshop: Workshop, mtime: int) -> None:
    """FAULTS.md W8: no decision from mtime."""
    import_id = workshop.received(CSV)
    workshop.carried_out()
    for file in (workshop.app.spool.taken(import_id, "data"), *workshop.app.spool.results(ACCOUNT).iterdir()):
        os.utime(file, (file.stat().st_mtime + mtime,) * 2)
    assert pass_days(workshop, 7) == {}
    assert pass_days(workshop, 1) == {"files": 1}


def test_sweeper_that_is_killed_goes_on_where_it_was(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two files of an import, and before the ledger remembers."""
    ids = [workshop.received(CSV) for _ in range(3)]
    for _ in ids:
        workshop.carried_out()
    pass_days(workshop, 7)
    workshop.pass_time(days=1)
    remove = type(workshop.app.spool).discard_taken

    def killed(spool: object, import_id: str) -> None:
        if import_id == ids[1]:
            workshop.app.spool.taken(import_id, "data").unlink()
            raise KeyboardInterrupt
        remove(workshop.app.spool, import_id)

    monkeypatch.setattr(type(workshop.app.spool), "discard_taken", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(workshop.app)
    monkeypatch.undo()
    assert [is_kept(workshop, import_id) for import_id in ids] == [False, False, True]
    assert swept(workshop) == {"files": 2}, "one has a manifest left, one is whole"
    assert workshop.app.spool.all_taken() == []


def test_copies_of_a_command_that_was_killed_go_and_those_of_an_import_stay(workshop: Workshop) -> None:
    """FAULTS.md W1: `import run` and replays copy before the ledger knows of them."""
    spool, day = workshop.app.spool, 86_400
    killed, known, new = (f"20260101t000000-{n:012}" for n in range(3))
    for import_id in (killed, known, new):
        folder = spool.begin_giving(ACCOUNT, import_id)
        (folder / "manifest").write_bytes(b"{}")
        age = 0 if import_id == new else 2 * day
        os.utime(folder, (folder.stat().st_mtime - age,) * 2)
    workshop.app.imports.receive(known, ACCOUNT, "users.manifest", None, workshop.now)
    assert spool.all_taken() == []
    assert swept(workshop) == {"unfinished copies": 1}
    assert sorted(spool.all_given(older_than_s=-1)) == [known, new]
    assert spool.take(ACCOUNT, "users.manifest", known, "manifest")
    assert spool.owner(known) == ACCOUNT


def test_file_that_the_disk_keeps_stops_no_other_and_is_tried_again(workshop: Workshop) -> None:
    stuck, free = workshop.received(CSV), workshop.received(CSV)
    for _ in range(2):
        workshop.carried_out()
    pass_days(workshop, 7)
    folder = workshop.app.spool.taken(stuck, "data").parent
    (folder / "folder").mkdir()
    assert pass_days(workshop, 1) == {"files": 1}
    assert not is_kept(workshop, free)
    (folder / "folder").rmdir()
    pass_days(workshop, 1)
    assert not folder.exists()


def test_several_sweepers_at_once_remove_each_thing_once(workshop: Workshop) -> None:
    for _ in range(30):
        workshop.received(CSV)
        workshop.carried_out()
    pass_days(workshop, 7)
    workshop.pass_time(days=1)
    done: list[Sweep] = []
    threads = [Thread(target=lambda: done.append(sweep(workshop.app))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts(each).get("files", 0) for each in done) == 30
    assert workshop.app.spool.all_taken() == []


def test_audit_is_cut_after_its_time_and_can_still_be_verified(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, retention=RetentionSettings(audit_days=5))
    workshop.now = datetime.now(UTC)  # the installation, and so the first lines, are of today
    app = workshop.app
    lines = verify_audit(app.database, app.open_vault()).tip.number
    assert pass_days(workshop, 5) == {}
    workshop.pass_time(days=2)
    would = counts(sweep(app, dry_run=True))
    assert would == swept(workshop) == {"audit lines": lines}
    assert swept(workshop) == {}
    found = verify_audit(app.database, app.open_vault())
    assert (found.first_bad, found.cut) == (None, lines)
    app.close()


def test_audit_stays_where_the_master_key_is_not_at_hand(tmp_path: Path) -> None:
    """As at a `sealdrop sweep` by somebody who may not read it: all else is removed."""
    workshop = Workshop(tmp_path, retention=RetentionSettings(audit_days=8, archive_days=8))
    workshop.now = datetime.now(UTC)  # as above
    assert swept(workshop) == {}
    stored = workshop.received(CSV, columns=TYPED)
    workshop.carried_out()
    workshop.pass_time(days=6)
    assert swept(workshop) == {}
    workshop.pass_time(days=6)
    (tmp_path / "master.key").rename(tmp_path / "elsewhere")
    blind = App(workshop.settings, now=lambda: workshop.now)
    assert counts(sweep(blind)) == {"files": 1}
    blind.close()
    assert not is_kept(workshop, stored)
    assert verify_audit(workshop.app.database, None).cut == 0
    assert swept(workshop)["audit lines"] > 0  # a process that still has it
    workshop.app.close()

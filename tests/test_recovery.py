"""What a restored backup left: files without a row, rows without files, each with one end (FAULTS.md W17)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.by_hand import replay
from ingest.checks import Finding, run_checks
from ingest.recovery import recover, unknown_imports
from ingest.settings import RetentionSettings
from ingest.states import State
from manifests.types import ImportType
from tests.support.workshop import ACCOUNT, Workshop

CSV = "identity,score\nu1,1\nu2,2\n"


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.app.close()


class Backup:
    """A copy of the ledger that can be put back."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._ledger = workshop.settings.data_dir / "ledger.db"
        shutil.copy(self._ledger, self._ledger.with_suffix(".backup"))

    def restore(self) -> None:
        self._workshop.app.close()
        shutil.copy(self._ledger.with_suffix(".backup"), self._ledger)


def received(workshop: Workshop, data: str = CSV, **manifest: Any) -> str:
    """An import as the collector takes it: the files have an owner."""
    import_id = workshop.received(data, **manifest)
    (workshop.app.spool.taken(import_id, "data").parent / f"{ACCOUNT}.account").touch()
    return import_id


def found(workshop: Workshop) -> list[Finding]:
    return [finding for finding in run_checks(workshop.app) if finding.check == "recovery"]


def rows_stored(workshop: Workshop, import_id: str) -> int | None:
    return workshop.app.lake.stored(ACCOUNT, ImportType.PROFILE, import_id)


def test_stored_import_that_the_ledger_forgot_is_recognised_and_not_stored_again(workshop: Workshop) -> None:
    first = received(workshop)
    workshop.carried_out()
    backup = Backup(workshop)
    second = received(workshop)
    third = received(workshop)
    stored = [workshop.carried_out(), workshop.carried_out()]
    backup.restore()
    assert unknown_imports(workshop.app) == sorted([second, third])
    assert found(workshop)[0].verdict == "warn"
    recover(workshop.app)
    recover(workshop.app)
    assert found(workshop) == []
    assert {workshop.carried_out().id, workshop.carried_out().id} == {second, third}
    assert workshop.app.queue.claim(workshop.now) is None
    for before in stored:
        report = workshop.report(before.id)
        assert (report.state, report.rows_stored, report.received_at) == (State.SUCCEEDED, 2, before.received_at)
        assert rows_stored(workshop, before.id) == 2
        assert next(entry.what for entry in workshop.app.timeline.of_import(before.id)) == "recovered"
    fourth = received(workshop, "identity,score\nu1,newest\n")
    workshop.carried_out()
    assert workshop.app.lake.profile(ACCOUNT, "identity", "u1") == {"identity": "u1", "score": "newest"}
    assert rows_stored(workshop, first) == 2
    assert rows_stored(workshop, fourth) == 1


def test_what_is_sent_after_a_restore_counts_more_than_rows_that_the_ledger_forgot(workshop: Workshop) -> None:
    """Rows without files, as of uploads by HTTP or of swept imports: a later update of the same user must win."""
    backup = Backup(workshop)
    for score in range(5):
        forgotten = received(workshop, f"identity,score\nu1,old{score}\n")
        workshop.carried_out()
        workshop.app.spool.discard_taken(forgotten)
    backup.restore()
    recover(workshop.app)
    received(workshop, "identity,score\nu1,newest\n")
    workshop.carried_out()
    assert workshop.app.lake.profile(ACCOUNT, "identity", "u1") == {"identity": "u1", "score": "newest"}


def test_import_that_was_not_stored_yet_comes_back_and_is_stored_once(workshop: Workshop) -> None:
    backup = Backup(workshop)
    import_id = received(workshop)
    backup.restore()
    recover(workshop.app)
    report = workshop.carried_out()
    assert (report.id, report.state, report.rows_stored) == (import_id, State.SUCCEEDED, 2)


def test_replay_that_the_ledger_forgot_still_stores_no_row_twice(workshop: Workshop) -> None:
    typed = {"score": {"dataType": "Integer"}}
    first = received(workshop, "identity,score\nu1,1\nu2,none\n", columns=typed)
    assert workshop.carried_out().rows_stored == 1
    backup = Backup(workshop)
    manifest = workshop.app.spool.taken(first, "manifest").read_bytes()
    new = replay(workshop.app, ACCOUNT, first, manifest.replace(b'"columns"', b'"nullValues": ["none"], "columns"'))
    backup.restore()
    recover(workshop.app)
    report = workshop.carried_out()
    assert (report.id, report.replay_of, report.rows_stored) == (new, first, 1)


def test_failed_import_that_the_ledger_forgot_fails_again_and_tells(workshop: Workshop) -> None:
    backup = Backup(workshop)
    import_id = received(workshop, keyId="ec491319-9823-48cd-b6a1-6bb0bc666d75")
    workshop.carried_out()
    backup.restore()
    recover(workshop.app)
    assert workshop.carried_out().code == "key.unknown"
    assert workshop.stages(import_id) == ["picked_up", "failed"]


def test_files_of_an_unknown_account_stay_and_are_told(workshop: Workshop) -> None:
    import_id = received(workshop)
    folder = workshop.app.spool.taken(import_id, "data").parent
    lost = folder.with_name("20260101t000000-000000000000")
    shutil.copytree(folder, lost)
    (lost / f"{ACCOUNT}.account").rename(lost / "nobody.account")
    recover(workshop.app)
    assert sorted(file.name for file in lost.iterdir()) == ["data", "manifest", "nobody.account"]
    (lost / "nobody.account").unlink()
    (told,) = found(workshop)
    assert told.verdict == "fail"
    assert lost.name in told.text


def test_row_whose_files_are_gone_succeeds_if_the_lake_has_its_rows(tmp_path: Path) -> None:
    """A ledger from the moment in which an import was ready; its files went when it was stored."""
    workshop = Workshop(tmp_path, retention=RetentionSettings(archive_days=0))
    import_id = received(workshop)
    backup = Backup(workshop)
    workshop.carried_out()
    backup.restore()
    recover(workshop.app)
    report = workshop.carried_out()
    assert (report.id, report.state, report.rows_stored, report.code) == (import_id, State.SUCCEEDED, 2, None)
    workshop.app.close()


def test_row_whose_files_are_gone_and_that_was_never_stored_fails_and_tells(workshop: Workshop) -> None:
    import_id = received(workshop)
    workshop.app.spool.discard_taken(import_id)
    recover(workshop.app)
    report = workshop.carried_out()
    assert (report.state, report.code) == (State.FAILED, "manifest.file_missing")
    assert workshop.stages(import_id) == ["failed"]

"""A dry run does everything but load, and says what would have been stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.report import PropertyPreview
from ingest.states import State
from ingest.steps.preview import SAMPLE_ROWS
from manifests.types import ImportType
from tests.support.workshop import ACCOUNT, Workshop

COLUMNS = {"score": {"dataType": "Integer"}, "tags": {"dataType": "StringList", "separator": "|"}}


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path, chunk_bytes=100_000)
    yield workshop
    workshop.app.close()


def test_dry_run_tells_what_would_have_been_stored(workshop: Workshop) -> None:
    csv = "identity,score,tags,Email\nu1,1,a|b,a@b.de\nu2,1,b|a,\nu3,x,,\nu4,,a|b,nobody\n,7,,\n"
    import_id = workshop.received(csv, columns=COLUMNS, dryRun=True)
    report = workshop.carried_out()
    assert (report.state, report.dry_run, report.code) == (State.SUCCEEDED, True, None)
    assert (report.rows_read, report.rows_stored, report.rows_rejected) == (5, 0, 3)
    assert report.preview == (
        PropertyPreview("score", "Integer", filled=2, distinct=1, sampled=2, rejected=1),
        PropertyPreview("tags", "StringList", filled=2, distinct=2, sampled=2, rejected=0),
        PropertyPreview("Email", "String", filled=1, distinct=1, sampled=2, rejected=1),
    )
    assert workshop.app.lake.registry(ACCOUNT, ImportType.PROFILE) == {}
    assert not workshop.app.lake.folder(ACCOUNT, ImportType.PROFILE).exists()
    assert workshop.result(import_id)["preview"][0]["filled"] == 2
    assert workshop.stages(import_id) == ["picked_up", "succeeded"]
    assert report.reject_file is not None


def test_dry_run_counts_different_values_in_a_sample(workshop: Workshop) -> None:
    rows = SAMPLE_ROWS + 5000
    csv = "identity,n\n" + "".join(f"u{number},{number % 15_000}\n" for number in range(rows))
    workshop.received(csv, dryRun=True)
    (preview,) = workshop.carried_out().preview
    assert preview == PropertyPreview("n", "String", filled=rows, distinct=15_000, sampled=SAMPLE_ROWS, rejected=0)


def test_dry_run_fails_where_the_import_would(workshop: Workshop) -> None:
    workshop.received(
        "identity,score\nu1,x\n", columns={"score": {"dataType": "Integer"}}, dryRun=True, onError="abort"
    )
    report = workshop.carried_out()
    assert (report.state, report.code, report.dry_run) == (State.FAILED, "data.too_many_errors", True)


def test_dry_run_leaves_no_trace_for_later_imports(workshop: Workshop) -> None:
    workshop.received("identity,evtName\nu1,Tried\n", type="event", dryRun=True)
    workshop.carried_out()
    assert workshop.app.history.event_names(ACCOUNT) == []
    workshop.received("identity,evtName,x\nu1,Done,1\n,Unused,2\n", type="event")
    assert workshop.carried_out().drift == ()
    assert [name.name for name in workshop.app.history.event_names(ACCOUNT)] == ["Done"]

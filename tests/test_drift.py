"""What differs from the previous import of a manifest is told, and never refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.drift import MAX_DRIFTS, drift_between
from ingest.report import FileColumn, Report
from ingest.states import State
from tests.notices.samples import report
from tests.support.workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.app.close()


def imported(rows: int = 1000, **columns: str) -> Report:
    """A report of columns, each ``target:type``."""
    read = tuple(FileColumn(name, *told.split(":")) for name, told in columns.items())
    return report(rows_read=rows, columns=read)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (imported(a="a:String"), imported(a="a:String"), []),
        (imported(a="a:String"), imported(a="a:Integer"), [("column.type", "a")]),
        (imported(a="a:String"), imported(a="a:String", b="b:String"), [("column.new", "b")]),
        (imported(a="a:String", b="b:String"), imported(a="a:String"), [("column.missing", "b")]),
        (imported(price="Price:Float"), imported(amount="Price:Float"), [("column.renamed", "amount")]),
        (imported(price_eur="x:Float"), imported(price_euro="y:Float"), [("column.renamed", "price_euro")]),
        (
            imported(price="Price:Float"),
            imported(amount="Price:Integer"),
            [("column.renamed", "amount"), ("column.type", "amount")],
        ),
        (imported(first="a:Float"), imported(other="b:Float"), [("column.missing", "first"), ("column.new", "other")]),
        (imported(), imported(a="a:String"), []),
        (imported(1000), imported(499), [("rows.fewer", None)]),
        (imported(1000), imported(500), []),
        (imported(1000), imported(2001), [("rows.more", None)]),
        (imported(10), imported(90), []),
        (imported(0), imported(100), [("rows.more", None)]),
    ],
)
def test_drift(before: Report, now: Report, expected: list[tuple[str, str | None]]) -> None:
    assert [(drift.kind, drift.column) for drift in drift_between(before, now)] == expected


def test_drift_has_a_limit_and_other_types_are_not_compared() -> None:
    columns = {f"column {number * 7919}": f"t{number}:String" for number in range(200)}
    many = imported(1000, **columns)
    assert len(drift_between(imported(a="a:String"), many)) == MAX_DRIFTS
    assert drift_between(imported(), replace(many, type="event")) == ()


def test_drift_is_told_in_the_report_the_ledger_and_results(workshop: Workshop) -> None:
    columns = {"score": {"dataType": "Integer"}}
    workshop.received("identity,score,city\nu1,1,Bonn\n", columns=columns)
    assert workshop.carried_out().drift == ()
    import_id = workshop.received("identity,score,town\nu1,2.5,Bonn\n", columns={"score": {}, "town": {"ctName": "T"}})
    refused = workshop.carried_out()
    assert (refused.code, refused.drift) == ("data.type_conflict", ())
    import_id = workshop.received("identity,town\nu1,Bonn\n", columns={"town": {"ctName": "city"}})
    made = workshop.carried_out()
    assert made.state == State.SUCCEEDED
    assert [(drift.kind, drift.column) for drift in made.drift] == [
        ("column.missing", "score"),
        ("column.renamed", "town"),
    ]
    assert workshop.result(import_id)["drift"][0]["message"] == 'The column "score" is not there any more.'
    assert workshop.result(import_id)["columns"][1] == {"name": "town", "target": "city", "data_type": "String"}

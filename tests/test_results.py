from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.report import RejectedRow, Report
from ingest.results import reject_csv, reject_file_name, report_bytes, report_name
from ingest.spool import is_allowed_name

ID = "0193532e-7b1c-7c55-9a3f-2f5b0c9d1e77"
REPORT = Report(
    id=ID,
    account="acme",
    manifest="users.manifest",
    data_file="users.csv.asc",
    type="profile",
    state="succeeded",
    received_at=datetime(2026, 11, 22, 8, 4, 11, tzinfo=UTC),
)
REJECT = RejectedRow(17, "price", 601, "not a whole number")


def test_names_hold_manifest_and_import() -> None:
    assert report_name("users.manifest", ID) == f"users.manifest.{ID}.json"
    assert reject_file_name("users.manifest", ID) == f"users.manifest.{ID}.rejects.csv.asc"


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=300), st.sampled_from(["../../etc/passwd", "/etc/passwd", "..", ".", "", "a\0b", "a\nb"])
    )
)
def test_no_manifest_name_makes_a_path(manifest: str) -> None:
    """FAULTS S10: a result's name is one name, short enough for every file system."""
    for name in (report_name(manifest, ID), reject_file_name(manifest, ID)):
        assert re.fullmatch(r"[A-Za-z0-9_()+@][A-Za-z0-9 ._()+@-]{0,254}", name)


@settings(max_examples=100, deadline=None)
@given(st.from_regex(r"[A-Za-z0-9_()+@][A-Za-z0-9 ._()+@-]{0,127}", fullmatch=True))
def test_allowed_manifest_name_is_kept_whole(manifest: str) -> None:
    assert is_allowed_name(manifest) == (not manifest.endswith((" ", ".")))
    assert report_name(manifest, ID) == f"{manifest}.{ID}.json"


def test_report_is_readable_json_with_an_end() -> None:
    content = report_bytes(replace(REPORT, column="größe", rejects=(REJECT,), rows_rejected=1))
    assert content.endswith(b"}\n")
    assert "größe".encode() in content
    assert b'\n  "id": "' in content
    read = json.loads(content)
    assert read["received_at"] == "2026-11-22T08:04:11.000Z"
    assert read["rejects"] == [{"row": 17, "column": "price", "code": 601, "reason": "not a whole number"}]


def test_report_with_a_lone_surrogate_is_json() -> None:
    assert json.loads(report_bytes(replace(REPORT, column="\ud800")))["column"] == "\ud800"


def read_csv(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def test_reason_stands_in_front_of_the_source_columns() -> None:
    content = reject_csv(
        ["identity", "price"], [(REJECT, ["u1", "1,5"]), (RejectedRow(18, None, 610, "ragged"), ["u2", None])]
    )
    assert content == (
        b'"row","code","column","reason","identity","price"\r\n'
        b'"17","601","price","not a whole number","u1","1,5"\r\n'
        b'"18","610","","ragged","u2",""\r\n'
    )


def test_quotes_and_line_ends_in_cells_survive() -> None:
    cells = ['a "quoted" one', "two\r\nlines", "größe, 5", " =1"]
    assert read_csv(reject_csv(["a", "b", "c", "d"], [(REJECT, cells)]))[1][4:] == cells


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠"])
def test_no_cell_starts_like_a_formula(start: str) -> None:
    """FAULTS D9: formula injection, also by the name of a column and by the reason."""
    bad = f"{start}HYPERLINK(1)"
    content = reject_csv([bad], [(RejectedRow(1, bad, 601, bad), [bad])]).decode()
    assert content.count(f'"\'{bad}"') == 4
    assert f'"{bad}"' not in content


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=1, max_size=4))
def test_every_cell_comes_back_or_has_a_quote_in_front(cells: list[str]) -> None:
    """FAULTS D9."""
    content = reject_csv(["c"] * len(cells), [(REJECT, cells)])
    for cell, read in zip(cells, read_csv(content)[1][4:], strict=True):
        assert read in (cell, f"'{cell}")
        assert not read.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠"))


def test_ragged_row_keeps_its_cells() -> None:
    assert [len(line) for line in read_csv(reject_csv(["a", "b"], [(REJECT, ["1"]), (REJECT, ["1", "2", "3"])]))] == [
        6,
        5,
        7,
    ]

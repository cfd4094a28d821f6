"""Formats of data files end to end: encrypted, carried out, in the lake."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ingest.report import Report
from ingest.states import State
from manifests.types import ImportType
from tests.support.workshop import ACCOUNT, Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.app.close()


def stored(workshop: Workshop, data: str | bytes, *wanted: str, **manifest: Any) -> list[tuple[Any, ...]]:
    """The user, and the wanted properties of each row, as the lake has them."""
    workshop.received(data, **manifest)
    report = workshop.carried_out()
    assert (report.state, report.rows_rejected) == (State.SUCCEEDED, 0), report
    folder = workshop.settings.lake_dir / ACCOUNT / "profiles"
    return pl.read_delta(str(folder)).sort("_sequence", "_row").select("identity", *wanted).rows()


def failed(workshop: Workshop, data: str | bytes, **manifest: Any) -> Report:
    import_id = workshop.received(data, **manifest)
    report = workshop.carried_out()
    assert report.state == State.FAILED
    assert workshop.app.lake.stored(ACCOUNT, ImportType.PROFILE, import_id) is None
    return report


SCORE = {"identity": {}, "score": {"dataType": "Integer"}, "note": {"ignore": True}}


def test_file_without_a_header_takes_its_names_from_the_manifest(workshop: Workshop) -> None:
    rows = stored(workshop, "u1,1,x\nu2,2,y\n", "score", header=False, columns=SCORE)
    assert rows == [("u1", 1), ("u2", 2)]


def test_file_without_a_header_and_with_other_columns_fails_before_any_row(workshop: Workshop) -> None:
    report = failed(workshop, "u1,1\nu2,2\n", header=False, columns=SCORE)
    assert report.code == "data.header"
    assert "3 columns" in (report.message or "")
    assert "2 fields" in (report.message or "")


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-16LE", "ISO-8859-1", "Windows-1252"])
def test_declared_encoding_is_read(workshop: Workshop, encoding: str) -> None:
    """FAULTS D3."""
    data = "identity,stadt\nu1,Köln\n".encode(encoding)
    assert stored(workshop, data, "stadt", encoding=encoding) == [("u1", "Köln")]


def test_byte_that_is_not_of_the_declared_encoding_fails_the_file(workshop: Workshop) -> None:
    """FAULTS D3: the offset is named, the content is not."""
    report = failed(workshop, b"identity,name\nu1,secret\x9d\n", encoding="windows-1252")
    assert report.code == "data.encoding"
    assert "byte 23" in (report.message or "")
    assert "secret" not in str(report)


def test_utf_16_that_the_manifest_does_not_name_is_told(workshop: Workshop) -> None:
    """FAULTS D3: declared encoding only."""
    report = failed(workshop, "identity\nu1\n".encode("utf-16"))
    assert (report.code, "`encoding`" in (report.message or "")) == ("data.encoding", True)


def test_gzip_inside_the_encryption_is_unpacked(workshop: Workshop) -> None:
    data = gzip.compress(b"identity,score\nu1,1\n") + gzip.compress(b"u2,2\n")
    assert stored(workshop, data, "score", columns={"score": {"dataType": "Integer"}}) == [("u1", 1), ("u2", 2)]


JSON_COLUMNS = {
    "identity": {},
    "evtData.price": {"ctName": "price", "dataType": "Float"},
    "vip": {"dataType": "Boolean"},
    "big": {"dataType": "String"},
}
JSON_RECORDS = """\
{"identity": 17, "evtData": {"price": 1.10, "rest": [1, 2]}, "vip": true, "big": 12345678901234567890, "l": ["a", "b"]}
{"identity": "u\\u0032", "evtData": {}, "big": null, "note": "k\u00f6ln"}
"""
JSON_ROWS = [("17", 1.1, True, "12345678901234567890", '["a", "b"]', None), ("u2", None, None, None, None, "köln")]
FORMS = {
    "lines": JSON_RECORDS,
    "array": f"[{JSON_RECORDS.strip().replace(chr(10), ',' + chr(10))}]",
    "d": f'{{"d": [{JSON_RECORDS.strip().replace(chr(10), ", ")}]}}',
}


@pytest.mark.parametrize(
    ("form", "name"),
    [("lines", "USERS.NDJSON.GZ.pgp"), ("lines", "users"), ("array", "u.data.gpg"), ("d", "u.json.asc")],
)
def test_json_is_read_in_every_form(workshop: Workshop, form: str, name: str) -> None:
    """FAULTS D5: exact numbers, nesting by path, absent keys; by name, or by content when the name does not say."""
    data = gzip.compress(FORMS[form].encode()) if "GZ" in name else FORMS[form]
    rows = stored(workshop, data, "price", "vip", "big", "l", "note", columns=JSON_COLUMNS, fileName=name)
    assert rows == JSON_ROWS


def test_json_in_another_encoding(workshop: Workshop) -> None:
    data = JSON_RECORDS.encode("utf-16")
    rows = stored(workshop, data, "note", columns=JSON_COLUMNS, encoding="utf-16", fileName="u.json")
    assert rows == [("17", None), ("u2", "köln")]


@pytest.mark.parametrize(("name", "data"), [("u.csv.asc", '{"a":1}\n'), ("u.json.asc", "identity\nu1\n")])
def test_the_name_of_a_file_goes_before_its_content(workshop: Workshop, name: str, data: str) -> None:
    assert failed(workshop, data, fileName=name).code in ("data.header", "data.malformed")


def test_bad_json_records_are_rejected_by_number_and_the_rest_is_stored(workshop: Workshop) -> None:
    """FAULTS D5, D8."""
    lines = ['{"identity": "u1"}', '{"identity": "u2", "identity": "u3"}', '{"identity": NaN}', '{"identity": "u4"}']
    import_id = workshop.received("\n".join(lines), fileName="u.jsonl.asc")
    report = workshop.carried_out()
    assert (report.state, report.rows_stored) == (State.SUCCEEDED, 2)
    assert [(reject.row, reject.code) for reject in report.rejects] == [(2, 611), (3, 610)]
    assert "u3" not in str(workshop.result(import_id))
    assert report.reject_file is not None


def test_json_that_ends_in_the_middle_stores_nothing(workshop: Workshop) -> None:
    """FAULTS D5: a failure of the file names the place."""
    report = failed(workshop, '[{"identity": "u1"}, {"identity": "u2"}, {"ide', fileName="u.json.asc")
    assert report.code == "data.malformed"
    assert "after row 2" in (report.message or "")


def test_truncated_gzip_is_a_named_failure_and_stores_nothing(workshop: Workshop) -> None:
    data = gzip.compress(b"identity,score\n" + b"u1,1\n" * 1000)
    report = failed(workshop, data[:-4])
    assert report.code == "data.malformed"
    assert "cut short" in (report.message or "")


def test_gzip_bomb_inside_the_encryption_is_stopped(workshop: Workshop) -> None:
    """FAULTS P13: the caps of the message count for the gzip in it too."""
    report = failed(workshop, gzip.compress(b"identity,note\n" + (b"u," + b"x" * 500_000 + b"\n") * 250))
    assert report.code == "data.limit"
    assert "200 times" in (report.message or "")

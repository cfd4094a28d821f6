"""Cells to values: vectors for each type, and the vectorised casts against plain Python, cell by cell."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from manifests import codes
from manifests.codes import ROW_CODES
from manifests.dates import DATE_FORMATS, date_format, is_timezone
from manifests.model import Column
from manifests.types import DataType, ImportType
from tests.manifests.rows import RECEIVED, cast, frame, mapped


def python_integer(cell: str) -> object:
    text = cell.strip(" \t")
    if not text:
        return None
    number = int(text) if re.fullmatch(r"[+-]?[0-9]+", text) else None
    return number if number is not None and -(2**63) <= number < 2**63 else codes.WRONG_TYPE


def python_float(cell: str) -> object:
    text = cell.strip(" \t")
    if not text:
        return None
    if not re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", text):
        return codes.WRONG_TYPE
    number = float(text)
    return number if math.isfinite(number) else codes.WRONG_TYPE


def python_boolean(cell: str) -> object:
    text = cell.strip(" \t")
    return {"": None, "0": False, "1": True, "true": True, "false": False}.get(text.lower(), codes.WRONG_TYPE)


NUMBERS = st.text("0123456789+-.eE_ ,\t", max_size=24) | st.integers(-(2**64), 2**64).map(str) | st.floats().map(repr)
WORDS = st.sampled_from(["true", "FALSE", "True", "nan", "inf", "-Infinity", "1e999", "٣", "0x1f", "１", "tru", "yes"])
ANY_CELL = NUMBERS | WORDS | st.text(max_size=8)


@given(st.lists(ANY_CELL, max_size=40))
@settings(max_examples=150, deadline=None)
def test_integers_are_those_of_plain_python(cells: list[str]) -> None:
    assert cast(list(cells), Column(None, DataType.INTEGER)) == [python_integer(cell) for cell in cells]


@given(st.lists(ANY_CELL, max_size=40))
@settings(max_examples=150, deadline=None)
def test_floats_are_those_of_plain_python(cells: list[str]) -> None:
    assert cast(list(cells), Column(None, DataType.FLOAT)) == [python_float(cell) for cell in cells]


@given(st.lists(ANY_CELL, max_size=40))
@settings(max_examples=100, deadline=None)
def test_booleans_are_those_of_plain_python(cells: list[str]) -> None:
    assert cast(list(cells), Column(None, DataType.BOOLEAN)) == [python_boolean(cell) for cell in cells]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # the parts of a date, as many as are given


@pytest.mark.parametrize(
    ("form", "cell", "value"),
    [
        ("dd/MM/yyyy", "31/12/2024", utc(2024, 12, 31)),
        ("dd/MM/yyyy", "31/12/2024 10:00:00", codes.BAD_DATE),
        ("dd/MM/yyyy", "1/2/2024", codes.BAD_DATE),
        ("dd/MM/yyyy", "01/02/24", codes.BAD_DATE),
        ("dd/MM/yyyy", "30/02/2024", codes.BAD_DATE),
        ("MM/dd/yyyy HH:mm:ss", "12/31/2024 23:59:59", utc(2024, 12, 31, 23, 59, 59)),
        ("MM/dd/yyyy HH:mm:ss", "12/31/2024 24:00:00", codes.BAD_DATE),
        ("yyyy/dd/MM", "2024/31/12", utc(2024, 12, 31)),
        ("yyyy/MM/dd", " 2024/12/31 ", utc(2024, 12, 31)),
        ("yyyy-MM-dd", "2024-12-31", utc(2024, 12, 31)),
        ("yyyy-MM-dd", "0000-01-01", codes.BAD_DATE),
        ("yyyy-MM-dd", "9999-12-31", utc(9999, 12, 31)),
        ("dd MMM yyyy", "05 jan 2024", utc(2024, 1, 5)),
        ("dd MMM yyyy", "05 Foo 2024", codes.BAD_DATE),
        ("ISO 8601", "2024-12-31", utc(2024, 12, 31)),
        ("ISO 8601", "2024-12-31T10:20", utc(2024, 12, 31, 10, 20)),
        ("ISO 8601", "2024-12-31 10:20:30.1234567Z", utc(2024, 12, 31, 10, 20, 30, 123456)),
        ("ISO 8601", "2024-12-31T10:20:30+05:30", utc(2024, 12, 31, 4, 50, 30)),
        ("ISO 8601", "2024-12-31T10:20:30-0100", utc(2024, 12, 31, 11, 20, 30)),
        ("ISO 8601", "2024-12-31T10:20:60Z", codes.BAD_DATE),
        ("ISO 8601", "31.12.2024", codes.BAD_DATE),
        ("epoch seconds", "1700000000", utc(2023, 11, 14, 22, 13, 20)),
        ("epoch seconds", "1700000000000", codes.BAD_DATE),
        ("epoch milliseconds", "1700000000123", utc(2023, 11, 14, 22, 13, 20, 123000)),
        ("epoch milliseconds", "9223372036854775807", codes.BAD_DATE),
        ("epoch seconds", "", None),
    ],
)
def test_dates_are_read_in_their_form_and_no_other(form: str, cell: str, value: object) -> None:
    """FAULTS D10: explicit forms, years 1 to 9999, no leap second."""
    assert cast([cell, "garbage", None], Column(None, DataType.DATE, form)) == [value, codes.BAD_DATE, None]
    assert cast([cell], Column(None, DataType.DATE, form)) == [value]


def test_local_times_are_placed_in_their_zone() -> None:
    column = Column(None, DataType.DATE, "yyyy-MM-dd HH:mm:ss", "Europe/Berlin")
    cells: list[str | None] = ["2024-07-01 12:00:00", "2024-10-27 02:30:00", "2024-03-31 02:30:00"]
    assert cast(cells, column) == [utc(2024, 7, 1, 10), utc(2024, 10, 27, 0, 30), codes.BAD_DATE]
    assert cast(["2024-07-01", "2024-07-01T00:00Z"], Column(None, DataType.DATE), zone="Asia/Kolkata") == [
        utc(2024, 6, 30, 18, 30),
        utc(2024, 7, 1),
    ]


def test_formats_have_spellings_and_zones_are_known_to_the_casts() -> None:
    assert date_format("ISO8601") == "ISO 8601"
    assert date_format("Epoch Millis") == "epoch milliseconds"
    assert date_format("DD/mm/YYYY") is None
    assert all(date_format(form) == form for form in DATE_FORMATS)
    for zone in ("UTC", "Asia/Kolkata", "America/Argentina/Buenos_Aires", "Etc/GMT+5"):
        assert is_timezone(zone)
        assert cast(["2024-07-01"], Column(None, DataType.DATE), zone=zone)[0] != codes.BAD_DATE


def test_strings_are_stored_as_they_came_up_to_512_characters() -> None:
    cells: list[str | None] = [" a ", "", None, "ü" * 512, "ü" * 513, "  "]
    assert cast(cells, Column()) == [" a ", None, None, "ü" * 512, codes.TOO_LONG, "  "]


def test_null_values_are_no_values() -> None:
    source = frame(identity=["u1", "NULL"], x=["NULL", "1"], y=["-", "NULLS"])
    made = mapped(source, {"x": Column(None, DataType.INTEGER)}, null_values=("NULL", "-"))
    assert made.accepted.select("x", "y").rows() == [(None, None)]
    assert made.rejects.select("_row", "code").rows() == [(2, codes.NO_USER)]


@pytest.mark.parametrize("value", ["undefined", "NULL", "n/a", "0", "-1", "NaN", "xxxxxx", "None", " null ", "", " "])
def test_a_row_needs_a_real_user(value: str) -> None:
    made = mapped(frame(identity=[value, "someone"]), {})
    assert made.rejects.select("_row", "column", "code").rows() == [(1, "identity", codes.NO_USER)]
    assert made.accepted["identity"].to_list() == ["someone"]


def test_a_user_is_shorter_than_1024_characters() -> None:
    made = mapped(frame(identity=["ü" * 1023, "ü" * 1024]), {})
    assert made.rejects["_row"].to_list() == [2]


def test_a_row_names_exactly_one_user() -> None:
    made = mapped(frame(identity=["a1", None, "a3", ""], GPID=[None, "g2", "g3", ""]), {})
    assert made.accepted.select("_row", "identity", "objectId", "FBID", "GPID").rows() == [
        (1, "a1", None, None, None),
        (2, None, None, None, "g2"),
    ]
    assert made.rejects.select("_row", "column", "reason").rows() == [
        (3, None, "the row names more than one user"),
        (4, None, "the row names no user"),
    ]


def test_an_integer_identity_is_checked_and_stored_as_it_was_written() -> None:
    made = mapped(frame(identity=["00742", "x"]), {"identity": Column(None, DataType.INTEGER)})
    assert made.accepted["identity"].to_list() == ["00742"]
    assert made.rejects["code"].to_list() == [codes.WRONG_TYPE]


def test_event_names_are_checked() -> None:
    names: list[str | None] = ["Charged", None, "app launched", "a|b", "x" * 513, " Charged "]
    source = frame(identity=["someone"] * 6, evtName=names)
    made = mapped(source, {})
    assert made.accepted["evtName"].to_list() == ["Charged", "Charged"]
    assert made.rejects["code"].to_list() == [
        codes.EVENT_NAME_MISSING,
        codes.EVENT_RESERVED,
        codes.FORBIDDEN_NAME,
        codes.TOO_LONG,
    ]
    assert "app launched" in mapped(source, {}, allow_reserved=True).accepted["evtName"].to_list()


def test_time_is_epoch_seconds_a_date_or_the_receipt() -> None:
    source = frame(identity=["someone"] * 4, ts=["1700000000", None, "soon", " "])
    made = mapped(source, {})
    assert made.accepted["ts"].to_list() == [utc(2023, 11, 14, 22, 13, 20), RECEIVED, RECEIVED]
    assert made.rejects.select("_row", "column", "code").rows() == [(3, "ts", codes.BAD_TIMESTAMP)]
    dated = mapped(frame(identity=["someone"], ts=["31/12/2024"]), {"ts": Column(None, DataType.DATE, "dd/MM/yyyy")})
    assert dated.accepted["ts"].to_list() == [utc(2024, 12, 31)]
    assert mapped(frame(identity=["someone"]), {}).accepted["ts"].to_list() == [RECEIVED]


def test_profiles_have_rules_of_their_own() -> None:
    source = frame(
        identity=["someone"] * 6,
        Email=["a@b.de", "nobody", None, None, None, None],
        Phone=[None, None, "+4915112345678", "015112345678", None, "+1234"],
        Gender=["Female", None, "m", None, "yes", None],
    )
    made = mapped(source, {}, kind=ImportType.PROFILE)
    assert made.accepted.columns == ["_row", "identity", "objectId", "FBID", "GPID", "Email", "Phone", "Gender"]
    assert made.accepted.select("_row", "Gender").rows() == [(1, "F"), (3, "M")]
    assert made.rejects.select("_row", "column", "code").rows() == [
        (2, "Email", codes.BAD_EMAIL),
        (4, "Phone", codes.BAD_PHONE),
        (5, "Gender", codes.BAD_GENDER),
        (6, "Phone", codes.BAD_PHONE),
    ]


def test_a_profile_without_properties_is_accepted() -> None:
    made = mapped(frame(identity=["someone"], City=[None]), {}, kind=ImportType.PROFILE)
    assert made.accepted.select("identity", "City").rows() == [("someone", None)]


def test_profile_fields_of_an_event_are_just_properties() -> None:
    assert mapped(frame(identity=["someone"], Email=["not one"]), {}).accepted["Email"].to_list() == ["not one"]


def test_an_integer_widens_to_a_stored_float() -> None:
    made = mapped(
        frame(identity=["someone"] * 2, x=["5", "5.5"]),
        {"x": Column(None, DataType.INTEGER)},
        registry={"X": DataType.FLOAT},
    )
    assert made.accepted["X"].to_list() == [5.0]
    assert made.accepted["X"].dtype == pl.Float64
    assert made.rejects["code"].to_list() == [codes.WRONG_TYPE]


def test_a_rejected_row_has_its_first_reason_and_comes_back_as_it_came() -> None:
    """FAULTS D8: rows are named by number, column and code, never by a value."""
    source = frame(identity=["", "someone", "someone"], x=["secret", "secret", " 7 "], y=["z"] * 3)
    source = source.with_columns(_fault=pl.Series([None, codes.RAGGED, None], dtype=pl.Int32))
    made = mapped(source, {"x": Column(None, DataType.INTEGER), "y": Column(ignore=True)})
    assert made.rejects.select("_row", "column", "code").rows() == [(1, "identity", 523), (2, None, 604)]
    assert not made.rejects["reason"].str.contains("secret").any()
    assert made.rejects["reason"][1] == ROW_CODES[codes.RAGGED].meaning
    assert_frame_equal(made.sources, source[:2].select("_row", "identity", "x", "y"))
    assert made.accepted.select("_row", "x").rows() == [(3, 7)]


def test_a_frame_without_rows_has_the_same_columns() -> None:
    columns = {"x": Column(None, DataType.DATE), "n": Column(None, DataType.BOOLEAN)}
    full = mapped(frame(identity=["someone"], x=["2024-01-01"], n=["1"]), columns)
    empty = mapped(frame(identity=[], x=[], n=[]), columns)
    assert empty.accepted.schema == full.accepted.schema
    assert empty.rejects.schema == full.rejects.schema
    assert empty.sources.schema == full.sources.schema


def test_every_code_has_its_own_name() -> None:
    assert len({row_code.name for row_code in ROW_CODES.values()}) == len(ROW_CODES)
    assert all(code == row_code.code for code, row_code in ROW_CODES.items())


def test_an_event_has_a_limit_of_properties() -> None:
    """CONTRACT 3, code 522: counted in each row, whatever the columns of the file."""
    source = frame(identity=["someone"] * 3, a=["1", "1", None], b=["2", None, None], c=["3", "3", ""])
    made = mapped(source, {}, max_properties=2)
    assert made.rejects.select("_row", "column", "code").rows() == [(1, None, codes.TOO_MANY_PROPERTIES)]
    assert made.accepted["_row"].to_list() == [2, 3]
    assert mapped(source, {}, max_properties=3).rejects.is_empty()


def test_an_object_id_is_one_word() -> None:
    cells = ["-1a063854f83a4c6484285039ecff87cb", "a b", "a\u200bb", "a\nb", "A_(1)!:@$-x"]
    made = mapped(frame(objectId=cells), {})
    assert made.rejects.select("_row", "column", "code").rows() == [
        (row, "objectId", codes.BAD_OBJECT_ID) for row in (2, 3, 4)
    ]


@pytest.mark.parametrize("name", ["*", "^.*$", "^identity$", "x"])
def test_names_of_columns_are_never_patterns(name: str) -> None:
    """FAULTS D7: to polars ``*`` and ``^...$`` are all columns, or some."""
    source = frame(**{"identity": ["someone", "", "else"], name: ["1", "2", "x"]})
    made = mapped(source, {name: Column("Price", DataType.INTEGER)})
    assert made.accepted.select("identity", "Price").rows() == [("someone", 1)]
    assert made.rejects.select("_row", "column").rows() == [(2, "identity"), (3, name)]
    assert made.sources.columns == ["_row", "identity", name]

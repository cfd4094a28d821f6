"""Corner cases of CSV after those of csv-spectrum, each with a header and without one."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.steps.csv_records import CsvRecords
from manifests.codes import BAD_QUOTE, RAGGED
from manifests.errors import DataMalformed, HeaderMismatch

Rows = list[tuple[str, ...]]

CASES: dict[str, tuple[str, list[str], Rows]] = {
    "simple": ("a,b,c\n1,2,3\n", ["a", "b", "c"], [("1", "2", "3")]),
    "simple_crlf": ("a,b,c\r\n1,2,3\r\n", ["a", "b", "c"], [("1", "2", "3")]),
    "no_line_end": ("a,b,c\n1,2,3", ["a", "b", "c"], [("1", "2", "3")]),
    "comma_in_quotes": ('a,b\nJohn,"120 any st., Anytown"\n', ["a", "b"], [("John", "120 any st., Anytown")]),
    "empty": ('a,b,c\n1,"",""\n2,3,4\n', ["a", "b", "c"], [("1", "", ""), ("2", "3", "4")]),
    "empty_crlf": ('a,b,c\r\n1,"",""\r\n2,,\r\n', ["a", "b", "c"], [("1", "", ""), ("2", "", "")]),
    "escaped_quotes": ('a,b\n1,"ha ""ha"" ha"\n3,4\n', ["a", "b"], [("1", 'ha "ha" ha'), ("3", "4")]),
    "json": ('a,b\n1,"{""type"": ""Point"", ""at"": [1]}"\n', ["a", "b"], [("1", '{"type": "Point", "at": [1]}')]),
    "newlines": ('a,b\n1,"Once\nupon \na time"\n', ["a", "b"], [("1", "Once\nupon \na time")]),
    "newlines_crlf": ('a,b\r\n1,"Once\r\nupon"\r\n', ["a", "b"], [("1", "Once\r\nupon")]),
    "quotes_and_newlines": ('a,b\n1,"ha \n""ha"" \nha"\n', ["a", "b"], [("1", 'ha \n"ha" \nha')]),
    "quoted_header": ('"a ""x""","b,c"\n1,2\n', ['a "x"', "b,c"], [("1", "2")]),
    "utf8": ("a,b\n1,ʤ\n2,😀\n", ["a", "b"], [("1", "ʤ"), ("2", "😀")]),
    "bom": ("\ufeffa,b\n1,2\n", ["a", "b"], [("1", "2")]),
    "bom_and_quote": ('\ufeff"a",b\n1,2\n', ["a", "b"], [("1", "2")]),
    "blanks_are_kept": ("a,b\n 1 ,\t2\n", ["a", "b"], [(" 1 ", "\t2")]),
    "line_separators": ("a,b\n1\u2028,\u0085\n", ["a", "b"], [("1\u2028", "\u0085")]),
    "only_delimiters": ("a,b\n,\n", ["a", "b"], [("", "")]),
}  # fmt: skip


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    yield from (data[start : start + size] for start in range(0, len(data), size))


def read(data: bytes, size: int, names: list[str] | None = None) -> tuple[list[str], Rows, list[int | None]]:
    records = CsvRecords(pieces(data, size), chunk_bytes=size, names=names)
    frames = list(records)
    rows = [row for frame in frames for row in frame.drop("_row", "_fault").fill_null("").rows()]
    return records.header, rows, [fault for frame in frames for fault in frame["_fault"]]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [1, 6, 1000])
def test_corner_case_is_read_with_a_header_and_without(case: str, size: int) -> None:
    """FAULTS D2."""
    text, header, rows = CASES[case]
    assert read(text.encode(), size) == (header, rows, [None] * len(rows))
    names = [f"column {number}" for number in range(len(header))]
    first = tuple(header)
    assert read(text.encode(), size, names) == (names, [first, *rows], [None] * (len(rows) + 1))


FIELDS = st.text(st.sampled_from('ab,"\n ü'), max_size=5)


TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(FIELDS, min_size=width, max_size=width), min_size=1, max_size=8)
)


@given(TABLES, st.integers(1, 60), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=100, deadline=None)
def test_file_without_a_header_is_read_as_csv_reads_it(table: list[list[str]], size: int, line_end: str) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(table)
    names = [f"c{number}" for number in range(len(table[0]))]
    plain = [tuple(row) for row in csv.reader(io.StringIO(text.getvalue(), newline=""), strict=True)]
    assert read(text.getvalue().encode(), size, names) == (names, plain, [None] * len(plain))


def test_first_row_of_another_width_fails_the_file_and_a_later_one_its_row() -> None:
    """FAULTS D2: columns never shift."""
    with pytest.raises(HeaderMismatch, match="2 columns, but the first row of the file has 3 fields"):
        read(b"1,2,3\n4,5\n", 100, ["a", "b"])
    assert read(b"1,2\n3,4,5\n6,7\n", 100, ["a", "b"])[2] == [None, RAGGED, None]
    assert read(b'1",2\n3,4\n', 100, ["a", "b"])[2] == [BAD_QUOTE, None]


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "no first row"), (b"\n\r\n", "no first row"), (b'"a\n', "never closed")]
)
def test_file_without_a_header_and_without_a_row_fails(data: bytes, words: str) -> None:
    """FAULTS D1, D2."""
    with pytest.raises(DataMalformed, match=words):
        read(data, 100, ["a"])

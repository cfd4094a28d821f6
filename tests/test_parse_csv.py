"""The parse step: CSV in any chunks is read as Python's csv module wrote it, and what is wrong stays in its row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.steps.csv_records import CsvRecords
from manifests.codes import BAD_ENCODING, BAD_QUOTE, RAGGED
from manifests.errors import DataEncoding, DataMalformed, LimitExceeded

Row = tuple[str | None, ...]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    yield from (data[start : start + size] for start in range(0, len(data), size))


def read(data: bytes, size: int = 7, **options: str | int) -> tuple[list[str], list[Row], list[int | None]]:
    """Header, rows (null as "") and faults; checks that rows are numbered without a gap."""
    records = CsvRecords(pieces(data, size), chunk_bytes=size, **options)  # type: ignore[arg-type]  # any of them
    frames = list(records)
    rows = [row for frame in frames for row in frame.drop("_row", "_fault").fill_null("").rows()]
    assert [row for frame in frames for row in frame["_row"]] == list(range(1, len(rows) + 1))
    assert records.rows_read == len(rows)
    return records.header, rows, [fault for frame in frames for fault in frame["_fault"]]


FIELDS = st.text(st.sampled_from("ab,;\"'\n\r ü\ufeff^x\x01"), max_size=6)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(1, 4))
    return draw(st.lists(st.lists(FIELDS, min_size=width, max_size=width), min_size=1, max_size=12))


@given(
    tables(),
    st.integers(1, 60),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from([",", ";"]),
    st.booleans(),
)
@settings(max_examples=250, deadline=None)
@example([["x\x01"]], 5, "\n", csv.QUOTE_MINIMAL, ",", False)
def test_what_csv_writes_is_read_back_whatever_the_chunks(
    table: list[list[str]], size: int, line_end: str, quoting: int, delimiter: str, bom: bool
) -> None:
    if quoting == csv.QUOTE_MINIMAL and line_end == "\n":  # Python before 3.13 then leaves a carriage return bare
        table = [[field.replace("\r", "") for field in row] for row in table]
    header = [f"c{number}" for number in range(len(table[0]))]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]  # int
    writer.writerows([header, *table])
    data = (b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode()
    assert read(data, size, delimiter=delimiter) == (header, [tuple(row) for row in table], [None] * len(table))


def outcome(data: bytes, size: int) -> object:
    """All that a caller sees of the rows: the rows, and the error if there is one."""
    records = CsvRecords(pieces(data, size), chunk_bytes=size)
    rows: list[Row] = []
    try:
        for frame in records:
            rows += frame.rows()
    except DataMalformed as error:
        return rows, str(error)
    return rows, None


@given(
    st.integers(1, 3),
    st.lists(st.sampled_from([b"a", b",", b'"', b'""', b"\n", b"\r\n", b"\r", b"\0", b"\xff"]), max_size=40).map(
        b"".join
    ),
    st.integers(1, 20),
)
@settings(max_examples=300, deadline=None)
def test_chunk_borders_change_nothing_in_any_bytes(width: int, body: bytes, size: int) -> None:
    """FAULTS D1, D2: what is malformed is found in the same rows, wherever the blocks are cut."""
    data = b",".join(b"c%d" % number for number in range(width)) + b"\n" + body
    assert outcome(data, size) == outcome(data, 10_000)


@pytest.mark.parametrize("size", [1, 3, 8, 1000])
def test_ragged_rows_are_marked_and_never_shift(size: int) -> None:
    """FAULTS D2: too few and too many fields are the row's fault; its neighbours stay whole."""
    data = b'a,b,c\n1,2,3\n1,2\n1,2,3,4\n"x,y",2,\n,,\n1,2,3,\n"1\n",2\n7,8,9'
    header, rows, faults = read(data, size)
    assert header == ["a", "b", "c"]
    assert rows == [
        ("1", "2", "3"),
        ("1", "2", ""),
        ("1", "2", "3,4"),
        ("x,y", "2", ""),
        ("", "", ""),
        ("1", "2", "3,"),
        ("1\n", "2", ""),
        ("7", "8", "9"),
    ]
    assert faults == [None, RAGGED, RAGGED, None, None, RAGGED, RAGGED, None]


def test_short_and_long_rows_do_not_hide_each_other() -> None:
    assert read(b"a,b\n1\n1,2,3\n", 1000)[2] == [RAGGED, RAGGED]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.integers(1, 50), st.booleans())
@settings(max_examples=100, deadline=None)
def test_exactly_the_ragged_rows_are_marked(widths: list[int], size: int, quoted: bool) -> None:
    cell = b'"a,\n""b"' if quoted else b"ab"
    data = b"x,y,z\n" + b"".join(b",".join([cell] * width) + b"\n" for width in widths)
    assert read(data, size)[2] == [None if width == 3 else RAGGED for width in widths]


@pytest.mark.parametrize("size", [1, 5, 16, 1000])
def test_stray_quotes_stay_in_their_row(size: int) -> None:
    """FAULTS D1, D2: a quote where none may stand is the row's fault; rows after it are read."""
    data = b'a,b\n1,12" TV\n2,"x"y\n3,"a\nb"\n4,5" x 7"\n5,"""q"""\n'
    _, rows, faults = read(data, size)
    assert rows == [("1", '12" TV'), ("2", '"x"y'), ("3", "a\nb"), ("4", '5" x 7"'), ("5", '"q"')]
    assert faults == [BAD_QUOTE, BAD_QUOTE, None, BAD_QUOTE, None]


@pytest.mark.parametrize(("good", "after"), [(0, 50), (5, 50), (50, 0)])
@pytest.mark.parametrize("size", [10, 64, 100_000])
def test_unclosed_quote_is_named_by_the_row_that_opens_it(good: int, after: int, size: int) -> None:
    """FAULTS D1: the rest of the file does not become one field in silence."""
    data = b"a,b\n" + b"1,2\n" * good + b'1,"2\n' + b"1,2\n" * after
    records = CsvRecords(pieces(data, size), chunk_bytes=size)
    with pytest.raises(DataMalformed, match=f"Row {good + 1} opens a quote that is never closed"):
        list(records)
    assert records.rows_read == good


def test_a_record_may_be_longer_than_a_chunk_but_not_than_the_limit() -> None:
    """FAULTS D4: one field of many megabytes is cut off while it is read."""
    long = b'a\n1\n"' + b"x\n" * 500 + b'"\n2\n'
    assert [len(row[0] or "") for row in read(long, 10)[1]] == [1, 1000, 1]
    pulled = 0

    def endless() -> Iterator[bytes]:
        nonlocal pulled
        yield b'a\n1\n"'
        while True:
            pulled += 1
            yield b"x" * 1000

    records = CsvRecords(endless(), chunk_bytes=1000, max_record_bytes=10_000)
    with pytest.raises(DataMalformed, match="Row 2 is longer"):
        list(records)
    assert pulled < 50


def test_a_field_may_be_long_and_rows_are_counted() -> None:
    """FAULTS D4: 131,072 bytes are no limit here; columns, records and rows have theirs."""
    assert read(b'a,b\n1,"' + b"x" * 200_000 + b'"\n', 1000)[1] == [("1", "x" * 200_000)]
    assert len(read(b"a\n" + b"1\n" * 20, max_rows=20)[1]) == 20
    with pytest.raises(LimitExceeded, match="more than 19 rows"):
        read(b"a\n" + b"1\n" * 20, max_rows=19)


def test_bytes_that_are_no_text_reject_their_row() -> None:
    """FAULTS D2, D3: invalid, overlong and Latin-1 bytes, surrogates, NUL; the rest is read."""
    data = b"a,b\n1,\xff\n2,\xc0\xaf\n3,J\xfcrgen\n4,\xed\xa0\x80\n5,\x00\n6,\xef\xbf\xbd\n"
    data += b"\x00\x00r7,x\n8\xff\n9,\xc3\xbc\n"
    _, rows, faults = read(data, 1000)
    bad = BAD_ENCODING
    assert faults == [bad, bad, bad, bad, bad, None, bad, RAGGED, None]
    assert rows[2] == ("3", "J\ufffdrgen")
    assert rows[5] == ("6", "\ufffd")
    assert rows[6] == ("\ufffdr7", "x")
    assert rows[8] == ("9", "ü")
    assert read(data, 4)[2] == faults


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", DataMalformed, "no header"),
        (b"\xef\xbb\xbf\n\r\n", DataMalformed, "no header"),
        (b"a,b\r1,2\r", DataMalformed, "CR alone"),
        (b'a,"b\n1,2\n', DataMalformed, "never closed"),
        (b'a,b"c"\n1,2\n', DataMalformed, "quote"),
        ("a,b\n1,2\n".encode("utf-16"), DataEncoding, "UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), DataEncoding, "byte 1"),
        (b"a,\xff\n1,2\n", DataEncoding, "byte 2"),
        (b",".join([b"a"] * 2001) + b"\n", LimitExceeded, "2001"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_header_that_cannot_be_read_is_the_files_fault(
    data: bytes, error: type[Exception], words: str, size: int
) -> None:
    """FAULTS D2, D3, D4: empty file, CR alone, UTF-16, too many columns."""
    with pytest.raises(error, match=words):
        CsvRecords(pieces(data, size), chunk_bytes=size)


def test_header_names_lose_the_blanks_around_them() -> None:
    assert read(b'\n a , "b" \n'.replace(b' "b" ', b'"b "'))[0] == ["a", "b"]


@pytest.mark.parametrize("data", [b"a,b", b"a,b\n", b"a,b\r\n\r\n\n"])
def test_a_file_of_a_header_only_has_no_rows(data: bytes) -> None:
    assert read(data) == (["a", "b"], [], [])


def test_blank_lines_are_no_records_and_line_ends_may_be_mixed() -> None:
    assert read(b"a,b\r\n1,2\n\n3,4\r\n\r\n5,6", 1000)[1] == [("1", "2"), ("3", "4"), ("5", "6")]
    assert read(b'a\n1\n\n""\n\r\n2\n', 1000)[1] == [("1",), ("",), ("2",)]


@pytest.mark.parametrize("start", [b"x^", b"x\x01", b"\xef\xbb\xbf", b"PK\x03\x04", b"#c", b"BZh"])
def test_a_block_is_never_taken_for_another_format(start: bytes) -> None:
    rows = read(b"a,b\n" + (start + b",2\n") * 10, 5)[1]
    assert rows == [(start.decode(), "2")] * 10


def test_errors_of_the_input_pass_through() -> None:
    class Tampered(Exception):
        pass

    def source() -> Iterator[bytes]:
        yield b"a,b\n1,2\n"
        raise Tampered

    records = CsvRecords(source(), chunk_bytes=4)
    frames = iter(records)
    assert next(frames).height == 1
    with pytest.raises(Tampered):
        next(frames)


def test_input_is_pulled_only_when_a_frame_is_asked_for() -> None:
    pulled = 0

    def source() -> Iterator[bytes]:
        nonlocal pulled
        for _ in range(1000):
            pulled += 1
            yield b"a,b\n" * 25

    frames = iter(CsvRecords(source(), chunk_bytes=1000))
    assert next(frames).height > 100
    assert pulled <= 12


def test_frames_have_the_promised_columns() -> None:
    frame = next(iter(CsvRecords([b"a,b\n1,\n"])))
    assert frame.schema == pl.Schema({"a": pl.String, "b": pl.String, "_fault": pl.Int32, "_row": pl.Int64})
    assert frame.rows() == [("1", None, None, 1)]


def test_one_large_chunk_is_read_in_blocks() -> None:
    data = b"a,b\n" + b"1,2\n" * 10_000
    assert max(frame.height for frame in CsvRecords([data], chunk_bytes=4000)) <= 2000

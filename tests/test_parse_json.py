"""The parse step: JSON in any chunks is read as plain Python reads it, and what is wrong stays in its record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import polars as pl
import pytest

from ingest.steps.json_records import JsonRecords
from manifests.codes import BAD_ENCODING, DOUBLED_KEY, LATE_KEY
from manifests.errors import DataEncoding, DataMalformed, HeaderMismatch, LimitExceeded
from manifests.model import Column
from tests.support.json_reading import ABC, read


@pytest.mark.parametrize(
    "where", ['{"a":1,"a":2}', '{"b":{"x":1,"x":2}}', '{"b":[{"x":1,"x":2}]}', r'{"a":1,"\u0061":null}']
)
def test_doubled_keys_are_refused_wherever_they_stand(where: str) -> None:
    """FAULTS D5: the last one does not win."""
    assert read(f'{{"a":1}}\n{where}\n{{"a":3}}')[2] == [None, DOUBLED_KEY, None]
    assert read(f'[{{"a":1}},{where},{{"a":3}}]')[2] == [None, DOUBLED_KEY, None]
    nested = {"b.x": Column(), "a": Column()}
    assert read(f'{{"a":1}}\n{where}\n{{"a":3}}', columns=nested)[2] == [None, DOUBLED_KEY, None]


def test_bytes_that_are_no_text_reject_their_record() -> None:
    """FAULTS D3: invalid, overlong and Latin-1 bytes, surrogates; NUL raw and as an escape."""
    bad = [b"\xff", b"\xc0\xaf", b"J\xfcrgen", b"\xed\xa0\x80", b"\x00", b"\\u0000"]
    lines = [b'{"a":"%b"}' % value for value in bad]
    for data in (b"\n".join([*lines, b'{"a":"\xc3\xbc"}']), b"[" + b",".join([*lines, b'{"a":"\xc3\xbc"}']) + b"]"):
        _, rows, faults = read(data)
        assert faults == [BAD_ENCODING] * 6 + [None]
        assert rows[2][0] == '{"a":"J\ufffdrgen"}'
        assert rows[6][0] == "ü"


def test_a_bad_record_stands_as_it_came_in_the_first_column() -> None:
    assert read('{"a":1}\n{"b":"x\\"\\\\", nonsense\n')[1] == [
        ("1", None, None),
        ('{"b":"x\\"\\\\", nonsense', None, None),
    ]


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        ("", DataMalformed, "empty"),
        (" \n", DataMalformed, "empty"),
        ("identity,name\n", DataMalformed, r"byte 0.*\.csv"),
        ('  "x"', DataMalformed, "byte 2"),
        ('[{"a":1}', DataMalformed, "after row 0: it was cut short"),
        ('[{"a":1},{"a":2},{"a', DataMalformed, "after row 2: it was cut short"),
        ('[{"a":1},]', DataMalformed, "after row 1"),
        ('[,{"a":1}]', DataMalformed, "after row 0"),
        ('[{"a":1},,{"a":2}]', DataMalformed, "after row 1"),
        ('[{"a":1},{"a":2}}]', DataMalformed, "after row 2"),
        ('[{"a":1}] {"a":2}', DataMalformed, "Something follows the array of records, after row 1"),
        ('[{"a":1}]]', DataMalformed, "Something follows"),
        ('{"d":[{"a":1}]', DataMalformed, "the object that holds the array"),
        ('{"d":[{"a":1}],"e":1}', DataMalformed, "Something follows"),
        ('{"d":[{"a":"]}', DataMalformed, "cut short"),
        ('[{"a":"]\n},{"b":1}]', DataMalformed, "cut short"),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_file_whose_records_cannot_be_told_apart_fails_and_names_the_place(
    data: str, error: type[Exception], words: str, size: int
) -> None:
    """FAULTS D5: where the framing is lost nothing can be rejected one by one."""
    with pytest.raises(error, match=words):
        read(data, size)


def test_utf_16_that_is_not_declared_is_told() -> None:
    """FAULTS D3."""
    with pytest.raises(DataEncoding, match="`encoding`"):
        read('{"a":1}'.encode("utf-16"))


def test_dotted_paths_reach_into_objects() -> None:
    columns = {"p.x": Column(), "p.q.z": Column(), "p.no": Column(), "l.x": Column()}
    data = """\
{"p":{"x":1.50,"q":{"z":"in","w":[1]},"m":{"x":9}},"l":[{"x":1}]}
{"p":{"q":{"z":{"k": 1}},"x":null},"l":{"x":"y"}}
{"p":"text","other":{"x":2}}
{"p":[{"x":3}]}
{"p":{}}
"""
    header, rows, faults = read(data, columns=columns)
    assert header == ["p.x", "p.q.z", "p.no", "l.x", "other"]
    assert rows == [
        ("1.50", "in", None, None, None),
        (None, '{"k": 1}', None, "y", None),
        (None, None, None, None, '{"x":2}'),
        (None, None, None, None, None),
        (None, None, None, None, None),
    ]
    assert faults == [None] * 5


def test_a_key_that_is_spelled_with_dots_goes_before_a_path() -> None:
    columns = {"p.x": Column()}
    data = '{"p.x":"key","p":{"x":"path"}}\n{"p":{"x":"path"}}\n{"p.x":"key"}\n'
    assert read(data, columns=columns)[1] == [("key",), ("path",), ("key",)]


def test_an_object_and_a_part_of_it_cannot_both_be_columns() -> None:
    with pytest.raises(HeaderMismatch, match=r'"p" and its part "p\.x"'):
        read("{}", columns={"p": Column(), "p.x": Column()})
    assert read('{"p":{"x":1}}', columns={"p": Column(ignore=True), "p.x": Column()})[0] == ["p.x"]


def test_header_is_the_manifests_columns_and_then_the_keys_of_the_first_block() -> None:
    assert read('{"z":1,"b":2}\n{"y":3}\n', columns={"b": Column(), "seldom": Column()})[0] == ["b", "seldom", "z", "y"]


@pytest.mark.parametrize("key", ["itemPrice", "ITEM PRICE", "item-price"])
def test_column_that_is_only_spelled_otherwise_is_missing(key: str) -> None:
    """FAULTS D7: the header check finds it, as in a CSV; a column that is seldom filled is none."""
    columns = {"item_price": Column(), "coupon": Column()}
    assert read(json.dumps({key: 1}), columns=columns)[0] == ["coupon", key]
    assert read(json.dumps({key: 1, "item_price": 2}), columns=columns)[0] == ["item_price", "coupon", key]


def test_a_key_that_comes_later_rejects_its_record_when_it_has_a_value() -> None:
    """Nothing is lost in silence: no property can be added once the schema is fixed."""
    first = '{"a":1}\n' * 20
    later = '{"a":1,"late":null}\n{"a":2,"late":3}\n{"a":4,"gone":5}\n{"a":6}\n'
    columns = {"a": Column(), "gone": Column(ignore=True), "known": Column()}
    for data in (first + later, f"[{(first + later).strip().replace(chr(10), ',')}]"):
        header, rows, faults = read(data, 40, columns)
        assert header == ["a", "known"]
        assert faults == [None] * 21 + [LATE_KEY, None, None]
        assert rows[21:] == [("2", None), ("4", None), ("6", None)]
    assert read(first + later, 1000, columns)[0] == ["a", "known", "late"]


def test_too_many_keys_are_refused() -> None:
    """FAULTS D4: columns; 10,000 keys in one record, and one new key in each record."""
    with pytest.raises(LimitExceeded, match="10000"):
        read(json.dumps({f"k{number}": 1 for number in range(10_000)}), 1_000_000)
    with pytest.raises(LimitExceeded, match="2001"):
        read("".join(f'{{"k{number}":1}}\n' for number in range(2001)), 1_000_000, {})
    later = "".join(f'{{"k{number}":1}}\n' for number in range(3000))
    assert read('{"a":1}\n' * 10 + later, 80, {"a": Column()})[2] == [None] * 10 + [LATE_KEY] * 3000


@pytest.mark.parametrize("start", [b'{"a":1}\n{"a":"', b'[{"a":1},{"a":"', b'{"d":[{"a":1},{"a":["'])
def test_a_record_is_cut_off_while_it_is_read(start: bytes) -> None:
    """FAULTS D4: a record of a gigabyte does not come into memory."""
    pulled = 0

    def endless() -> Iterator[bytes]:
        nonlocal pulled
        yield start
        while True:
            pulled += 1
            yield b"x" * 1000

    records = JsonRecords(endless(), ABC, chunk_bytes=1000, max_record_bytes=100_000)
    with pytest.raises(DataMalformed, match="Row 2 is longer than 100000 bytes"):
        list(records)
    assert pulled < 250


def test_a_record_may_be_longer_than_a_chunk() -> None:
    long = "x" * 5000
    assert read(f'{{"a":"{long}"}}\n{{"a":2}}', 100)[1] == [(long, None, None), ("2", None, None)]
    assert read(f'[{{"a":"{long}"}},{{"a":2}}]', 100)[1] == [(long, None, None), ("2", None, None)]


def test_too_many_rows_are_refused() -> None:
    """FAULTS D4."""
    assert len(read('{"a":1}\n' * 20, 40, max_rows=20)[1]) == 20
    with pytest.raises(LimitExceeded, match="more than 19 rows"):
        read('{"a":1}\n' * 20, 40, max_rows=19)


@pytest.mark.parametrize(("start", "between"), [(b"", b"\n"), (b"[", b","), (b'{"d":[', b", \n  ")])
def test_input_is_pulled_only_when_a_frame_is_asked_for(start: bytes, between: bytes) -> None:
    """FAULTS D4: constant memory, for arrays too."""
    pulled = 0

    def source() -> Iterator[bytes]:
        nonlocal pulled
        yield start
        while True:
            pulled += 1
            yield (b'{"a":1,"b":{"c":[{"x":"y"}]}}' + between) * 1000

    frames = iter(JsonRecords(source(), ABC, chunk_bytes=100_000))
    before = 0
    for _ in range(5):
        assert next(frames).height <= 4000
        assert pulled - before <= 8
        before = pulled


def test_one_bad_record_among_many_is_found() -> None:
    """FAULTS D8: one of 30,000, wherever it stands."""
    for place in (0, 12_345, 29_999):
        lines = ['{"a":1,"b":"x"}'] * 30_000
        lines[place] = '{"a":1,"b":x}'
        _, _, faults = read("\n".join(lines), 10_000_000)
        assert [row for row, fault in enumerate(faults) if fault is not None] == [place]


def test_frames_have_the_promised_columns_also_when_there_is_no_record() -> None:
    (frame,) = JsonRecords([b'{"a":"","b":null}\n'], {"a": Column()})
    assert frame.schema == pl.Schema({"a": pl.String, "b": pl.String, "_row": pl.Int64, "_fault": pl.Int32})
    assert frame.rows() == [("", None, 1, None)]
    assert read("[]") == (["a", "b", "c"], [], [])
    assert read('{"d": [ ] }') == (["a", "b", "c"], [], [])
    with pytest.raises(DataMalformed, match="names no columns"):
        read("[]", columns={})


def test_errors_of_the_input_pass_through_and_it_is_read_to_its_end() -> None:
    class Tampered(Exception):
        pass

    def source() -> Iterator[bytes]:
        yield b'[{"a":1}] \n'
        yield b" " * 70_000
        raise Tampered

    records = JsonRecords(source(), ABC, chunk_bytes=50)
    with pytest.raises(Tampered):
        list(records)


def test_no_message_has_a_value_in_it() -> None:
    """FAULTS D3, D8."""
    for data in ('[{"a":"secret"}', '[{"a":"secret"},]', '[{"a":"secret"}]secret', '{"d":[{"a":"secret"}]secret'):
        with pytest.raises(DataMalformed) as caught:
            read(data)
        assert re.search("secret", str(caught.value)) is None

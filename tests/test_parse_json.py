"""The parse step: JSON in any chunks is read as plain Python reads it, and what is wrong stays in its record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.steps.json_records import JsonRecords
from manifests.codes import BAD_ENCODING, BAD_JSON, DOUBLED_KEY, LATE_KEY
from manifests.errors import DataEncoding, DataMalformed, HeaderMismatch, LimitExceeded, ManifestError
from manifests.model import Column

Row = tuple[str | None, ...]
ABC = {"a": Column(), "b": Column(), "c": Column()}


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    yield from (data[start : start + size] for start in range(0, len(data), size))


def read(
    data: bytes | str, size: int = 1000, columns: Mapping[str, Column] = ABC, **options: int
) -> tuple[list[str], list[Row], list[int | None]]:
    """Header, rows and faults; checks that rows are numbered without a gap."""
    data = data.encode() if isinstance(data, str) else data
    records = JsonRecords(pieces(data, size), columns, chunk_bytes=size, **options)
    frames = list(records)
    rows = [row for frame in frames for row in frame.drop("_row", "_fault").rows()]
    assert [row for frame in frames for row in frame["_row"]] == list(range(1, len(rows) + 1))
    assert records.rows_read == len(rows)
    return records.header, rows, [fault for frame in frames for fault in frame["_fault"]]


def outcome(data: bytes, size: int) -> object:
    """All that a caller sees of the rows, and the class of the error if there is one."""
    try:
        return read(data, size)
    except ManifestError as error:
        return type(error)


# One record as plain Python reads it: numbers and literals by their text, what is nested by its own.


class Bad(ValueError):
    pass


def refuse(_: str) -> NoReturn:
    raise Bad


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise Bad
    return dict(pairs)


def depth_of(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def plain(line: bytes) -> dict[str, Any] | None:
    """The object in a line, or nothing when it is no good one; only for lines without escapes of half characters."""
    try:
        value = json.loads(line.decode(), parse_int=str, parse_float=str, parse_constant=refuse, object_pairs_hook=once)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return None
    return value if isinstance(value, dict) and depth_of(value) <= 64 and "\0" not in str(value) else None


def cell(value: Any) -> str | None:
    return value if isinstance(value, str | None) else "true" if value else "false"


# Records written in every way that RFC 8259 allows, with what each of their cells must be.

BLANKS = st.sampled_from(["", "", "", " ", "\t", "  ", "\r"])
CHARS = st.sampled_from(list("ab,:{}[]\"\\/ ü😀\n\t\x01\ufeffu'"))
NUMBERS = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["-0", "1.10", "1E+400", "12345678901234567890", "0.10e-7", "9" * 5000]),
)


@st.composite
def strings(draw: st.DrawFn) -> tuple[str, str]:
    """A string as it is written and as it is."""
    value = "".join(draw(st.lists(CHARS, max_size=5)))
    written = ""
    for char in value:
        plain_form = json.dumps(char, ensure_ascii=False)[1:-1]
        written += draw(st.sampled_from([plain_form, json.dumps(char)[1:-1], *(["\\/"] if char == "/" else [])]))
    return f'"{written}"', value


@st.composite
def values(draw: st.DrawFn, depth: int = 0) -> tuple[str, str | None]:
    """A value as it is written, and the cell that it makes."""
    kind = draw(st.integers(0, 5 if depth < 3 else 3))
    if kind <= 1:
        return draw(strings())
    if kind == 2:
        number = draw(NUMBERS)
        return number, number
    if kind == 3:
        word = draw(st.sampled_from(["true", "false", "null"]))
        return word, None if word == "null" else word
    space = draw(BLANKS)
    inner = [draw(values(depth + 1))[0] for _ in range(draw(st.integers(0, 3)))]
    if kind == 4:
        text = f"[{space}{f'{space},'.join(inner)}]"
    else:
        keys = draw(
            st.lists(st.sampled_from(["x", "y", "a", "", "ü"]), min_size=len(inner), max_size=len(inner), unique=True)
        )
        members = [f"{json.dumps(key)}{space}:{value}" for key, value in zip(keys, inner, strict=True)]
        text = f"{{{space}{f',{space}'.join(members)}}}"
    return text, text


KEYS = st.permutations(["a", "b", "c"]).flatmap(lambda keys: st.integers(0, 3).map(lambda count: keys[:count]))


@st.composite
def records(draw: st.DrawFn, all_keys: list[str] | None = None) -> tuple[str, Row]:
    """A record with some of the keys a, b and c, in any order or in the one that is given, and its row."""
    keys = draw(KEYS) if all_keys is None else all_keys
    cells: dict[str, str | None] = {}
    members = []
    for key in keys:
        written, cells[key] = draw(values())
        name = draw(st.sampled_from([json.dumps(key), f'"\\u{ord(key):04x}"']))
        members.append(f"{draw(BLANKS)}{name}{draw(BLANKS)}:{draw(BLANKS)}{written}{draw(BLANKS)}")
    body = ",".join(members) or draw(BLANKS)
    return f"{draw(BLANKS)}{{{body}}}{draw(BLANKS)}", tuple(cells.get(key) for key in "abc")


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[Row]]:
    """Some records in one of the three forms, and their rows."""
    alike = draw(KEYS) if draw(st.booleans()) else None
    written = draw(st.lists(records(alike), min_size=1, max_size=8))
    form = draw(st.integers(0, 2))
    if form == 0:
        text = "".join(f"{record}\n{draw(st.sampled_from(['', '', chr(10), ' ' + chr(10)]))}" for record, _ in written)
        text = text if draw(st.booleans()) else text.removesuffix("\n")
    else:
        space = draw(st.sampled_from(["", "\n", "\r\n  "]))
        text = f"{space}[{space}{f'{space},{space}'.join(record for record, _ in written)}{space}]{space}"
        text = text if form == 1 else f'{{"d"{space}:{text}}}\n'
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return bom + text.encode(), [row for _, row in written]


@given(files(), st.integers(4, 80))
@settings(max_examples=100, deadline=None)
def test_every_way_to_write_records_is_read_exactly_whatever_the_chunks(
    file: tuple[bytes, list[Row]], size: int
) -> None:
    """FAULTS D5: numbers by their text, no rounding, no limit of digits; blanks, escapes and nesting of every kind."""
    data, rows = file
    for chunk in (size, 100_000):
        assert read(data, chunk) == (["a", "b", "c"], rows, [None] * len(rows))


TOKENS = [
    b'"a"',
    b'"b"',
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"1",
    b"0",
    b"-",
    b".5",
    b"e1",
    b"true",
    b"nul",
    b"l",
]
TOKENS += [
    b"null",
    b" ",
    b"\t",
    b"\r",
    b"\\",
    b'\\"',
    b"\\n",
    b"\\u00e9",
    b"\\x",
    b"\x01",
    b"\xff",
    b"\xc3\xbc",
    b"NaN",
]
RECORD = b'{"a":"x","b":[1,{"c":"]"}],"c":1.0}'


@given(
    st.lists(
        st.one_of(
            st.just(RECORD),
            st.lists(st.sampled_from(TOKENS), max_size=8).map(b"".join),
            st.lists(st.sampled_from(TOKENS), max_size=6).map(lambda inner: b'{"a":' + b"".join(inner) + b"}"),
            st.tuples(st.integers(0, len(RECORD) - 1), st.sampled_from(TOKENS)).map(
                lambda change: RECORD[: change[0]] + change[1] + RECORD[change[0] + 1 :]
            ),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=150, deadline=None)
def test_exactly_the_lines_that_plain_python_refuses_are_rejected(lines: list[bytes]) -> None:
    """FAULTS D5: JSON lines; a bad record is a fault of its row, its neighbours stay whole."""
    lines = [b"{}", *(line for line in lines if line.strip(b" \t\r"))]
    found = [plain(line) for line in lines]
    others = {key: Column(ignore=True) for value in found for key in value or {} if key not in ABC}
    _, rows, faults = read(b"\n".join(lines), 10_000, ABC | others)
    assert [fault is None for fault in faults] == [value is not None for value in found]
    for row, value in zip(rows, found, strict=True):
        for key, written in zip("abc", row, strict=True):
            expected = value.get(key) if value is not None else None
            if value is not None and not isinstance(expected, dict | list):
                assert written == cell(expected)
            elif value is not None:
                assert json.loads(written or "", parse_int=str, parse_float=str) == expected


@given(st.lists(st.sampled_from([RECORD, *TOKENS]), max_size=20).map(b"".join), st.integers(1, 30), st.integers(0, 2))
@settings(max_examples=120, deadline=None)
def test_chunk_borders_change_nothing_in_any_bytes(body: bytes, size: int, form: int) -> None:
    """FAULTS D5: what is malformed is found in the same records, wherever the blocks are cut."""
    data = {0: b'{"a":1}\n%b', 1: b'[{"a":1},%b,{"b":2}]', 2: b'{"d":[{"a":1},%b]}'}[form] % body.replace(b"}", b"}\n")
    assert outcome(data, size) == outcome(data, 100_000)


@given(
    st.lists(
        st.one_of(st.just(RECORD), st.lists(st.sampled_from(TOKENS), min_size=1, max_size=6).map(b"".join)), max_size=6
    )
)
@settings(max_examples=120, deadline=None)
def test_an_array_is_refused_or_read_as_plain_python_reads_it(elements: list[bytes]) -> None:
    """FAULTS D5: what is wrong in an array is a rejected record or a failure, and never changes another record."""
    data = b'[{"b":"first"},' + b",".join(elements) + b"]" if elements else b'[{"b":"first"}]'
    try:
        whole = json.loads(data.decode(), parse_int=str, parse_float=str, parse_constant=refuse, object_pairs_hook=once)
        json.dumps(whole, ensure_ascii=False).encode()
    except ValueError:
        whole = None
    try:
        _, rows, faults = read(data, 10_000, ABC | LATE_OK)
    except ManifestError:
        assert whole is None
        return
    if whole is None:
        assert any(faults)
    else:
        expected = [isinstance(value, dict) and depth_of(value) <= 64 and "\0" not in str(value) for value in whole]
        assert [fault is None for fault in faults] == expected
        assert rows[0][1] == "first"


LATE_OK = {name: Column(ignore=True) for name in ("", ":", ",", "{", "}", "[", "]", " ", "1")}

# After the cases of JSONTestSuite: y_ must be read, n_ must be refused, i_ is what we decided.

Y_VALUES = {
    "zero": "0",
    "minus zero": "-0",
    "exponent": "1E22",
    "exponent plus": "1e+2",
    "fraction": "123.456e-789",
    "too large for a double": "1e999",
    "beyond 64 bits": "-123123123123123123123123123123",
    "many digits": "1" * 5000,
    "true": "true",
    "empty array": "[]",
    "empty object": "{}",
    "array with blanks": "[ 1 ,\t2 ]",
    "depth 64": "[" * 63 + "]" * 63,
    "many siblings": "[" + "[]," * 100 + "[]]",
    "brackets in a string": '["[{"]',
    "all escapes": r'"\"\\\/\b\f\n\r\t"',
    "escaped backslash at the end": r'"\\"',
    "backslash before u": r'"\\u0000\\ud800"',
    "surrogate pair": r'"\ud83d\ude00"',
    "escaped BMP": r'"\u00e9\uFFFF"',
    "noncharacter": '"\uffff"',
    "delete": '"\x7f"',
    "line separators": '"\u2028\u2029"',
    "object with the same key on two levels": '{"a":{"a":1}}',
}


@pytest.mark.parametrize("value", Y_VALUES.values(), ids=Y_VALUES.keys())
def test_good_values_are_read_exactly(value: str) -> None:
    """FAULTS D5: the y_ cases."""
    loaded = json.loads(value, parse_int=str, parse_float=str) if value[0] == '"' else value
    for data in (
        f'{{"a":{value}}}\n{{"b":1}}\n',
        f'[{{"a":{value}}},{{"b":1}}]',
        f'{{"d":[{{"a":{value} }},{{"b":1}}]}}',
    ):
        assert read(data)[1:] == ([(loaded, None, None), (None, "1", None)], [None, None])


N_VALUES = {
    "leading zero": "012",
    "plus": "+1",
    "no digits": "-",
    "point at the end": "1.",
    "point at the start": ".1",
    "exponent without digits": "1e",
    "hexadecimal": "0x1",
    "digits of another script": "١",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "word": "nope",
    "capitals": "True",
    "two values": "1 2",
    "nothing": "",
    "comma alone": ",",
    "single quotes": "'x'",
    "comment": "1/**/",
    "trailing comma in an array": "[1,]",
    "double comma": "[1,,2]",
    "colon in an array": '["a":1]',
    "key without value": '{"a"}',
    "number as key": "{1:1}",
    "trailing comma in an object": '{"a":1,}',
    "wrong closing bracket": '["a"}',
    "unknown escape": r'"\x"',
    "short escape": r'"\u00e"',
    "bad hexadecimal": r'"\u00g0"',
    "raw tab": '"\t"',
    "raw control": '"\x1f"',
    "NaN in an array": "[NaN]",
    "depth 65": "[" * 64 + "]" * 64,
    "depth 65 around a string": "[" * 64 + '"x"' + "]" * 64,
    "depth 100,000": "[" * 100_000 + "]" * 100_000,
    "lone high surrogate": r'"\ud800"',
    "lone low surrogate": r'"x\udc00"',
    "surrogates the wrong way round": r'"\udc00\ud800"',
    "lone surrogate in an array": r'["\ud800\ud800\udc00"]',
    "no-break space": "\u00a01",
}


@pytest.mark.parametrize("value", N_VALUES.values(), ids=N_VALUES.keys())
def test_bad_values_reject_their_record_only(value: str) -> None:
    """FAULTS D5: the n_ cases, and of the i_ cases those that are refused here."""
    data = f'{{"b":1}}\n{{"a":{value}}}\n{{"c":2}}\n'
    _, rows, faults = read(data)
    assert faults == [None, BAD_JSON, None]
    assert (rows[0], rows[2]) == ((None, "1", None), (None, None, "2"))


@pytest.mark.parametrize("value", [v for v in N_VALUES.values() if v.count("[") == v.count("]")])
def test_bad_values_in_an_array_reject_their_record_or_the_file(value: str) -> None:
    try:
        _, rows, faults = read(f'[{{"b":1}},{{"a":{value}}},{{"c":2}}]')
    except DataMalformed:
        return
    assert faults == [None, BAD_JSON, None]
    assert (rows[0], rows[2]) == ((None, "1", None), (None, None, "2"))


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

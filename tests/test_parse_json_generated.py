"""Generated JSON files: read as plain Python reads them, whatever the chunks; what is wrong stays in its record."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.errors import ManifestError
from manifests.model import Column
from tests.support.json_reading import ABC, Row, read


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

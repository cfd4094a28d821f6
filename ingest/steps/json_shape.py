"""Records that are written alike: the keys of one record, in its order, as one regular expression for many.

Most files come from a program that writes the same keys in every record. An expression made from one of them is a
whole grammar for the others: what matches is a valid JSON object with just these keys, and its groups are the values.
Strings, numbers, ``true``, ``false`` and ``null`` may stand for each other, so types need not be alike. It is several
times as fast as looking at each gap; what does not match is for `ingest.steps.json_gaps`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from ingest.steps.json_paths import Branch
from ingest.steps.json_text import fault_of, unescaped, written

_COLUMNS_AT_ONCE = 14  # with more than 16 groups the expression leaves its fast engine
_MOST_COLUMNS = 60  # beyond them the gaps are as fast
_MOST_CHARS = 8_000

_W = r"[ \t\r]*"
_SCALAR = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false"
_PLAIN = r'[^"\\\x00-\x1f]*'
_ESCAPED = r'[^"\x00\x03-\x1f]*'  # the marks of escapes, and escapes, which somebody else resolves
_ANY = rf'(?:"{_PLAIN}"|{_SCALAR}|null)'
_LIST = rf"\[{_W}(?:{_ANY}{_W}(?:,{_W}{_ANY}{_W})*)?\]"


class _Unlike(Exception):
    """A record that makes no expression."""


class _Pairs(list[tuple[str, Any]]):
    """An object as JSON's decoder found it."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=str, parse_float=str)


class _Column(NamedTuple):
    """What one group of an expression holds: a value, or JSON text of something nested."""

    name: str
    is_text: bool


class _Piece(NamedTuple):
    """A part of an expression with one group, or none where no column is filled."""

    pattern: str
    column: _Column | None


@dataclass(frozen=True, slots=True)
class Shape:
    """The records with the same keys as one record.

    ``steps`` are expressions, each with the columns that its groups fill; the last group is what the next one goes on
    with. Without ``has_escapes`` strings with an escape do not match.
    """

    steps: tuple[tuple[str, tuple[_Column, ...]], ...]
    has_escapes: bool

    def matched(self, records: pl.Series) -> tuple[pl.Series, dict[str, pl.Series]] | None:
        """The places of the records that match, and their values by column; nothing when a string has a bad escape."""
        frame = records.to_frame("rest").with_row_index("place")
        for pattern, columns in self.steps:
            names = [*(f"c{column.name}" for column in columns), "rest"]
            groups = frame["rest"].str.extract_groups(pattern).struct.rename_fields(names).struct.unnest()
            frame = pl.concat([frame.drop("rest"), groups], how="horizontal")
            if frame["rest"].has_nulls():
                frame = frame.filter(pl.col("rest").is_not_null())
        values: dict[str, pl.Series] = {}
        for name, is_text in (column for _, columns in self.steps for column in columns):
            found = frame[f"c{name}"]
            if not is_text:
                plain = pl.when(found != "null").then(found.str.strip_chars('"'))
                value = pl.select(plain).to_series()
                resolved = unescaped(value) if self.has_escapes else value
                if resolved is None:
                    return None
                found = resolved
            values[name] = found
        return frame["place"].cast(pl.Int64), values


def shape_of(record: str, root: Branch, known: frozenset[str] | None, *, has_escapes: bool) -> Shape | None:
    """The shape of a marked record; nothing when it is not good, has a key that is not ``known``, or is not simple."""
    if len(record) > _MOST_CHARS or fault_of(record) is not None:
        return None
    pairs = _DECODER.decode(written(record))
    if known is not None and not known.issuperset(key for key, _ in pairs):
        return None
    try:
        pieces = [*_object(pairs, root, string=_ESCAPED if has_escapes else _PLAIN, is_root=True), _Piece(_W, None)]
    except _Unlike:
        return None
    names = [piece.column.name for piece in pieces if piece.column]
    if len(names) > _MOST_COLUMNS or len(set(names)) < len(names):
        return None
    return Shape(tuple(_steps(pieces)), has_escapes)


def _steps(pieces: list[_Piece]) -> Iterator[tuple[str, tuple[_Column, ...]]]:
    """The pieces as expressions of at most `_COLUMNS_AT_ONCE` columns."""
    pattern, columns = "", list[_Column]()
    for piece in pieces:
        if piece.column and len(columns) == _COLUMNS_AT_ONCE:
            yield f"^{pattern}(.*)$", tuple(columns)
            pattern, columns = "", []
        pattern += piece.pattern
        columns += [piece.column] if piece.column else []
    yield f"^{pattern}()$", tuple(columns)


def _object(pairs: _Pairs, branch: Branch, *, string: str, is_root: bool = False) -> Iterator[_Piece]:
    """The expression for an object that is looked into.

    Each piece ends with a mark of JSON: behind a number or a blank it would be open where the rest begins, and the
    engine would have to try.
    """
    yield _Piece(rf"{_W}\{{" if pairs else rf"{_W}\{{{_W}\}}", None)
    for place, (key, value) in enumerate(pairs, start=1):
        name = key if is_root else branch.leaves.get(key)
        start = f"{_W}{_key(key)}{_W}:"
        end = _W + ("," if place < len(pairs) else r"\}")
        if isinstance(value, _Pairs) and key in branch.inner:
            yield _Piece(start, None)
            yield from _object(value, branch.inner[key], string=string)
            yield _Piece(end, None)
        elif name is None:
            yield _Piece(f"{start}{_W}{_nested(value)}{end}", None)
        elif isinstance(value, list):
            yield _Piece(f"{start}{_W}({_nested(value)}){end}", _Column(name, is_text=True))
        else:
            yield _Piece(rf'{start}{_W}("{string}"|{_SCALAR}|null){end}', _Column(name, is_text=False))


def _nested(value: Any) -> str:
    """The expression for a value that nobody looks into: simple, a list of simple ones, an object of the same keys."""
    if isinstance(value, _Pairs):
        members = [f"{_key(key)}{_W}:{_W}{_nested(inner)}{_W}" for key, inner in value]
        return rf"\{{{_W}{f',{_W}'.join(members)}\}}"
    if not isinstance(value, list):
        return _ANY
    if any(isinstance(element, list) for element in value):
        raise _Unlike
    return _LIST


def _key(key: str) -> str:
    if not key.isprintable() or '"' in key or "\\" in key:
        raise _Unlike  # it can be written in more than one way
    return '"' + "".join(char if char.isascii() and char.isalnum() else rf"\x{{{ord(char):x}}}" for char in key) + '"'

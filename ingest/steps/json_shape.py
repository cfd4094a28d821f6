"""Records that are written alike: the keys of one record, in its order, as one regular expression for many.

Most files come from a program that writes the same keys in every record. An expression made from one of them is a
whole grammar for the others: what matches is a valid JSON object with just these keys, and its groups are the values.
Strings, numbers, ``true``, ``false`` and ``null`` may stand for each other, so types need not be alike. It is several
times as fast as looking at each gap; what does not match is for `ingest.steps.json_gaps`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import polars as pl

from ingest.steps.json_paths import Branch
from ingest.steps.json_text import fault_of, unescaped, written

_MOST_COLUMNS = 40  # beyond them the expression leaves the fast engine
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


@dataclass(frozen=True, slots=True)
class Shape:
    """The records with the same keys as one record.

    ``columns`` are the columns that it fills, each with whether it holds JSON text of something nested. Without
    ``has_escapes`` strings with an escape do not match.
    """

    pattern: str
    columns: tuple[tuple[str, bool], ...]
    has_escapes: bool

    def matched(self, records: pl.Series) -> tuple[pl.Series, dict[str, pl.Series]] | None:
        """Which records match, and the values of those by column; nothing when a string has a bad escape."""
        groups = records.str.extract_groups(self.pattern).struct.unnest()
        matches = groups["1"].is_not_null()
        if not matches.all():
            groups = groups.filter(matches)
        values: dict[str, pl.Series] = {}
        group = 2
        for name, is_nested in self.columns:
            found = groups[str(group)]
            if is_nested:
                values[name] = found
                group += 1
                continue
            strings = unescaped(found) if self.has_escapes else found
            if strings is None:
                return None
            scalars = groups[str(group + 1)]
            values[name] = (
                strings
                if scalars.null_count() == len(scalars)
                else pl.select(pl.coalesce(strings, scalars)).to_series()
            )
            group += 2
        return matches, values


def shape_of(record: str, root: Branch, known: frozenset[str] | None, *, has_escapes: bool) -> Shape | None:
    """The shape of a marked record; nothing when it is not good, has a key that is not ``known``, or is not simple."""
    if len(record) > _MOST_CHARS or fault_of(record) is not None:
        return None
    pairs = _DECODER.decode(written(record))
    if known is not None and not known.issuperset(key for key, _ in pairs):
        return None
    columns: list[tuple[str, bool]] = []
    try:
        pattern = _object(pairs, root, columns, string=_ESCAPED if has_escapes else _PLAIN, is_root=True)
    except _Unlike:
        return None
    names = [name for name, _ in columns]
    if len(names) > _MOST_COLUMNS or len(set(names)) < len(names) or len(pattern) > 20 * _MOST_CHARS:
        return None
    return Shape(rf"^{_W}(\{{){pattern}{_W}$", tuple(columns), has_escapes)


def _object(
    pairs: _Pairs, branch: Branch, columns: list[tuple[str, bool]], *, string: str, is_root: bool = False
) -> str:
    """The expression for an object that is looked into, behind its opening brace."""
    members = []
    for key, value in pairs:
        name = key if is_root else branch.leaves.get(key)
        if isinstance(value, _Pairs) and key in branch.inner:
            wanted = rf"\{{{_object(value, branch.inner[key], columns, string=string)}"
        elif isinstance(value, list):
            wanted = _nested(value)
            if name is not None:
                columns.append((name, True))
                wanted = f"({wanted})"
        elif name is None:
            wanted = _ANY
        else:
            columns.append((name, False))
            wanted = rf'(?:"({string})"|({_SCALAR})|null)'
        members.append(f"{_key(key)}{_W}:{_W}{wanted}{_W}")
    return rf"{_W}{f',{_W}'.join(members)}\}}"


def _nested(value: list[Any]) -> str:
    """The expression for a value that is kept as its text: an object of the same keys, or a list of simple values."""
    if not isinstance(value, _Pairs):
        if any(isinstance(element, list) for element in value):
            raise _Unlike
        return _LIST
    members = [f"{_key(key)}{_W}:{_W}{_nested(inner) if isinstance(inner, list) else _ANY}{_W}" for key, inner in value]
    return rf"\{{{_W}{f',{_W}'.join(members)}\}}"


def _key(key: str) -> str:
    if not key.isprintable() or '"' in key or "\\" in key:
        raise _Unlike  # it can be written in more than one way
    return '"' + "".join(char if char.isascii() and char.isalnum() else rf"\x{{{ord(char):x}}}" for char in key) + '"'

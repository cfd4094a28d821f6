"""JSON text (RFC 8259) as the vectorised readers take it: escapes that would hide a quote are single characters.

In this form every ``"`` opens or closes a string, so that splitting at quotes gives strings and what stands between
them. Control characters may not stand in JSON text, so some can be marks here; those that a sender wrote are marks
themselves, of what must be refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NoReturn

import polars as pl

from manifests.codes import BAD_ENCODING, BAD_JSON, DOUBLED_KEY

MAX_DEPTH = 64

NO_TEXT = "\0"  # bytes that are no UTF-8, or a NUL
ESCAPED_BACKSLASH = "\1"
ESCAPED_QUOTE = "\2"
CONTROL = "\3"  # any other control character but tab, line feed and carriage return

_KEPT = b"\0\t\n\r"
_MARKS = bytes(code if code >= 32 or code in _KEPT else ord(CONTROL) for code in range(256))
_UNDECODED = re.compile("[\udc80-\udcff]+")
_HIGH, _LOW = r"\\u[dD][89abAB]..", r"\\u[dD][c-fC-F].."
_LONE_SURROGATE = re.compile(rf"{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW}", re.DOTALL)
_STRING = re.compile(r'"[^"]*"')
_NO_BRACKET = re.compile(r"[^\[\]{}]+")
_OPENERS = pl.col("text").str.count_matches(r"[\[{]")
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


class DoubledKey(ValueError):
    """An object has the same key twice."""


def marked(block: bytes) -> str:
    """Bytes of JSON in the form described above; the block does not end within a character or an escape."""
    block = block.translate(_MARKS)
    if b"\\" in block:
        block = block.replace(b"\\\\", ESCAPED_BACKSLASH.encode()).replace(b'\\"', ESCAPED_QUOTE.encode())
    try:
        return block.decode()
    except UnicodeDecodeError:
        return _UNDECODED.sub(NO_TEXT, block.decode("utf-8", "surrogateescape"))


def written(text: str) -> str:
    """Marked text as it was written; what was no text is U+FFFD."""
    text = text.replace(ESCAPED_BACKSLASH, "\\\\").replace(ESCAPED_QUOTE, '\\"')
    return text.replace(NO_TEXT, "\ufffd").replace(CONTROL, "\ufffd")


def is_text(marked: str) -> bool:
    """Whether marked text has nothing in it that is no character: bad bytes, controls, NUL, half a surrogate pair."""
    if NO_TEXT in marked or CONTROL in marked:
        return False
    return "\\u" not in marked or ("\\u0000" not in marked and _LONE_SURROGATE.search(marked) is None)


def unescaped(strings: pl.Series) -> pl.Series | None:
    """The insides of strings with their escapes resolved; nothing when one of them has an escape that JSON lacks."""
    escaped = strings.str.contains("[\\\\\1\2]").fill_null(value=False)
    if not escaped.any():
        return strings
    values = _loaded(strings.filter(escaped), '"')
    if values is None:
        return None
    resolved = pl.Series(values, dtype=pl.String)
    places = pl.int_range(len(strings), eager=True)
    moved = len(strings) - 1 + escaped.cum_sum().cast(pl.Int64)
    return pl.concat([strings, resolved]).gather(moved.zip_with(escaped, places))


def are_values(texts: pl.Series, depths: pl.Series) -> bool:
    """Whether each of the marked texts, which stand at these depths, is one JSON value, not too deep, no key doubled.

    One call of the C scanner for all of them.
    """
    suspects = texts.to_frame("text").with_columns(depth=depths).filter(pl.col("depth") + _OPENERS > MAX_DEPTH)
    return all(is_shallow(text, depth) for text, depth in suspects.rows()) and _loaded(texts, "") is not None


def decoder(*, parse_int: Callable[[str], Any], parse_float: Callable[[str], Any]) -> json.JSONDecoder:
    """Python's decoder made strict: it raises `DoubledKey`, and ``ValueError`` for NaN and Infinity."""
    return json.JSONDecoder(
        object_pairs_hook=_once, parse_float=parse_float, parse_int=parse_int, parse_constant=_refused
    )


def fault_of(record: str) -> int | None:
    """What is wrong with one marked record, as a code of `manifests.codes`; nothing when it is a good JSON object.

    The plain reader: what the vectorised one refuses is judged here, and what it takes is taken here.
    """
    if NO_TEXT in record or "\\u0000" in record:
        return BAD_ENCODING
    if not is_text(record) or not is_shallow(record, 0):
        return BAD_JSON
    try:
        value = _DECODER.decode(written(record))
    except DoubledKey:
        return DOUBLED_KEY
    except ValueError:
        return BAD_JSON
    return None if isinstance(value, dict) else BAD_JSON


def _loaded(texts: pl.Series, around: str) -> list[Any] | None:
    """The values of marked texts, each with ``around`` on both sides; nothing when they are not as many JSON values."""
    joined = texts.str.join(f"{around},{around}")[0]
    try:
        values = _DECODER.decode(f"[{around}{written(joined)}{around}]") if texts.len() else []
    except ValueError:
        return None
    return values if isinstance(values, list) and len(values) == len(texts) else None


def is_shallow(text: str, depth: int) -> bool:
    """Whether the brackets of marked text, which stands at this depth, stay within `MAX_DEPTH`; they need not pair."""
    brackets = _NO_BRACKET.sub("", _STRING.sub("", text))
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) <= MAX_DEPTH - depth


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DoubledKey
    return found


def _refused(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


# numbers stay text: their digits are not counted, and nothing is rounded
_DECODER = decoder(parse_int=str, parse_float=str)

"""Keys and values out of lines of JSON objects, vectorised: the gaps between the strings say what is what.

The text is split at its quotes (`ingest.steps.json_text`), which gives strings and the gaps between them. A gap is
short and has few forms: after a key ``:``, ``:12,`` or ``:{``, after a value ``,``, or ``}`` and what begins the next
record. So a block of objects is valid when each gap has one of these forms, keys stand where keys may, and the depth
comes out: all of it comparisons of whole columns. What is nested and not looked into is drawn into the gap before it
first, and the C scanner of Python's ``json`` judges these values, all in one call.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from ingest.steps.json_text import ESCAPED_BACKSLASH, ESCAPED_QUOTE, MAX_DEPTH, are_values, is_text, unescaped

Edge = tuple[int, str, int]
"""An object that is looked into, a key of it, and the object that this key leads to; 0 is the record itself."""

KEY_SCHEMA = pl.Schema({"object": pl.Int32, "key": pl.String, "row": pl.Int64, "value": pl.String})

_W = r"[ \t\r]*"
_SCALAR = r"(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)"
_EMPTY = rf"(?:{_W}\{{{_W}\}}{_W}\n)*"  # records without a key
_NEXT = rf"(?:,{_W}|\n{_EMPTY}(?:{_W}\{{{_W})?)$"  # behind a value and the objects that end with it
_GAP = rf"^{_W}(?::{_W}{_SCALAR}{_W})?(?:\}}{_W})*{_NEXT}|^{_W}:{_W}(?:\{{{_W})?$"
_OPENS_OBJECT = rf"^{_W}:{_W}\{{{_W}$"
_HOLDS_NESTED = rf"^{_W}:{_W}[\[{{]{_W}[^ \t\r]"
_FIRST_GAP = re.compile(rf"{_EMPTY}{_W}\{{{_W}")
_ONLY_EMPTY = re.compile(_EMPTY)
_LAST_GAP = re.compile(rf"[^\n]*\n{_EMPTY}")

_CUT = "\4"  # a control character that marked text never has
_GAP_COLUMN = pl.col("gap")
_BARE = _GAP_COLUMN.str.strip_chars(" \t\r")


def keys_of(text: str, edges: Sequence[Sequence[Edge]]) -> pl.DataFrame | None:
    """The keys of every record, and of the objects that ``edges`` (by level) lead into, in the order of the text.

    ``text`` has one record in each line, all lines end, none is blank. Columns as in `KEY_SCHEMA`: rows are counted
    from 0; a value is a string, the text of anything else, or null for ``null`` and for an object that is looked into.
    Nothing when a line is no valid object; doubled keys are the caller's to find, but for those inside values.
    """
    if not is_text(text):
        return None
    pieces = pl.Series([text]).str.split('"').explode()
    if len(pieces) == 1:
        return KEY_SCHEMA.to_frame() if _ONLY_EMPTY.fullmatch(text) else None
    if len(pieces) % 2 == 0 or not _FIRST_GAP.fullmatch(pieces[0]) or not _LAST_GAP.fullmatch(pieces[-1]):
        return None
    raw = pieces.gather_every(2, 1)
    strings = unescaped(raw) if any(mark in text for mark in "\\\1\2") else raw
    if strings is None or (("\t" in text or "\r" in text) and raw.str.contains("[\t\r]").any()):
        return None
    gaps = pieces.gather_every(2)
    depths, is_nested = _depths(gaps)
    if depths is None:
        return None
    frame = pl.DataFrame({"string": strings, "gap": gaps.slice(1), "depth": depths})
    whole = (
        _drawn_together(frame.with_columns(raw=raw), edges)
        if is_nested
        else frame.with_columns(object=pl.lit(0, pl.Int32))
    )
    if whole is None:
        return None
    return _key_values(whole, first_row=pieces[0].count("\n"), height=text.count("\n"), is_nested=is_nested)


def _depths(gaps: pl.Series) -> tuple[pl.Series | None, bool]:
    """How deep each string stands, 1 in a record itself, and whether anything is nested; no depths if they are off."""
    opened = gaps.str.count_matches("{", literal=True).cast(pl.Int64)
    net = opened - gaps.str.count_matches("}", literal=True).cast(pl.Int64)
    arrays = gaps.str.count_matches("[", literal=True).cast(pl.Int64)
    has_arrays = bool((arrays > 0).any())
    if has_arrays:
        net += arrays - gaps.str.count_matches("]", literal=True).cast(pl.Int64)
    depth = net.cum_sum()
    inside = depth.slice(0, len(depth) - 1)
    if depth[-1] != 0 or (inside < 1).any() or (inside > MAX_DEPTH).any():
        return None, False
    return inside, has_arrays or bool((inside > 1).any()) or bool(gaps.str.contains(_HOLDS_NESTED).any())


def _drawn_together(frame: pl.DataFrame, edges: Sequence[Sequence[Edge]]) -> pl.DataFrame | None:
    """The strings that stand in a record or an object that is looked into, and in which; each with all up to the next.

    Nothing when the first string is none of them.
    """
    depth, here = pl.col("depth"), pl.col("object")
    frame = frame.with_columns(
        object=pl.when(depth == 1).then(pl.lit(0, pl.Int32)), opens=_GAP_COLUMN.str.contains(_OPENS_OBJECT)
    )
    for level, of_level in enumerate(edges, start=1):
        leads = pl.lit(-1, pl.Int32)
        for parent, key, child in of_level:
            into = (here == parent) & (pl.col("string") == key) & pl.col("opens")
            leads = pl.when(into).then(pl.lit(child, pl.Int32)).otherwise(leads)
        # the last string of this level before a deeper one is the key that it stands under
        above = pl.when(depth == level).then(leads).forward_fill()
        frame = frame.with_columns(object=pl.when(depth == level + 1).then(above).otherwise(here))
    frame = frame.with_columns(counts=(here >= 0).fill_null(value=False))
    if not frame["counts"][0]:
        return None
    # all in one text, cut again where a string counts
    quoted = pl.concat_str(pl.lit('"'), "raw", pl.lit('"'))
    pieces = pl.concat_str(pl.when("counts").then(pl.lit(_CUT)).otherwise(quoted), "gap")
    joined = frame.select(pieces.str.join("").str.split(_CUT).explode()).to_series().slice(1)
    return frame.filter("counts").select("string", "depth", "object", gap=joined)


def _key_values(frame: pl.DataFrame, *, first_row: int, height: int, is_nested: bool) -> pl.DataFrame | None:
    """The keys with their values; nothing when a gap has no form that it may have where it stands."""
    frame = frame.with_columns(gap=_BARE).with_columns(
        lines=_GAP_COLUMN.str.count_matches("\n", literal=True).cast(pl.Int64),
        is_key=_GAP_COLUMN.str.starts_with(":"),
        before_string=_GAP_COLUMN == ":",
        nested=_GAP_COLUMN.str.contains(_HOLDS_NESTED) if is_nested else pl.lit(value=False),
        next_depth=pl.col("depth").shift(-1, fill_value=1),
    )
    checks = frame.select(
        forms=(pl.col("nested") | _GAP_COLUMN.str.contains(_GAP)).all(),
        records=((pl.col("lines") == 0) | (pl.col("next_depth") == 1)).all(),
        keys=(pl.col("is_key").shift(-1, fill_value=True) != pl.col("before_string")).all(),
        lines=pl.col("lines").sum() + first_row,
    ).row(0)
    if checks != (True, True, True, height) or not frame["is_key"][0]:
        return None
    nested: pl.Series | None = None
    if is_nested:
        nested = _nested_values(frame)
        if nested is None:
            return None
        frame = frame.with_columns(nested_value=nested)
    row = pl.col("lines").cum_sum().shift(1, fill_value=0) + first_row
    keys = frame.with_columns(row=row, value=pl.col("string").shift(-1)).filter("is_key")
    plain = _GAP_COLUMN.str.strip_chars(": \t\r\n,{}")
    other: pl.Expr = pl.when((plain != "null") & (plain != "")).then(plain)
    if is_nested:
        other = pl.when("nested").then("nested_value").otherwise(other)
    values = pl.when("before_string").then("value").otherwise(other)
    return keys.select("object", key="string", row="row", value=values)


def _nested_values(frame: pl.DataFrame) -> pl.Series | None:
    """The text of each nested value, null beside the others; nothing when one of them is no valid JSON."""
    lines, depth = pl.col("lines"), pl.col("depth")
    ends = pl.when(lines > 0).then(depth).otherwise(depth - pl.col("next_depth"))  # objects that end behind the value
    nested = frame.select("gap", "depth", "nested", ends=ends).filter("nested")
    text = pl.lit(None, pl.String)
    for count in nested["ends"].unique():
        if count < 0:
            return None
        behind = rf"(?:\}}{_W}){{{count}}}{_NEXT}"
        found = _GAP_COLUMN.str.extract(rf"^:{_W}([\[{{].*[\]}}]){_W}{behind}")
        text = pl.when(pl.col("ends") == count).then(found).otherwise(text)
    texts = nested.with_columns(text=text)["text"]
    if texts.has_nulls() or not are_values(texts, nested["depth"]):
        return None
    for mark, escape in ((ESCAPED_BACKSLASH, "\\\\"), (ESCAPED_QUOTE, '\\"')):
        texts = texts.str.replace_all(mark, escape, literal=True)
    place = pl.when("nested").then(pl.col("nested").cum_sum().cast(pl.Int64) - 1)
    return texts.gather(frame.select(place.alias("place")).to_series())

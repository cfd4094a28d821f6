"""A cell that holds several strings: values between separators, or a JSON array of strings (RFC 8259 §5).

Blanks (space and tab) around a value do not count, an empty value is none, and a value that comes again counts once. A
cell without any value is a list without values here; it is stored as no value at all.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from manifests import codes
from manifests.findings import Finding

MAX_LIST_VALUES = 100

_BLANKS = " \t"
_SURROGATES = r"\\u[dD][89abAB][0-9A-Fa-f]{2}\\u[dD][c-fC-F][0-9A-Fa-f]{2}"  # a pair; half of one is no character
_ESCAPED = rf"\\[\"\\/bfnrt]|\\u(?:[0-9A-Ca-cE-Fe-f][0-9A-Fa-f]{{3}}|[dD][0-7][0-9A-Fa-f]{{2}})|{_SURROGATES}"
_JSON_STRING = rf"\"(?:[^\"\\\x00-\x1f]|{_ESCAPED})*\""
_JSON_BLANK = r"[ \t\r\n]*"
_JSON_VALUE = rf"{_JSON_STRING}{_JSON_BLANK}"
_JSON_LIST = rf"^{_JSON_BLANK}\[{_JSON_BLANK}(?:{_JSON_VALUE}(?:,{_JSON_BLANK}{_JSON_VALUE})*)?\]{_JSON_BLANK}$"


def string_lists(text: pl.Series, separator: str | None) -> pl.Series:
    """The values of each filled cell; null where it is no JSON array of strings and no ``separator`` was promised.

    Blanks, empty values and repeated ones are rare, and only removed where there are any.
    """
    if separator is not None:
        values = text.str.split(separator)
    else:
        whole = pl.select(pl.when(text.str.contains(_JSON_LIST)).then(text)).to_series()
        values = whole.str.json_decode(pl.List(pl.String))
    inner = values.explode()
    if (inner.str.contains(f"[{_BLANKS}]") | (inner.str.len_bytes() == 0)).any():
        bare = pl.element().str.strip_chars(_BLANKS)
        values = values.list.eval(pl.when(bare.str.len_bytes() > 0).then(bare)).list.drop_nulls()
    repeated = values.list.n_unique() < values.list.len()
    return values.list.unique(maintain_order=True) if repeated.any() else values


def list_findings(source: str, values: pl.Series, *, max_chars: int) -> Iterator[Finding]:
    """The rows whose list has too many values, or one that is too long."""
    yield from Finding.where(values.list.len() > MAX_LIST_VALUES, codes.TOO_MANY_VALUES, source)
    inner = values.explode()
    if (inner.str.len_bytes() > max_chars).any():  # bytes are counted faster than characters
        longest = values.list.eval(pl.element().str.len_chars()).list.max()
        yield from Finding.where(longest > max_chars, codes.TOO_LONG, source)


def or_nothing(values: pl.Series) -> pl.Series:
    """The lists that have a value; null for the others."""
    return pl.select(pl.when(values.list.len() > 0).then(values)).to_series()

"""One column of strings to one column of values, vectorised; a cell that does not fit becomes null.

Blanks (space and tab) around a cell do not count, except in a String, which is stored as it came. An empty cell is no
value, and outside a String so is one of blanks only.

    Integer     decimal digits, at most one sign + or - before them, within 64 bits; no fraction, exponent or separator
    Float       decimal, with or without point and exponent, finite; no words (nan, inf)
    Boolean     0 1 true false, any letter case; the profile fields Employed and Married know yes and no as well
    Date        see `manifests.dates`
    StringList  see `manifests.lists`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

import polars as pl

from manifests.dates import EPOCH_SECONDS, moments
from manifests.lists import string_lists
from manifests.names import TIMESTAMP
from manifests.people import YES_NO, YES_NO_FIELDS
from manifests.plan import Cell
from manifests.types import DataType

_BLANKS = " \t"
_BOOLEANS = {"0": False, "1": True, "false": False, "true": True}

POLARS_TYPES: dict[DataType, pl.DataType] = {
    DataType.STRING: pl.String(),
    DataType.INTEGER: pl.Int64(),
    DataType.FLOAT: pl.Float64(),
    DataType.BOOLEAN: pl.Boolean(),
    DataType.DATE: pl.Datetime("us", "UTC"),
    DataType.STRING_LIST: pl.List(pl.String()),
}
"""The column type of each data type in an accepted frame."""


def filled(text: pl.Expr, null_values: tuple[str, ...]) -> pl.Expr:
    """The cells that have a value, as they came; null for the others."""
    empty = text.str.len_bytes() == 0
    return pl.when(~(empty | text.is_in(null_values) if null_values else empty)).then(text)


def trimmed(text: pl.Expr) -> pl.Expr:
    """The cells without blanks around them; null for those of blanks only."""
    stripped = text.str.strip_chars(_BLANKS)
    return pl.when(stripped.str.len_bytes() > 0).then(stripped)


def bare(text: pl.Series) -> pl.Series:
    """One column, `trimmed`."""
    return text.to_frame("text").select(trimmed(pl.col("text"))).to_series()


def side_by_side(columns: Mapping[str, pl.Series], made: Callable[[pl.Expr], pl.Expr]) -> dict[str, pl.Series]:
    """What ``made`` makes of each column, all at once.

    They go by number: a name that a sender chose, such as ``*``, may be a pattern to polars.
    """
    numbered = pl.DataFrame([column.alias(str(number)) for number, column in enumerate(columns.values())])
    results = numbered.select(made(pl.col(number)) for number in numbered.columns)
    return dict(zip(columns, results.get_columns(), strict=True))


def typed(text: pl.Series, cell: Cell) -> pl.Series:
    """The values of filled cells in the type that the manifest promises; null where one does not have it."""
    if cell.target == TIMESTAMP and cell.asked is DataType.INTEGER:
        return moments(text, EPOCH_SECONDS, "UTC")
    match cell.asked:
        case DataType.STRING:
            return text
        case DataType.INTEGER:
            return text.cast(pl.Int64, strict=False)
        case DataType.FLOAT:
            number = text.cast(pl.Float64, strict=False)
            finite = number.is_finite()
            return number if finite.all() else pl.select(pl.when(finite).then(number)).to_series()
        case DataType.BOOLEAN:
            words = _BOOLEANS | YES_NO if cell.field in YES_NO_FIELDS else _BOOLEANS
            return text.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
        case DataType.DATE:
            return moments(text, cell.form, cell.zone)
        case DataType.STRING_LIST:
            return string_lists(text, cell.separator)
        case _:
            assert_never(cell.asked)

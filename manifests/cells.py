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

from manifests.dates import (
    EPOCH_SECONDS,
    ISO_8601,
    epoch_moments,
    in_range,
    is_epoch,
    iso_moments,
    pattern_moments,
)
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


def side_by_side(columns: Mapping[str, pl.Series], made: Callable[[str, pl.Expr], pl.Expr]) -> dict[str, pl.Series]:
    """What ``made`` makes of each column, told its name, all at once on as many cores as there are.

    They go by number: a name that a sender chose, such as ``*``, may be a pattern to polars.
    """
    numbered = pl.DataFrame([column.alias(str(number)) for number, column in enumerate(columns.values())])
    names = zip(columns, numbered.columns, strict=True)
    results = numbered.select(made(name, pl.col(number)).alias(number) for name, number in names)
    return dict(zip(columns, results.get_columns(), strict=True))


def typed(texts: Mapping[str, pl.Series], cells: Mapping[str, Cell]) -> dict[str, pl.Series]:
    """The values of filled cells in the types that the manifest promises; null where one does not have it.

    ``cells`` has the columns to read, by source; those that are stored as the strings they came as are not asked for.
    """
    made = {name: special for name, cell in cells.items() if (special := _special(texts[name], cell)) is not None}
    others = {name: texts[name] for name in cells if name not in made}
    made |= side_by_side(others, lambda name, text: _value(text, cells[name]))
    return {name: _possible(value) for name, value in made.items()}


def _special(text: pl.Series, cell: Cell) -> pl.Series | None:
    """The values of columns that are looked at before it is decided how they are read; ``None`` for any other."""
    if cell.asked is DataType.STRING_LIST:
        return string_lists(text, cell.separator)
    if cell.target == TIMESTAMP and cell.asked is DataType.INTEGER:
        return epoch_moments(text, EPOCH_SECONDS)
    if cell.asked is DataType.DATE and is_epoch(cell.form):
        return epoch_moments(text, cell.form)
    if cell.asked is DataType.DATE and cell.form == ISO_8601:
        return iso_moments(text, cell.zone)
    return None


def _possible(value: pl.Series) -> pl.Series:
    """The values that may be stored: finite numbers, years 1 to 9999; looked for once all are there, for speed."""
    if value.dtype == pl.Float64:
        finite = value.is_finite()
        return value if finite.all() else pl.select(pl.when(finite).then(value)).to_series()
    return in_range(value) if isinstance(value.dtype, pl.Datetime) else value


def _value(text: pl.Expr, cell: Cell) -> pl.Expr:
    match cell.asked:
        case DataType.STRING | DataType.STRING_LIST:
            return text
        case DataType.INTEGER:
            return text.cast(pl.Int64, strict=False)
        case DataType.FLOAT:
            return text.cast(pl.Float64, strict=False)
        case DataType.BOOLEAN:
            words = _BOOLEANS | YES_NO if cell.field in YES_NO_FIELDS else _BOOLEANS
            return text.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
        case DataType.DATE:
            return pattern_moments(text, cell.form, cell.zone)
        case _:
            assert_never(cell.asked)

"""Remaining: of a file that was imported before, only the rows that were not stored then."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl


def remaining(frames: Iterator[pl.DataFrame], stored: pl.Series) -> Iterator[pl.DataFrame]:
    """The records whose ``_row`` is not true in ``stored`` (`Lake.rows_of`); they keep their numbers."""
    # a row after the last one that was stored is looked up at a place that says no
    known = pl.concat([stored, pl.Series([False])])
    beyond = len(stored)
    for frame in frames:
        places = frame["_row"].clip(upper_bound=beyond)
        yield frame.filter(~known.gather(places))

"""Preview: in place of load for a dry run; counts what would have been stored, and stores nothing."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ingest.report import PropertyPreview
from ingest.steps.map import Tally
from ingest.steps.stopwatch import Stopwatch
from manifests.plan import Cell, Plan
from manifests.types import DataType

SAMPLE_ROWS = 20_000
"""Accepted rows among which different values are counted."""


def preview(plan: Plan, tally: Tally, rows: Iterator[pl.DataFrame], watch: Stopwatch) -> tuple[PropertyPreview, ...]:
    """Draw all rows, and return what would have been stored, property by property, in the order of the header."""
    filled = {cell.target: 0 for cell in plan.cells}
    hashes: dict[str, list[pl.Series]] = {cell.target: [] for cell in plan.cells}
    sampled = 0
    for frame in rows:
        with watch.step("preview"):
            sample = frame.head(SAMPLE_ROWS - sampled)
            sampled += sample.height
            for cell in plan.cells:
                filled[cell.target] += frame.height - frame[cell.target].null_count()
                hashes[cell.target].append(_hashed(sample[cell.target].drop_nulls(), cell))
    return tuple(
        PropertyPreview(
            name=cell.target,
            data_type=cell.stored,
            filled=filled[cell.target],
            distinct=pl.concat(parts).n_unique() if (parts := hashes[cell.target]) else 0,
            sampled=sampled,
            rejected=tally.rejected_by_column.get(cell.source, 0),
        )
        for cell in plan.cells
    )


def _hashed(values: pl.Series, cell: Cell) -> pl.Series:
    """Numbers in place of the values, so that a sample of long texts needs no more memory than one of short ones."""
    return (values.list.join("\0") if cell.stored is DataType.STRING_LIST else values).hash()

"""Frames as the parse step makes them, and what becomes of their cells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from manifests.cast import Mapped, apply
from manifests.model import Column, Manifest
from manifests.plan import build_plan
from manifests.types import DataType, ImportType

RECEIVED = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def frame(**columns: Sequence[str | None]) -> pl.DataFrame:
    made = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String()))
    rows = pl.int_range(1, made.height + 1, dtype=pl.Int64, eager=True).alias("_row")
    return made.with_columns(rows, pl.lit(None, pl.Int32).alias("_fault"))


def mapped(
    source: pl.DataFrame,
    columns: dict[str, Column],
    *,
    kind: ImportType = ImportType.EVENT,
    null_values: tuple[str, ...] = (),
    zone: str = "UTC",
    registry: dict[str, DataType] | None = None,
    allow_reserved: bool = False,
    max_properties: int = 256,
) -> Mapped:
    fixed = "E" if kind is ImportType.EVENT and "evtName" not in source.columns else None
    manifest = Manifest(
        "a.csv", kind, "a@b.de", columns=columns, event_name=fixed, null_values=null_values, default_timezone=zone
    )
    plan = build_plan(
        manifest,
        source.columns[:-2],
        registry or {},
        allow_reserved_events=allow_reserved,
        max_properties=max_properties,
    )
    return apply(plan, source, received_at=RECEIVED)


def cast(
    cells: Sequence[str | None],
    column: Column,
    zone: str = "UTC",
    kind: ImportType = ImportType.EVENT,
) -> list[object]:
    """What becomes of each cell of a column: its value, or the code of its rejection."""
    source = frame(identity=["someone-of-us"] * len(cells), x=cells)
    made = mapped(source, {"x": column}, zone=zone, kind=kind)
    values = made.accepted[column.ct_name or "x"]
    outcome: dict[int, object] = dict(zip(made.accepted["_row"], values.to_list(), strict=True))
    outcome |= dict(zip(made.rejects["_row"], made.rejects["code"], strict=True))
    return [outcome[row] for row in range(1, len(cells) + 1)]

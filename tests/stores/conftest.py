"""A lake in a temporary folder, and frames as the pipeline delivers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from manifests.types import DataType, ImportType
from stores.columns import POLARS
from stores.lake import Lake

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PRICE = {"Price": DataType.FLOAT}

Frame = Callable[..., pl.DataFrame]
Put = Callable[..., int]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def lake(root: Path) -> Lake:
    return Lake(root)


@pytest.fixture
def frame() -> Frame:
    """Makes a frame of events, or of profile updates when ``name`` is None: one user and one second a row."""

    def make(first: int, rows: int, properties: dict[str, DataType], name: str | None = "Charged") -> pl.DataFrame:
        values: dict[DataType, Callable[[int], Any]] = {
            DataType.STRING: str,
            DataType.INTEGER: int,
            DataType.FLOAT: float,
            DataType.BOOLEAN: lambda row: row % 2 == 0,
            DataType.DATE: lambda row: NOON + timedelta(days=row),
        }
        numbers = range(first, first + rows)
        columns = {
            "_row": pl.Series(numbers, dtype=pl.Int64),
            "identity": pl.Series([f"user-{row}" for row in numbers], dtype=pl.String),
            **{column: pl.Series([None] * rows, dtype=pl.String) for column in ("objectId", "FBID", "GPID")},
        }
        if name is not None:
            columns["evtName"] = pl.Series([name] * rows, dtype=pl.String)
            columns["ts"] = pl.Series(
                [NOON + timedelta(seconds=row) for row in numbers], dtype=pl.Datetime("us", "UTC")
            )
        for key, type_ in properties.items():
            columns[key] = pl.Series(map(values[type_], numbers), dtype=POLARS[type_])
        return pl.DataFrame(columns)

    return make


@pytest.fixture
def put(lake: Lake) -> Put:
    """Stores frames in ``acme``'s lake, as import ``import_id``."""

    def append(
        import_id: str,
        frames: Iterable[pl.DataFrame],
        properties: dict[str, DataType] | None = None,
        *,
        kind: ImportType = ImportType.EVENT,
        sequence: int = 1,
        into: Lake = lake,
    ) -> int:
        drawn: Iterator[pl.DataFrame] = iter(frames)
        return into.append(
            "acme",
            kind,
            import_id,
            sequence=sequence,
            received_at=NOON,
            properties=PRICE if properties is None else properties,
            frames=drawn,
        )

    return append

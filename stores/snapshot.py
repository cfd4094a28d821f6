"""What one version of a table consists of: files of compacted rows, which are a run together, and the rest.

The log's statistics say which files can hold a value at all. A run is known by the names of its files, so that it comes
and goes with the entry of the log that names them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from manifests.types import DataType, ImportType
from stores.columns import POLARS, filled_columns, fixed_columns

_RUN = re.compile(r"run-([0-9a-f]{16})-[0-9]{5}\.zstd\.parquet")


def run_file(run: str, number: int) -> str:
    """The name of a file of a run."""
    return f"run-{run}-{number:05}.zstd.parquet"


def run_of(name: str) -> str | None:
    """The run that a file belongs to; ``None`` for one of the rest."""
    found = _RUN.fullmatch(name)
    return None if found is None else found[1]


class Snapshot:
    """One version of a table; does not change. The files are read by whoever asks, and may be gone by then."""

    def __init__(self, folder: Path, kind: ImportType, table: DeltaTable) -> None:
        self.folder = folder
        self.version: int = table.version()
        self.columns: dict[str, DataType] = fixed_columns(kind) | filled_columns(table.schema(), kind)
        """All columns of the table, in order, but those of types that are not ours."""
        self.files = pl.DataFrame(table.get_add_actions(flatten=True)).sort("path")
        """``path``, ``num_records``, ``size_bytes``, and of some columns ``min.*``, ``max.*`` and ``null_count.*``."""
        runs = [run_of(path) for path in self.files["path"]]
        self.files = self.files.with_columns(pl.Series("run", runs, dtype=pl.String))

    @property
    def runs(self) -> list[str]:
        """The runs, in the order of their names."""
        return self.files["run"].drop_nulls().unique().sort().to_list()

    @property
    def rest(self) -> pl.DataFrame:
        """The files that were not compacted yet."""
        return self.files.filter(pl.col("run").is_null())

    def scan(self, files: pl.DataFrame, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """The rows of some of the files, with these columns of the table, or all."""
        schema = {name: POLARS[type_] for name, type_ in self.columns.items()}
        wanted = list(schema if columns is None else columns)
        if files.is_empty():
            return pl.LazyFrame(schema={name: schema[name] for name in wanted})
        paths = [self.folder / path for path in files["path"]]
        found = pl.scan_parquet(paths, schema=schema, missing_columns="insert", extra_columns="ignore", glob=False)
        return found.select(pl.col(name) for name in wanted)


def may_hold(files: pl.DataFrame, column: str, low: Any, high: Any) -> pl.DataFrame:
    """The files that can hold a value from ``low`` to ``high``; where the log knows no bounds, any value."""
    smallest, largest, nulls = f"min.{column}", f"max.{column}", f"null_count.{column}"
    if smallest not in files.columns or largest not in files.columns:
        return files
    outside = (pl.col(smallest) > high) | (pl.col(largest) < low)
    empty = pl.col(nulls) == pl.col("num_records") if nulls in files.columns else pl.lit(value=False)
    return files.filter(~(outside.fill_null(value=False) | empty.fill_null(value=False)))

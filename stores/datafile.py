"""One Parquet file of one import, written frame by frame.

We write it ourselves, rather than hand a generator to ``write_deltalake``: memory stays at a few frames (that writer
keeps up to 100 MB of output and leaves finished files behind when the generator raises), the pipeline's errors never
cross a library, and the bytes are durable *before* a log entry names them.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from failpoints import passing
from manifests.types import DataType
from stores.columns import arrow_schema
from stores.durable import Sync
from stores.seam import unavailable

_SAMPLE_ROWS = 10_000
_FEW_VALUES = 500  # a dictionary of more costs more time than the bytes that it saves
_STATISTICS_COLUMNS = 32  # Delta's default, delta.dataSkippingNumIndexedCols
_STATISTICS_LENGTH = 64  # characters; a longer bound is left out, never cut: a cut upper bound would be wrong


class DataFile:
    """A new data file in a table's folder; a context manager that removes the file unless `keep` was called.

    Each frame becomes one row group. The name is random, so no two writers ever share a file; one who gives a ``name``
    answers for that.
    """

    def __init__(self, folder: Path, columns: Mapping[str, DataType], *, name: str | None = None) -> None:
        self.path = folder / (name or f"part-00000-{uuid.uuid4()}-c000.zstd.parquet")
        self.rows = 0
        self._schema = arrow_schema(columns)
        self._writer: pq.ParquetWriter | None = None
        self._kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # a second error here must not take the place of the one that is on its way out
        with contextlib.suppress(Exception):
            self.close()
        if not self._kept:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def write(self, frame: pl.DataFrame) -> None:
        """Add the rows of a frame that has this file's columns, in any order.

        Raises `StoreUnavailable` when the disk refuses.
        """
        if frame.is_empty():
            return
        with unavailable("write a data file"):
            if self._writer is None:
                self._writer = self._open(frame)
            table = frame.select(self._schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
            self._writer.write_table(table.cast(self._schema))
            passing("lake.frame_written")
            self.rows += frame.height

    def finish(self, sync: Sync) -> AddAction:
        """Close the file, make it and its name durable, and describe it for the log, with statistics.

        Raises `StoreUnavailable` when the disk refuses.
        """
        with unavailable("finish a data file"):
            self.close()
            passing("lake.file_closed")
            sync(self.path)
            passing("lake.file_synced")
            sync(self.path.parent)
            passing("lake.file_durable")
            return AddAction(
                path=self.path.name,
                size=self.path.stat().st_size,
                partition_values={},
                modification_time=int(time.time() * 1000),
                data_change=True,
                stats=json.dumps(_statistics(pq.read_metadata(self.path))),
            )

    def keep(self) -> None:
        """Leave the file where it is: from now on the log may name it."""
        self._kept = True

    def release(self) -> None:
        """Let the file be removed after all: the log does not name it, and never will."""
        self._kept = False

    def _open(self, frame: pl.DataFrame) -> pq.ParquetWriter:
        sample = frame.head(_SAMPLE_ROWS)
        few = [column.name for column in sample if _may_repeat(column) and column.n_unique() <= _FEW_VALUES]
        return pq.ParquetWriter(
            self.path, self._schema, compression="zstd", use_dictionary=few, store_schema=False, write_statistics=True
        )

    def close(self) -> None:
        """Write the file's end; nothing can be added any more."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _may_repeat(column: pl.Series) -> bool:
    return not isinstance(column.dtype, pl.Boolean | pl.List)


def _statistics(metadata: pq.FileMetaData) -> dict[str, Any]:
    """The statistics of a file as Delta wants them, taken from those of its row groups."""
    lowest: dict[str, Any] = {}
    highest: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for index in range(min(metadata.num_columns, _STATISTICS_COLUMNS)):
        if metadata.schema.column(index).max_repetition_level:
            continue  # Delta has no statistics of lists
        chunks = [metadata.row_group(group).column(index) for group in range(metadata.num_row_groups)]
        name = chunks[0].path_in_schema
        nulls[name] = sum(chunk.statistics.null_count for chunk in chunks)
        bounded = [chunk.statistics for chunk in chunks if chunk.statistics.null_count < chunk.num_values]
        if not bounded or not all(statistics.has_min_max for statistics in bounded):
            continue
        low, high = min(s.min for s in bounded), max(s.max for s in bounded)
        if _is_bound(low) and _is_bound(high):
            lowest[name], highest[name] = _as_json(low), _as_json(high)
    return {"numRecords": metadata.num_rows, "minValues": lowest, "maxValues": highest, "nullCount": nulls}


def _is_bound(value: Any) -> bool:
    """Whether Delta can use the value as a bound: it knows no order of booleans, and long texts cost too much."""
    return not isinstance(value, bool) and not (isinstance(value, str) and len(value) > _STATISTICS_LENGTH)


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value

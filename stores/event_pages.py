"""Pages of the events of one name and some days, out of one version of the table.

The files that can have such events are taken in a fixed order, and each from its first row to its last: so a page is
where the last one ended, and nothing is sorted or read twice. In a compacted file the events of a name lie together by
time, and the statistics of its row groups say where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow.parquet as pq

from manifests.types import SYSTEM_COLUMNS
from stores.columns import POLARS
from stores.errors import SnapshotGone
from stores.seam import unavailable
from stores.snapshot import Snapshot, may_hold
from stores.versions import PUBLIC_GONE

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Events of one name with ``since`` <= ts < ``until``, both aware."""

    name: str
    since: datetime
    until: datetime


class Place(NamedTuple):
    """Where a page begins: which of the files, and its row."""

    file: int = 0
    row: int = 0


def page(snapshot: Snapshot, query: EventQuery, place: Place, size: int) -> tuple[pl.DataFrame, Place | None]:
    """At most ``size`` events from a place on, and where the next page begins, ``None`` behind the last event.

    The columns are those of the table without the system's and without those that have no value here.
    Raises `StoreUnavailable`, and `SnapshotGone` when a file is not there any more.
    """
    files = may_hold(snapshot.files, "evtName", query.name, query.name)
    files = may_hold(files, "ts", query.since, query.until - _MICROSECOND)
    if "min.ts" in files.columns:
        files = files.sort("min.ts", "path")
    found: list[pl.DataFrame] = []
    wanted = size + 1  # one more: is there a next page?
    for number, path in enumerate(files["path"][place.file :].to_list(), start=place.file):
        first = place.row if number == place.file else 0
        for rows in _matching(snapshot, snapshot.folder / path, query, first):
            found.append(rows.head(wanted).with_columns(pl.lit(number).alias("\0file")))
            wanted -= found[-1].height
            if not wanted:
                break
        if not wanted:
            break
    if not found:
        return pl.DataFrame(), None
    events = pl.concat(found, how="diagonal")
    following = None if wanted else Place(events["\0file"][-1], events["\0row"][-1])
    return events.head(size).drop("\0file", "\0row"), following


def _matching(snapshot: Snapshot, path: Path, query: EventQuery, first: int) -> Iterator[pl.DataFrame]:
    """The rows of one file that fit, from its row ``first`` on, row group by row group."""
    with unavailable("read a page of events"), _opened(path) as file:
        base = 0
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group)
            behind = base + facts.num_rows
            if behind > first and (columns := _columns(facts, query)) is not None:
                wanted = [name for name in snapshot.columns if name in columns]
                rows = pl.DataFrame(pl.from_arrow(file.read_row_group(group, wanted)))
                rows = rows.select(pl.col(name).cast(POLARS[snapshot.columns[name]]) for name in wanted)
                fits = rows.with_row_index("\0row", base).filter(
                    pl.col("\0row") >= first,
                    pl.col("evtName") == query.name,
                    pl.col("ts") >= query.since,
                    pl.col("ts") < query.until,
                )
                if fits.height:
                    yield fits
            base = behind


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise SnapshotGone(PUBLIC_GONE, detail="a data file is gone") from None


def _columns(facts: pq.RowGroupMetaData, query: EventQuery) -> set[str] | None:
    """The columns of a row group that have a value in it, but the system's; nothing when no row can fit."""
    named = set()
    for place in range(facts.num_columns):
        column = facts.column(place)
        name = column.path_in_schema.partition(".")[0]
        statistics: Any = column.statistics
        if statistics is not None and statistics.has_min_max:
            if name == "evtName" and not statistics.min <= query.name <= statistics.max:
                return None
            if name == "ts" and (statistics.min >= query.until or statistics.max < query.since):
                return None
        is_empty = statistics is not None and statistics.has_null_count and statistics.null_count == facts.num_rows
        if name not in SYSTEM_COLUMNS and not is_empty:
            named.add(name)
    return named

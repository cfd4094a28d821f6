"""How a file differs from the previous import of the same manifest: warnings, never a reason to refuse it.

    column.new       a column that was not there        column.renamed   one in place of another
    column.missing   one that is not there any more     column.type      one that is read as another type
    rows.fewer       less than half as many rows        rows.more        more than twice as many

A missing and a new column are one renamed column when they have the same target, or names that look alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ingest.report import Drift, FileColumn, Report
from manifests.names import closest, shown

MAX_DRIFTS = 50
FAR_OFF = 2  # times
FEW_ROWS = 100  # less difference than this is nothing to warn of


def drift_between(before: Report, now: Report) -> tuple[Drift, ...]:
    """What differs between two imports of one manifest, at most `MAX_DRIFTS`; nothing when their types differ."""
    if before.type != now.type:
        return ()
    drifts = [*_rows(before.rows_read, now.rows_read)]
    if before.columns:  # of imports that older versions carried out nobody knows them
        drifts += _columns(before.columns, now.columns)
    return tuple(drifts[:MAX_DRIFTS])


def _rows(before: int, now: int) -> Iterator[Drift]:
    if abs(now - before) < FEW_ROWS:
        return
    if now * FAR_OFF < before:
        yield Drift("rows.fewer", None, f"The file has {now:,} rows, the previous one had {before:,}.")
    elif now > before * FAR_OFF:
        yield Drift("rows.more", None, f"The file has {now:,} rows, the previous one had {before:,}.")


def _columns(before: Sequence[FileColumn], now: Sequence[FileColumn]) -> Iterator[Drift]:
    old, new = {column.name: column for column in before}, {column.name: column for column in now}
    missing = [column for column in before if column.name not in new]
    added = [column for column in now if column.name not in old]
    for column in missing:
        heir = _heir(column, added)
        if heir is None:
            yield Drift("column.missing", column.name, f"The column {shown(column.name)} is not there any more.")
            continue
        added.remove(heir)
        message = f"The column {shown(heir.name)} seems to be the former {shown(column.name)}."
        yield Drift("column.renamed", heir.name, message)
        yield from _types(column, heir)
    for column in added:
        yield Drift("column.new", column.name, f"The column {shown(column.name)} is new.")
    for name, column in new.items():
        if name in old:
            yield from _types(old[name], column)


def _heir(missing: FileColumn, added: Sequence[FileColumn]) -> FileColumn | None:
    """The new column that took the place of a missing one."""
    near = closest(missing.name, [column.name for column in added], likeness=0.8)
    for column in added:
        if column.target == missing.target or column.name == near:
            return column
    return None


def _types(before: FileColumn, now: FileColumn) -> Iterator[Drift]:
    if before.data_type != now.data_type:
        message = f"The column {shown(now.name)} is read as {now.data_type}, it was {before.data_type}."
        yield Drift("column.type", now.name, message)

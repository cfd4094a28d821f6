"""Map: from the records of a file to typed rows that may be stored, and a tally of those that may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from datetime import datetime

import polars as pl

from failpoints import passing
from ingest.report import FileColumn, RejectedRow
from ingest.steps.stopwatch import Stopwatch
from manifests.cast import Mapped, apply
from manifests.errors import TooManyErrors
from manifests.event_names import EventNames
from manifests.model import Manifest
from manifests.names import EVENT_NAME
from manifests.plan import Plan


def columns_read(plan: Plan) -> tuple[FileColumn, ...]:
    """The columns of the file that the plan reads, for the report."""
    return tuple(FileColumn(name, cell.target, cell.asked) for name, cell in plan.columns.items())


class Tally:
    """Counts rows, and keeps the first rejected ones: ``shown`` with reasons, ``kept`` also with cells.

    ``max_kept`` is a number of rows, ``max_kept_bytes`` bounds their cells.
    """

    def __init__(self, *, max_shown: int, max_kept: int, max_kept_bytes: int) -> None:
        self._max_shown = max_shown
        self._rows_left = max_kept
        self._bytes_left = max_kept_bytes
        self.rows_read = 0
        self.rows_rejected = 0
        self.shown: list[RejectedRow] = []
        self.kept: list[tuple[RejectedRow, list[str | None]]] = []
        self.rejected_by_column: Counter[str] = Counter()

    def add(self, mapped: Mapped) -> None:
        """Count a chunk's rows; looks at single rows only among the rejected ones, and only up to the caps."""
        self.rows_rejected += mapped.rejects.height
        self.rows_read += mapped.accepted.height + mapped.rejects.height
        if mapped.rejects.height == 0:
            return
        by_column = mapped.rejects.drop_nulls("column").group_by("column").len()
        self.rejected_by_column.update(dict(by_column.iter_rows()))
        room = self._max_shown - len(self.shown)
        self.shown += [RejectedRow(*reject) for reject in mapped.rejects.head(room).rows()]
        sources = mapped.sources.head(self._rows_left).drop("_row")
        sizes = sources.select(pl.sum_horizontal(pl.all().str.len_bytes()).cum_sum()).to_series()
        fitting = int((sizes <= self._bytes_left).sum())
        # once a row did not fit no later one is kept: the file has the first rejected rows, without a gap
        self._rows_left = self._rows_left - fitting if fitting == mapped.rejects.height else 0
        self._bytes_left -= int(sizes[fitting - 1]) if fitting else 0
        cells = sources.head(fitting).rows()
        for reject, source in zip(mapped.rejects.head(fitting).rows(), cells, strict=True):
            self.kept.append((RejectedRow(*reject), list(source)))


def mapped(
    frames: Iterator[pl.DataFrame],
    plan: Plan,
    *,
    received_at: datetime,
    tally: Tally,
    manifest: Manifest,
    watch: Stopwatch,
    names: EventNames,
) -> Generator[pl.DataFrame, None, None]:
    """The accepted rows of each chunk; ``names`` learns the event names that come.

    Raises `HeaderMismatch` or `LimitExceeded` before the first row when no event may have the manifest's name, and
    `TooManyErrors` as soon as the manifest's ``onError`` or a count in ``maxErrors`` is exceeded; a percentage is
    judged at the end, when the number of rows is known.
    """
    if plan.event_name is not None:
        names.check_fixed(plan.event_name)
    for frame in frames:
        passing("parse.chunk")
        with watch.step("map"):
            chunk = apply(plan, frame, received_at=received_at, names=names)
            tally.add(chunk)
            if names.unconfirmed:
                names.confirm(chunk.accepted[EVENT_NAME].unique())
        passing("map.chunk")
        _judge(tally, manifest, at_end=False)
        if chunk.accepted.height:
            yield chunk.accepted
    _judge(tally, manifest, at_end=True)


def _judge(tally: Tally, manifest: Manifest, *, at_end: bool) -> None:
    if not at_end and manifest.max_errors_percent is not None and manifest.on_error != "abort":
        return  # a percentage is meant of the whole file
    if not manifest.tolerates(rejected=tally.rows_rejected, read=tally.rows_read):
        rule = "`onError: abort`" if manifest.on_error == "abort" else "`maxErrors`"
        raise TooManyErrors(
            f"{tally.rows_rejected:,} of the {tally.rows_read:,} rows read were rejected, more than {rule} in "
            "the manifest allows. Nothing was stored."
        )

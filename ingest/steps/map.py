"""Map: from the records of a file to typed rows that may be stored, and a tally of those that may not."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import datetime

import polars as pl

from ingest.report import RejectedRow
from ingest.steps.stopwatch import Stopwatch
from manifests.cast import Mapped, apply
from manifests.errors import TooManyErrors
from manifests.model import Manifest
from manifests.plan import Plan


class Tally:
    """Counts rows, and keeps the first rejected ones: ``shown`` with reasons, ``kept`` also with cells."""

    def __init__(self, *, max_shown: int, max_kept: int) -> None:
        self._max_shown = max_shown
        self._max_kept = max_kept
        self.rows_read = 0
        self.rows_accepted = 0
        self.rows_rejected = 0
        self.shown: list[RejectedRow] = []
        self.kept: list[tuple[RejectedRow, list[str | None]]] = []

    def add(self, mapped: Mapped) -> None:
        """Count a chunk's rows; looks at single rows only among the rejected ones, and only up to the cap."""
        self.rows_accepted += mapped.accepted.height
        self.rows_rejected += mapped.rejects.height
        self.rows_read += mapped.accepted.height + mapped.rejects.height
        room = self._max_kept - len(self.kept)
        if room <= 0 or mapped.rejects.height == 0:
            return
        cells = mapped.sources.head(room).drop("_row").rows()
        for (row, column, code, reason), source in zip(mapped.rejects.head(room).rows(), cells, strict=True):
            rejected = RejectedRow(row, column, code, reason)
            self.kept.append((rejected, list(source)))
            if len(self.shown) < self._max_shown:
                self.shown.append(rejected)


def mapped(
    frames: Iterator[pl.DataFrame],
    plan: Plan,
    *,
    received_at: datetime,
    tally: Tally,
    manifest: Manifest,
    watch: Stopwatch,
) -> Generator[pl.DataFrame, None, None]:
    """The accepted rows of each chunk.

    Raises `TooManyErrors` as soon as the manifest's ``onError`` or a count in ``maxErrors`` is exceeded; a percentage
    is judged at the end, when the number of rows is known.
    """
    for frame in frames:
        with watch.step("map"):
            chunk = apply(plan, frame, received_at=received_at)
            tally.add(chunk)
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

"""Load: pulls the accepted rows through all steps before it into the lake, as one commit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import polars as pl

from ingest.ledger.replays import Origin
from ingest.report import Report
from ingest.steps.stopwatch import Stopwatch
from manifests.plan import Plan
from manifests.types import ImportType
from stores.lake import Lake


def load(
    lake: Lake,
    report: Report,
    origin: Origin,
    kind: ImportType,
    plan: Plan,
    rows: Iterator[pl.DataFrame],
    watch: Stopwatch,
    committing: Callable[[], AbstractContextManager[None]],
) -> int:
    """Store the rows once, within ``committing``, and return how many this import has stored.

    An import that is in the lake already (its worker was lost after the commit) is read once more to its end, so that
    its report is the same as if nothing had happened, and stores nothing.
    """
    with watch.step("load"):
        stored = lake.stored(report.account, kind, report.id)
        if stored is None:
            stored = lake.append(
                report.account,
                kind,
                report.id,
                sequence=origin.sequence,
                received_at=origin.received_at,
                properties=plan.properties,
                frames=rows,
                committing=committing,
            )
        deque(rows, maxlen=0)  # what the lake did not draw, having the import already
    return stored

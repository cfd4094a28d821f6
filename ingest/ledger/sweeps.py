"""What the sweeper asks the ledger: whether the clock can be believed, and what is older than it has to be.

A clock that jumps by years would make everything old at once. So a step that is longer than a pause of an installation
usually is (`JUMP`) is not believed at first: for `WATCH` nothing is swept, and if the clock is still there then, it was
a long pause (FAULTS.md W8). Times in the ledger decide, never those of files, which senders set as they like.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Select, and_, delete, func, insert, select, update

from failpoints import passing
from ingest.ledger.database import Database
from ingest.ledger.tables import imports, notices, sweeps, timeline
from ingest.states import OVER

JUMP = timedelta(days=7)
WATCH = timedelta(days=1)
_AT_ONCE = 100
_OVER = imports.c.state.in_(list(OVER))


Kept = Literal["files", "results"]
_REMOVED_AT = {"files": imports.c.files_removed_at, "results": imports.c.results_removed_at}


@dataclass(frozen=True, slots=True)
class Old:
    """An import that has been over for long enough; ``reject_file`` is its name in ``results/``."""

    id: str
    account: str
    manifest: str
    reject_file: str | None


class Sweeps:
    """Reads and records for the sweeper; all of it may run in several processes at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def distrusted_until(self, now: datetime) -> datetime | None:
        """Until when the clock is watched; ``None`` when it can be believed. Remembers this look."""
        with self._database.write() as connection:
            row = connection.execute(select(sweeps).with_for_update()).one_or_none()
            if row is None:
                connection.execute(insert(sweeps).values(id=1, believed_at=now))
                return None
            until: datetime | None = row.watched_until
            if until is not None and until - WATCH <= now < until:
                return until
            jumped = abs(now - row.believed_at) > JUMP
            went_on = until is not None and until <= now < until + JUMP
            if jumped and not went_on:
                connection.execute(update(sweeps).values(watched_until=now + WATCH))
                return now + WATCH
            connection.execute(update(sweeps).values(believed_at=now, watched_until=None))
        return None

    def surely(self, now: datetime) -> datetime:
        """``now``, or the last time that was believed when the clock has jumped since then."""
        with self._database.read() as connection:
            believed: datetime | None = connection.scalar(select(sweeps.c.believed_at))
        return now if believed is None or now - believed <= JUMP else believed

    def believe(self, now: datetime) -> None:
        """The operator says that the clock is right."""
        with self._database.write() as connection:
            connection.execute(update(sweeps).values(believed_at=now, watched_until=None))

    def remove(
        self, what: Kept, before: datetime, now: datetime, remover: Callable[[Sequence[Old]], Collection[str]]
    ) -> None:
        """Let ``remover`` remove ``what`` of the imports that were over before then, and remember those it tells.

        It runs, with some imports at a time, while the ledger holds them: nobody can try one again in between. What it
        raises undoes only what is remembered, so that the next sweep looks again.
        """
        removed_at, last = _REMOVED_AT[what], 0
        while True:
            with self._database.write() as connection:
                rows = connection.execute(_old(what, before, last).with_for_update(skip_locked=True)).all()
                if not rows:
                    return
                gone = remover([Old(row.id, row.account, row.manifest, row.reject_file) for row in rows])
                connection.execute(update(imports).where(imports.c.id.in_(gone)).values({removed_at: now}))
            passing("sweep.remembered")
            last = rows[-1].sequence

    def old(self, what: Kept, before: datetime) -> Iterator[Old]:
        """What `remove` would remove."""
        last = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(_old(what, before, last)).all()
            if not rows:
                return
            for row in rows:
                yield Old(row.id, row.account, row.manifest, row.reject_file)
            last = rows[-1].sequence

    def forget_notices(self, before: datetime, *, dry_run: bool) -> int:
        """Forget notices written before then that nobody will try again; how many."""
        old = and_(notices.c.state != "pending", notices.c.created_at < before)
        with self._database.write() as connection:
            if not dry_run:
                return connection.execute(delete(notices).where(old)).rowcount
            return connection.scalar(select(func.count()).select_from(notices).where(old)) or 0

    def forget_timelines(self, before: datetime, *, dry_run: bool) -> int:
        """Forget the timelines of imports that were over before then; how many entries."""
        over = select(imports.c.id).where(_OVER, imports.c.finished_at < before)
        old = timeline.c.import_id.in_(over)
        with self._database.write() as connection:
            if not dry_run:
                return connection.execute(delete(timeline).where(old)).rowcount
            return connection.scalar(select(func.count()).select_from(timeline).where(old)) or 0


def _old(what: Kept, before: datetime, after_sequence: int) -> Select[Any]:
    """One page, so that neither the ledger nor the memory is held for long."""
    columns = (imports.c.sequence, imports.c.id, imports.c.account, imports.c.manifest, imports.c.reject_file)
    return (
        select(*columns)
        .where(_OVER, imports.c.finished_at < before, _REMOVED_AT[what].is_(None), imports.c.sequence > after_sequence)
        .order_by(imports.c.sequence)
        .limit(_AT_ONCE)
    )

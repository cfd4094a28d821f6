"""The queue of imports: the imports table itself, taken from by lease.

A worker claims an import for some time and renews the lease while it works. Each claim raises the import's fence;
whatever the worker settles names its fence, so a worker that lost its lease (stopped, cut off, slow) can no longer
settle anything, nor commit rows to the lake (FAULTS.md W2).

The end of a lease is a time of day, and clocks are set: a process that lives on therefore takes over only what it has
watched (`ingest.watched_leases`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, false, or_, select, true, update

from failpoints import passing
from ingest.errors import LeaseLost, LedgerUnavailable
from ingest.ledger.database import Database
from ingest.ledger.imports import columns_of, report_of
from ingest.ledger.outbox import NewNotice, enqueue
from ingest.ledger.tables import imports, timeline
from ingest.ledger.timeline import What, note
from ingest.report import Report
from ingest.states import State

_NO_DUPLICATE: dict[str, Any] = {"duplicate_of": None, "first_received_at": None}  # each try looks anew


@dataclass(frozen=True, slots=True)
class Lease:
    """One worker's hold on one import.

    ``report`` is what the ledger knew when it was claimed, its ``attempts`` count this try; ``lost`` is how many
    workers were lost over it; ``give_up_at`` is when trying again ends, set by the first deferral.
    """

    report: Report
    sequence: int
    fence: int
    lost: int
    give_up_at: datetime | None


@dataclass(frozen=True, slots=True)
class Held:
    """A running import, and until when its lease was given; each renewal makes it another."""

    import_id: str
    until: datetime


class Queue:
    """Hands imports to workers and takes their verdicts.

    ``longest_wait`` is the longest time that is ever asked for between two tries.
    """

    def __init__(self, database: Database, *, lease: timedelta, longest_wait: timedelta = timedelta(days=1)) -> None:
        self._database = database
        self._lease = lease
        self._longest_wait = longest_wait
        self._unheard: tuple[Lease, datetime] | None = None

    def held(self) -> list[Held]:
        """The running imports."""
        wanted = select(imports.c.id, imports.c.lease_until).where(imports.c.state == State.RUNNING)
        with self._database.read() as connection:
            return [Held(*row) for row in connection.execute(wanted)]

    def claim(
        self, now: datetime, *, only: str | None = None, unrenewed: Collection[Held] | None = None
    ) -> Lease | None:
        """Take the import that waits longest (or only the one named), or ``None`` when none is due.

        Due are: ready ones, deferred ones whose time has come, running ones whose lease ended; of these only the
        ``unrenewed``, when they are given. A time that is further away than it can have been set was set by a clock
        that was wrong, and has come as well (FAULTS.md W8). A claim whose commit was not heard of is looked up before
        any other (W6): it is one try, and lost no worker.
        """
        if only is None and (lease := self._heard_after_all(now)) is not None:
            return lease
        too_far = imports.c.next_attempt_at > now + self._longest_wait
        due = or_(
            imports.c.state == State.READY,
            and_(imports.c.state == State.DEFERRED, or_(imports.c.next_attempt_at <= now, too_far)),
            and_(self._is_lost(now), _is_one_of(unrenewed)),
        )
        wanted = select(imports).where(due)
        if only is not None:
            wanted = wanted.where(imports.c.id == only)
        return self._claim(wanted, now)

    def claim_waiting(self, import_id: str, now: datetime) -> Lease | None:
        """Take this import, due or not, unless a worker holds it or it is over."""
        waiting = or_(
            imports.c.state.in_([State.READY, State.DEFERRED]),
            self._is_lost(now),
        )
        return self._claim(select(imports).where(imports.c.id == import_id, waiting), now)

    def _is_lost(self, now: datetime) -> ColumnElement[bool]:
        """Whether an import's worker has not renewed its lease: it ended, or no lease given now could be so long.

        Twice as long, as the worker's clock may be ahead of this one: that of another machine, or before a step back.
        """
        too_far = imports.c.lease_until > now + 2 * self._lease
        return and_(imports.c.state == State.RUNNING, or_(imports.c.lease_until < now, too_far))

    def _claim(self, wanted: Select[Any], now: datetime) -> Lease | None:
        wanted = wanted.order_by(imports.c.sequence).limit(1)
        with self._database.read() as connection:  # an idle worker's look takes no write lock
            if connection.execute(wanted.with_only_columns(imports.c.id)).first() is None:
                return None
        wanted = wanted.with_for_update(skip_locked=True)
        lease: Lease | None = None
        try:
            with self._database.write() as connection:
                row = connection.execute(wanted).mappings().one_or_none()
                if row is None:
                    return None
                lease = self._leased(connection, row, now)
                passing("claim.leased")
        except LedgerUnavailable:
            if lease is not None:
                self._unheard = lease, now
            raise
        passing("claim.committed")
        return lease

    def _leased(self, connection: Connection, row: RowMapping, now: datetime) -> Lease:
        fence, attempts = row["fence"] + 1, row["attempts"] + 1
        is_lost = row["state"] == State.RUNNING
        lost = row["lost"] + is_lost
        connection.execute(
            update(imports)
            .where(imports.c.id == row["id"])
            .values(
                state=State.RUNNING,
                fence=fence,
                attempts=attempts,
                lost=lost,
                lease_until=now + self._lease,
                **_NO_DUPLICATE,
            )
        )
        if is_lost:
            note(connection, row["id"], What.WORKER_LOST, now, tries=row["attempts"])
        note(connection, row["id"], What.CLAIMED, now, tries=attempts, worker=_this_process())
        report = replace(report_of(row), state=State.RUNNING, attempts=attempts, **_NO_DUPLICATE)
        return Lease(report, row["sequence"], fence, lost, row["give_up_at"])

    def _heard_after_all(self, now: datetime) -> Lease | None:
        """The claim whose commit was not heard of, renewed, if it was made; as long as that is open it stays so."""
        if self._unheard is None:
            return None
        lease, claimed_at = self._unheard
        row = select(imports.c.state, imports.c.fence).where(imports.c.id == lease.report.id)
        with self._database.write() as connection:
            # a commit that the server is still at holds the row
            found = connection.execute(row.with_for_update(skip_locked=True)).one_or_none()
            if found is None:
                return None
            # another worker's claim has the same fence, when ours was not made
            is_ours = found == (State.RUNNING, lease.fence) and self._claimer(connection, lease) == (
                _this_process(),
                claimed_at,
            )
            if is_ours:
                _update(connection, lease, lease_until=now + self._lease)
        self._unheard = None
        return lease if is_ours else None

    def _claimer(self, connection: Connection, lease: Lease) -> tuple[str, datetime] | None:
        """Who has claimed an import last, and when."""
        claims = select(timeline.c.at, timeline.c.detail).where(
            timeline.c.import_id == lease.report.id, timeline.c.what == What.CLAIMED
        )
        last = connection.execute(claims.order_by(timeline.c.number.desc()).limit(1)).one_or_none()
        return None if last is None else (last.detail["worker"], last.at)

    def heartbeat(self, lease: Lease, now: datetime) -> None:
        """Renew the lease from ``now``. Raises `LeaseLost`."""
        with self._database.write() as connection:
            _update(connection, lease, lease_until=now + self._lease)

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        """Let nobody take the import over for the block, in which its rows are committed (FAULTS.md W2).

        Raises `LeaseLost` before the block. On SQLite nobody writes to the ledger meanwhile.
        """
        held = select(imports.c.id).where(_is_held(lease)).with_for_update()
        with self._database.write() as connection:
            if connection.execute(held).first() is None:
                raise LeaseLost(lease.report.id)
            yield

    def picked_up(self, lease: Lease, report: Report, notices: Sequence[NewNotice], now: datetime) -> None:
        """Record what the manifest says, with the notices of it. Raises `LeaseLost`; notices are enqueued once."""
        with self._database.write() as connection:
            _update(connection, lease, **columns_of(report))
            note(connection, report.id, What.PICKED_UP, now)
            enqueue(connection, report, notices, now)
            passing("picked_up.enqueued")

    def settle(
        self,
        lease: Lease,
        report: Report,
        notices: Sequence[NewNotice],
        now: datetime,
        *,
        while_held: Callable[[], None] = lambda: None,
    ) -> None:
        """End the import as ``report.state`` says, and enqueue its notices, in one transaction. Raises `LeaseLost`.

        Whatever waits for its end is due then.
        ``while_held`` runs before the transaction commits, when no other worker can settle the import; what it raises
        undoes the settling.
        """
        with self._database.write() as connection:
            _update(connection, lease, state=report.state, lease_until=None, give_up_at=None, **columns_of(report))
            verdict = {"state": report.state, "code": report.code, "seconds": report.seconds}
            note(connection, report.id, What.SETTLED, now, **verdict)
            enqueue(connection, report, notices, now)
            waiting = and_(imports.c.state == State.DEFERRED, imports.c.duplicate_of == report.id)
            connection.execute(update(imports).where(waiting).values(next_attempt_at=now))
            passing("settle.begun")
            while_held()
            passing("settle.results_written")

    def defer(
        self, lease: Lease, now: datetime, *, code: str, message: str, next_attempt_at: datetime, give_up_at: datetime
    ) -> None:
        """Let the import wait for another try. Raises `LeaseLost`."""
        with self._database.write() as connection:
            _update(
                connection,
                lease,
                state=State.DEFERRED,
                lease_until=None,
                next_attempt_at=next_attempt_at,
                give_up_at=give_up_at,
                code=code,
                message=message,
            )
            wait_s = round((next_attempt_at - now).total_seconds(), 3)
            note(connection, lease.report.id, What.DEFERRED, now, code=code, message=message, wait_s=wait_s)

    def wait(self, lease: Lease, report: Report, now: datetime, *, next_attempt_at: datetime) -> None:
        """Let the import wait for the end of ``report.duplicate_of``; this was no try. Raises `LeaseLost`."""
        with self._database.write() as connection:
            _update(
                connection,
                lease,
                **columns_of(report),
                state=State.DEFERRED,
                lease_until=None,
                next_attempt_at=next_attempt_at,
                attempts=lease.report.attempts - 1,
            )
            wait_s = round((next_attempt_at - now).total_seconds(), 3)
            note(connection, report.id, What.WAITING, now, end_of=report.duplicate_of, wait_s=wait_s)

    def give_back(self, lease: Lease, now: datetime) -> None:
        """Let another worker have the import at once; this one is being stopped. Raises `LeaseLost`."""
        with self._database.write() as connection:
            _update(connection, lease, state=State.READY, lease_until=None)
            note(connection, lease.report.id, What.GIVEN_BACK, now)


def _is_one_of(unrenewed: Collection[Held] | None) -> ColumnElement[bool]:
    if unrenewed is None:
        return true()
    return or_(false(), *(and_(imports.c.id == one.import_id, imports.c.lease_until == one.until) for one in unrenewed))


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _update(connection: Connection, lease: Lease, **values: object) -> None:
    held = connection.execute(update(imports).where(_is_held(lease)).values(**values))
    if held.rowcount != 1:
        raise LeaseLost(lease.report.id)


def _is_held(lease: Lease) -> ColumnElement[bool]:
    return and_(imports.c.id == lease.report.id, imports.c.fence == lease.fence, imports.c.state == State.RUNNING)

"""The outbox of notices: written in the transaction of the fact that they tell, tried until sent or given up."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, func, insert, or_, select, update

from ingest.errors import LedgerUnavailable
from ingest.ledger.database import Database
from ingest.ledger.flood import WINDOW, hold_back
from ingest.ledger.tables import imports, notices
from ingest.notices.notice import AnyStage, Channel, Notice, Stage, stage_of
from ingest.report import Report
from ingest.states import ENDS

_LONGEST_WAIT = timedelta(days=1)
_CLAIM = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class NewNotice:
    """A notice to be enqueued; ``note`` is a line for its end, ``occasion`` tells those of one stage apart."""

    stage: AnyStage
    recipient: str
    note: str | None
    channel: Channel = Channel.MAIL
    occasion: int = 0

    @property
    def once(self) -> tuple[str, str, str, int]:
        """What there is one of, about one thing."""
        return self.stage, self.channel, self.recipient, self.occasion


def enqueue(connection: Connection, report: Report, new: Sequence[NewNotice], now: datetime) -> None:
    """Put notices of an import into the outbox; one that is there already stays as it is.

    A notice of its end takes back what nobody has been told yet of its being under way.
    """
    told = _told(connection, notices.c.import_id == report.id)
    for notice in new:
        if notice.once not in told:
            _insert(connection, notice, report.account, report.id, report.as_json(), now, import_id=report.id)
    if any(notice.stage in (Stage.SUCCEEDED, Stage.FAILED, Stage.SKIPPED) for notice in new):
        untold = (
            notices.c.import_id == report.id,
            notices.c.stage == Stage.STILL_RUNNING,
            notices.c.state == "pending",
            notices.c.claimed_at.is_(None),
        )
        connection.execute(update(notices).where(*untold).values(state="withdrawn"))


def _told(connection: Connection, about: ColumnElement[bool]) -> set[tuple[str, str, str, int]]:
    there = select(notices.c.stage, notices.c.channel, notices.c.recipient, notices.c.occasion).where(about)
    return {(row.stage, row.channel, row.recipient, row.occasion) for row in connection.execute(there)}


def _insert(
    connection: Connection,
    notice: NewNotice,
    account: str,
    identity: str,
    report: dict[str, Any],
    now: datetime,
    **about: str,
) -> None:
    connection.execute(
        insert(notices).values(
            account=account,
            stage=notice.stage,
            channel=notice.channel,
            recipient=notice.recipient,
            occasion=notice.occasion,
            message_id=_new_id(notice, identity),
            note=notice.note,
            report=report,
            state="pending",
            created_at=now,
            next_attempt_at=now,
            **about,
        )
    )


def _new_id(notice: NewNotice, identity: str) -> str:
    """A Message-ID, or a delivery ID without the dot that would end it in what a webhook's signature covers."""
    if notice.channel is Channel.WEBHOOK:
        return f"msg_{secrets.token_hex(16)}"
    return f"<{identity}.{notice.stage}.{secrets.token_hex(8)}@sealdrop.invalid>"


class Outbox:
    """The outbox as those see it who deliver notices, and who tell of what is no end of an import."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unheard: list[tuple[list[int], datetime]] = []

    def tell(
        self, account: str, subject: str, identity: str, facts: dict[str, Any], new: Sequence[NewNotice], now: datetime
    ) -> int:
        """Enqueue notices about what is no import, known by ``subject``; how many are new: each is told once.

        ``identity`` begins the Message-ID.
        """
        about = notices.c.subject == subject
        with self._database.read() as connection:  # most looks find nothing to tell, and take no write lock
            if {notice.once for notice in new} <= _told(connection, about):
                return 0
        with self._database.write() as connection:
            told = _told(connection, about)
            untold = {notice.once: notice for notice in new if notice.once not in told}
            for notice in untold.values():
                _insert(connection, notice, account, identity, facts, now, subject=subject)
        return len(untold)

    def tell_still_running(self, report: Report, new: Sequence[NewNotice], now: datetime) -> int:
        """Enqueue the notices of an occasion, unless the import is over or was told of on this or a later one."""
        occasion = max((notice.occasion for notice in new), default=0)
        told = select(notices.c.id).where(
            notices.c.import_id == report.id,
            notices.c.stage == Stage.STILL_RUNNING,
            notices.c.occasion >= occasion,
        )
        with self._database.read() as connection:
            if not new or connection.execute(told.limit(1)).first() is not None:
                return 0
        unfinished = select(imports.c.id).where(imports.c.id == report.id, imports.c.state.not_in(list(ENDS)))
        with self._database.write() as connection:
            # the import's row is held: no worker ends it, and no other process tells of it, until this commits
            if connection.execute(unfinished.with_for_update()).first() is None:
                return 0
            if connection.execute(told.limit(1)).first() is not None:
                return 0
            enqueue(connection, report, new, now)
        return len(new)

    def due(
        self,
        now: datetime,
        limit: int,
        *,
        channels: Collection[Channel] = tuple(Channel),
        claim: timedelta = _CLAIM,
        longest_wait: timedelta = _LONGEST_WAIT,
        mails_per_hour: int | None = None,
    ) -> list[Notice]:
        """The notices whose time has come, the oldest of each account first; no other process gets them for ``claim``.

        Accounts take turns, so that one with many that fail keeps no other from being tried. A process that dies over
        its notices leaves them to be tried again after that, with the same Message-ID. An account gets no more than
        ``mails_per_hour``, as `ingest.ledger.flood` says. A time that is further away than it can have been set
        (``longest_wait`` is the longest between two tries) was set by a clock that was wrong, and has come as well
        (FAULTS.md W8). What was claimed by a commit that was not heard of is due again (W6).
        """
        self._give_back_unheard(now)
        too_far = notices.c.next_attempt_at > now + max(longest_wait, claim, WINDOW)
        due = (
            notices.c.state == "pending",
            or_(notices.c.next_attempt_at <= now, too_far),
            notices.c.channel.in_(channels),
        )
        turn = func.row_number().over(partition_by=notices.c.account, order_by=notices.c.id).label("turn")
        turns = select(notices.c.id, turn).where(*due).subquery()
        wanted = (
            select(notices)
            .join(turns, notices.c.id == turns.c.id)
            .where(*due)  # again, for what another process has claimed while this one waited
            .order_by(turns.c.turn, notices.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:  # an idle look takes no write lock
            if connection.execute(select(notices.c.id).where(*due).limit(1)).first() is None:
                return []
        rows: Sequence[RowMapping] = ()
        try:
            with self._database.write() as connection:
                if mails_per_hour is not None and Channel.MAIL in channels:
                    hold_back(connection, now, mails_per_hour)
                rows = connection.execute(wanted.with_for_update(skip_locked=True, of=notices)).mappings().all()
                connection.execute(
                    update(notices)
                    .where(notices.c.id.in_([row["id"] for row in rows]))
                    .values(
                        # whoever claimed it before has died over it, perhaps after it was taken
                        perhaps_taken=or_(notices.c.perhaps_taken, notices.c.claimed_at.is_not(None)),
                        claimed_at=now,
                        next_attempt_at=now + claim,
                    )
                )
        except LedgerUnavailable:
            self._unheard.append(([row["id"] for row in rows], now))
            raise
        return [_notice(row) for row in rows]

    def _give_back_unheard(self, now: datetime) -> None:
        """Nobody tries what was claimed by a commit of which nobody heard, if it was made at all."""
        while self._unheard:
            try:
                unheard = ids, claimed_at = self._unheard.pop()
            except IndexError:  # the round of the other channel was faster
                return
            ours = select(notices.c.id).where(notices.c.id.in_(ids), notices.c.claimed_at == claimed_at)
            try:
                with self._database.write() as connection:
                    # a row that a commit still holds is left: its claim ends by itself
                    found = connection.scalars(ours.with_for_update(skip_locked=True)).all()
                    back = update(notices).where(notices.c.id.in_(found))
                    connection.execute(back.values(claimed_at=None, next_attempt_at=now))
            except LedgerUnavailable:
                self._unheard.append(unheard)
                raise

    def sent(self, notice_id: int, at: datetime, status: int | None = None) -> None:
        """It was taken; this and the next two mark a notice that was claimed, and to do so again changes nothing."""
        self._ended(notice_id, at, status, state="sent", sent_at=at, last_error=None)

    def deferred(
        self,
        notice_id: int,
        error: str,
        next_attempt_at: datetime,
        *,
        at: datetime,
        status: int | None = None,
        perhaps_taken: bool = False,
    ) -> None:
        """A try failed; there will be another. ``perhaps_taken``: it may have arrived all the same."""
        taken = {"perhaps_taken": True} if perhaps_taken else {}
        self._ended(notice_id, at, status, last_error=error, next_attempt_at=next_attempt_at, **taken)

    def given_up(self, notice_id: int, error: str, *, at: datetime, status: int | None = None) -> None:
        """There will be no further try."""
        self._ended(notice_id, at, status, state="given_up", last_error=error)

    def give_back(self, notice_ids: Collection[int], now: datetime) -> None:
        """The notices were claimed and not tried: another process may have them at once."""
        these = notices.c.id.in_(notice_ids)
        with self._database.write() as connection:
            connection.execute(update(notices).where(these).values(claimed_at=None, next_attempt_at=now))

    def retry(self, notice_id: int, now: datetime) -> bool:
        """Let a notice that was given up be tried again, now; whether it was one."""
        given_up = notices.c.id == notice_id, notices.c.state == "given_up"
        with self._database.write() as connection:
            again = connection.execute(
                update(notices).where(*given_up).values(state="pending", next_attempt_at=now, last_error=None)
            )
        return again.rowcount == 1

    def _ended(self, notice_id: int, at: datetime, status: int | None, **values: object) -> None:
        """A try has ended."""
        with self._database.write() as connection:
            connection.execute(
                update(notices)
                .where(notices.c.id == notice_id, notices.c.claimed_at.is_not(None))
                .values(
                    attempts=notices.c.attempts + 1,
                    claimed_at=None,
                    last_attempt_at=at,
                    last_status=status,
                    **values,
                )
            )


def _notice(row: RowMapping) -> Notice:
    return Notice(
        id=row["id"],
        account=row["account"],
        stage=stage_of(row["stage"]),
        channel=Channel(row["channel"]),
        recipient=row["recipient"],
        message_id=row["message_id"],
        note=row["note"],
        report=row["report"],
        created_at=row["created_at"],
        attempts=row["attempts"],
        occasion=row["occasion"],
        perhaps_taken=row["perhaps_taken"] or row["claimed_at"] is not None,
    )

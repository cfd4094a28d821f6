"""The outbox of notices: written in the transaction of the fact that they tell, tried until sent or given up."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from ingest.key_news import KeyNews
from ingest.ledger.database import Database
from ingest.ledger.tables import notices
from ingest.notices.notice import KeyStage, Notice, Stage
from ingest.report import Report

_CLAIM = timedelta(minutes=10)  # longer than a round of deliveries takes


@dataclass(frozen=True, slots=True)
class NewNotice:
    """A notice to be enqueued; ``note`` is a line for its end."""

    stage: Stage | KeyStage
    recipient: str
    note: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a notice of an import stands."""

    stage: str
    recipient: str
    state: str
    attempts: int
    sent_at: datetime | None
    last_error: str | None


def enqueue(connection: Connection, report: Report, new: Sequence[NewNotice], now: datetime) -> None:
    """Put notices into the outbox; one of a stage and recipient that is there already stays as it is."""
    there = select(notices.c.stage, notices.c.recipient).where(notices.c.import_id == report.id)
    told = {(row.stage, row.recipient) for row in connection.execute(there)}
    for notice in new:
        if (notice.stage, notice.recipient) not in told:
            _insert(connection, notice, report.id, report.as_json(), now, import_id=report.id)


def _insert(
    connection: Connection, notice: NewNotice, identity: str, report: dict[str, Any], now: datetime, **about: str
) -> None:
    connection.execute(
        insert(notices).values(
            stage=notice.stage,
            recipient=notice.recipient,
            message_id=f"<{identity}.{notice.stage}.{secrets.token_hex(8)}@sealdrop.invalid>",
            note=notice.note,
            report=report,
            state="pending",
            created_at=now,
            next_attempt_at=now,
            **about,
        )
    )


class Outbox:
    """The outbox as those see it who deliver notices, and who tell of what is no import."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tell_of_key(self, news: KeyNews, stage: KeyStage, recipients: Sequence[str], now: datetime) -> int:
        """Enqueue a notice for each recipient; how many are new: one that was told already is not told again."""
        there = select(notices.c.recipient).where(notices.c.subject == news.subject, notices.c.stage == stage)
        with self._database.read() as connection:  # most looks find nothing to tell, and take no write lock
            if set(recipients) <= set(connection.scalars(there)):
                return 0
        with self._database.write() as connection:
            told = set(connection.scalars(there))
            untold = [address for address in dict.fromkeys(recipients) if address not in told]
            for address in untold:
                notice = NewNotice(stage, address, None)
                _insert(connection, notice, news.key_id, news.as_json(), now, subject=news.subject)
        return len(untold)

    def due(self, now: datetime, limit: int) -> list[Notice]:
        """The notices whose time has come, oldest first; no other process gets them for `_CLAIM`.

        A process that dies over them leaves them to be tried again after that, with the same Message-ID.
        """
        wanted = (
            select(notices)
            .where(notices.c.state == "pending", notices.c.next_attempt_at <= now)
            .order_by(notices.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        with self._database.read() as connection:  # an idle look takes no write lock
            if connection.execute(wanted.with_only_columns(notices.c.id).limit(1)).first() is None:
                return []
        with self._database.write() as connection:
            rows = connection.execute(wanted).all()
            claimed = [row.id for row in rows]
            connection.execute(update(notices).where(notices.c.id.in_(claimed)).values(next_attempt_at=now + _CLAIM))
        return [
            Notice(
                id=row.id,
                stage=Stage(row.stage) if row.subject is None else KeyStage(row.stage),
                recipient=row.recipient,
                message_id=row.message_id,
                note=row.note,
                report=row.report,
                created_at=row.created_at,
                attempts=row.attempts,
            )
            for row in rows
        ]

    def sent(self, notice_id: int, at: datetime) -> None:
        """The relay has taken the notice."""
        self._update(notice_id, state="sent", sent_at=at, last_error=None)

    def deferred(self, notice_id: int, error: str, next_attempt_at: datetime) -> None:
        """A try failed; there will be another."""
        self._update(notice_id, last_error=error, next_attempt_at=next_attempt_at)

    def given_up(self, notice_id: int, error: str) -> None:
        """There will be no further try."""
        self._update(notice_id, state="given_up", last_error=error)

    def of_import(self, import_id: str) -> list[Delivery]:
        """How the notices of an import stand, in the order in which they were written."""
        wanted = select(notices).where(notices.c.import_id == import_id).order_by(notices.c.id)
        with self._database.read() as connection:
            return [
                Delivery(row.stage, row.recipient, row.state, row.attempts, row.sent_at, row.last_error)
                for row in connection.execute(wanted)
            ]

    def _update(self, notice_id: int, **values: object) -> None:
        with self._database.write() as connection:
            connection.execute(
                update(notices).where(notices.c.id == notice_id).values(attempts=notices.c.attempts + 1, **values)
            )

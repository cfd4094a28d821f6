"""How notices stand: the delivery log of mails and webhooks, for whoever looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, select

from ingest.ledger.database import Database
from ingest.ledger.tables import notices


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one notice stands.

    ``recipient`` is a mail address, or where the webhook was when the notice was written; ``message_id`` the
    Message-ID, or the delivery ID of a webhook. ``attempts`` counts the tries that have ended; ``last_status`` is the
    status of SMTP or HTTP that the last one came to, if there was an answer, ``error`` why it failed.
    ``next_attempt_at`` is set while it waits; ``digest_id`` is the notice that tells this one.
    """

    id: int
    account: str
    import_id: str | None
    stage: str
    channel: str
    recipient: str
    state: str
    created_at: datetime
    attempts: int
    last_attempt_at: datetime | None
    last_status: int | None
    error: str | None
    perhaps_taken: bool
    next_attempt_at: datetime | None
    sent_at: datetime | None
    digest_id: int | None
    message_id: str

    def as_json(self) -> dict[str, Any]:
        """The facts with stable keys."""
        return asdict(self)


class Deliveries:
    """Reads the outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_import(self, import_id: str) -> list[Delivery]:
        """The notices of an import, in the order in which they were written."""
        return self._found(select(notices).where(notices.c.import_id == import_id).order_by(notices.c.id))

    def newest(
        self, *, account: str | None = None, channel: str | None = None, states: Sequence[str] = (), limit: int = 50
    ) -> list[Delivery]:
        """The last notices written, newest first."""
        wanted = select(notices).order_by(notices.c.id.desc()).limit(limit)
        if account is not None:
            wanted = wanted.where(notices.c.account == account)
        if channel is not None:
            wanted = wanted.where(notices.c.channel == channel)
        if states:
            wanted = wanted.where(notices.c.state.in_(states))
        return self._found(wanted)

    def get(self, notice_id: int) -> tuple[Delivery, dict[str, Any]] | None:
        """How a notice stands, and what it tells; ``None`` when there is none of this ID."""
        with self._database.read() as connection:
            row = connection.execute(select(notices).where(notices.c.id == notice_id)).mappings().one_or_none()
        return None if row is None else (_delivery(row), row["report"])

    def _found(self, wanted: Select[tuple[object, ...]]) -> list[Delivery]:
        with self._database.read() as connection:
            return [_delivery(row) for row in connection.execute(wanted).mappings()]


def _delivery(row: RowMapping) -> Delivery:
    waits = row["state"] == "pending"
    return Delivery(
        id=row["id"],
        account=row["account"],
        import_id=row["import_id"],
        stage=row["stage"],
        channel=row["channel"],
        recipient=row["recipient"],
        state=row["state"],
        created_at=row["created_at"],
        attempts=row["attempts"],
        last_attempt_at=row["last_attempt_at"],
        last_status=row["last_status"],
        error=row["last_error"],
        perhaps_taken=row["perhaps_taken"],
        next_attempt_at=row["next_attempt_at"] if waits else None,
        sent_at=row["sent_at"],
        digest_id=row["digest_id"],
        message_id=row["message_id"],
    )

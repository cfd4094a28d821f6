"""The audit trail: who did what to which key or account, when, with what outcome. No key material, no personal data."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert

from ingest.ledger.tables import audit


def record(
    connection: Connection,
    *,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    outcome: str = "done",
    account: str | None = None,
) -> None:
    """Append one line in the transaction of the deed itself, so that neither is there without the other."""
    connection.execute(
        insert(audit).values(at=at, actor=actor, action=action, account=account, subject=subject, outcome=outcome)
    )

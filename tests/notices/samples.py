"""Notices to send."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ingest.notices.notice import Channel, Notice, Stage
from ingest.report import RejectedRow, Report

ID = "0193532e-7b1c-7c55-9a3f-2f5b0c9d1e77"
RECEIVED = datetime(2026, 11, 22, 8, 4, 11, tzinfo=UTC)
SENDER = "Sealdrop <sealdrop@example.org>"


def report(**facts: Any) -> Report:
    base: dict[str, Any] = {
        "id": ID,
        "account": "acme",
        "manifest": "users.manifest",
        "data_file": "users.csv.asc",
        "type": "profile",
        "state": "succeeded",
        "received_at": RECEIVED,
        "finished_at": RECEIVED + timedelta(seconds=2.4),
    }
    return Report(**base | facts)


def notice(stage: Stage = Stage.SUCCEEDED, *, number: int = 1, **facts: Any) -> Notice:
    """A notice; ``facts`` are of the report, but for the fields of a notice."""
    recipient = facts.pop("recipient", "ops@example.com")
    note, attempts = facts.pop("note", None), facts.pop("attempts", 0)
    return Notice(
        id=number,
        account="acme",
        stage=stage,
        channel=Channel.MAIL,
        recipient=recipient,
        message_id=f"<{ID}.{stage}.{number:016x}@sealdrop.invalid>",
        note=note,
        report=report(**facts).as_json(),
        created_at=RECEIVED,
        attempts=attempts,
    )


def rejects(count: int) -> tuple[RejectedRow, ...]:
    return tuple(RejectedRow(row, "price", 601, "not a whole number in 64 bits") for row in range(1, count + 1))

"""The timeline of each import: what happened to it and when, written in the transaction of the fact itself.

Bounded: of an import that was tried very often the first entries stay, and the last; numbers that are missing in
between tell how many are not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from ingest.ledger.database import Database
from ingest.ledger.tables import timeline

KEPT_FIRST = 20
KEPT_LAST = 80


class What(StrEnum):
    """What can happen to an import."""

    RECEIVED = "received"
    TAKEN = "taken"
    CLAIMED = "claimed"
    WORKER_LOST = "worker_lost"
    PICKED_UP = "picked_up"
    DEFERRED = "deferred"
    WAITING = "waiting"
    GIVEN_BACK = "given_back"
    SETTLED = "settled"
    RETRIED = "retried"
    REPLAYED = "replayed"
    RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; ``detail`` has only JSON types, and never a value of a row."""

    number: int
    at: datetime
    what: What
    detail: dict[str, Any]


def note(connection: Connection, import_id: str, what: What, at: datetime, **detail: Any) -> None:
    """Append an entry to the import's timeline, in the transaction of what it tells."""
    of_import = timeline.c.import_id == import_id
    number = (connection.scalar(select(func.max(timeline.c.number)).where(of_import)) or 0) + 1
    connection.execute(insert(timeline).values(import_id=import_id, number=number, at=at, what=what, detail=detail))
    if number > KEPT_FIRST + KEPT_LAST:
        between = timeline.c.number.between(KEPT_FIRST + 1, number - KEPT_LAST)
        connection.execute(delete(timeline).where(of_import, between))


class Timeline:
    """Reads timelines."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_import(self, import_id: str) -> list[Entry]:
        """What happened to an import, in the order in which it did."""
        wanted = select(timeline).where(timeline.c.import_id == import_id).order_by(timeline.c.number)
        with self._database.read() as connection:
            return [Entry(row.number, row.at, What(row.what), row.detail) for row in connection.execute(wanted)]

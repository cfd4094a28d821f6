"""What an account has sent before: its last import of a manifest, and the names of its events."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update

from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.imports import report_of
from ingest.ledger.tables import event_names, imports
from ingest.report import Report
from ingest.states import State
from manifests.event_names import EventNames


@dataclass(frozen=True, slots=True)
class EventName:
    """One event name of an account; events of a ``discarded`` one are rejected."""

    name: str
    discarded: bool
    created_at: datetime


class History:
    """Reads and records what accounts have sent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def previous(self, report: Report) -> Report | None:
        """The last import of the same manifest that stored its rows, received before this one; ``None`` for none."""
        here = select(imports.c.sequence).where(imports.c.id == report.id).scalar_subquery()
        wanted = (
            select(imports)
            .where(
                imports.c.account == report.account,
                imports.c.manifest == report.manifest,
                imports.c.state == State.SUCCEEDED,
                imports.c.dry_run.is_(False),
                imports.c.sequence < here,
            )
            .order_by(imports.c.sequence.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else report_of(row)

    def names_of_events(self, account: str, *, most: int) -> EventNames:
        """The event names of an account for the reading of one file; ``most`` names it may have.

        Files that are read at the same time do not see each other's new names: then there may be a few more.
        """
        names = self.event_names(account)
        return EventNames((n.name for n in names), (n.name for n in names if n.discarded), most=most)

    def event_names(self, account: str) -> list[EventName]:
        """The event names of an account, in the order of the alphabet."""
        wanted = select(event_names).where(event_names.c.account == account).order_by(event_names.c.name)
        with self._database.read() as connection:
            rows = connection.execute(wanted)
            return [EventName(row.name, row.discarded, row.created_at) for row in rows]

    def add_event_names(self, account: str, names: Collection[str], now: datetime) -> None:
        """Record event names that an account sent; those that it has already stay as they are."""
        if not names:
            return
        with self._database.write_in_turn() as connection:
            wanted = select(event_names.c.name).where(event_names.c.account == account)
            known = set(connection.execute(wanted).scalars())
            if new := sorted(set(names) - known):
                values = [{"account": account, "name": name, "discarded": False, "created_at": now} for name in new]
                connection.execute(insert(event_names), values)

    def set_discarded(self, account: str, name: str, *, discarded: bool, now: datetime, actor: str) -> None:
        """Discard the events of a name from now on, or keep them again; what is stored already stays."""
        self.add_event_names(account, [name], now)
        with self._database.write_in_turn() as connection:
            connection.execute(
                update(event_names)
                .where(event_names.c.account == account, event_names.c.name == name)
                .values(discarded=discarded)
            )
            action = "event_discarded" if discarded else "event_kept"
            audit.record(connection, at=now, actor=actor, action=action, account=account, subject=name[:256])

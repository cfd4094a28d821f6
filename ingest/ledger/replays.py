"""Replays: imports that were given the files of one that was uploaded, and together with it make a family.

At most one of a family is on its way at any time, and only the newest may be tried again: so each can know, before it
stores anything, which rows of the file the others have stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, or_, select, update

from ingest.errors import MoveRefused
from ingest.ledger.database import Database
from ingest.ledger.tables import imports
from ingest.ledger.timeline import What, note
from ingest.states import ENDS, State


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rows of an import belong: ``sequence`` and ``received_at`` are those of the upload of its file.

    ``others`` are the rest of its family, oldest first.
    """

    sequence: int
    received_at: datetime
    others: tuple[str, ...]


class Replays:
    """Reads families."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def origin(self, import_id: str) -> Origin:
        """Where the rows of this import belong; those of most imports to themselves."""
        with self._database.read() as connection:
            rows = connection.execute(_family_of(_root(connection, import_id))).all()
        return Origin(rows[0].sequence, rows[0].received_at, tuple(row.id for row in rows if row.id != import_id))


def begin(connection: Connection, root: str, replay: str, now: datetime) -> None:
    """Let ``replay`` be the next of the family. Raises `MoveRefused` while one of it is not over."""
    connection.execute(select(imports.c.id).where(imports.c.id == root).with_for_update())
    for row in connection.execute(_family_of(root)).all():
        if row.state not in ENDS:
            raise MoveRefused(
                f"The import {row.id} is {row.state}: wait for its end (`sealdrop imports watch {row.id}`)."
            )
        if row.state == State.HELD:
            connection.execute(update(imports).where(imports.c.id == row.id).values(state=State.FAILED))
        note(connection, row.id, What.REPLAYED, now, replay=replay)


def newest(connection: Connection, import_id: str) -> str | None:
    """The newest of the import's family, locked against replays until the transaction ends."""
    root = _root(connection, import_id)
    connection.execute(select(imports.c.id).where(imports.c.id == root).with_for_update())
    rows = connection.execute(_family_of(root)).all()
    return rows[-1].id if rows else None


def _root(connection: Connection, import_id: str) -> str:
    return connection.scalar(select(imports.c.replay_of).where(imports.c.id == import_id)) or import_id


def _family_of(root: str) -> Select[Any]:
    columns = (imports.c.id, imports.c.sequence, imports.c.received_at, imports.c.state)
    family = or_(imports.c.id == root, imports.c.replay_of == root)
    return select(*columns).where(family).order_by(imports.c.sequence)

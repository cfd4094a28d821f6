"""Uploads in the ledger: their place in the order of receipt, and what came before under an idempotency key."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, insert, or_, select

from ingest.ledger.api_tables import upload_keys
from ingest.ledger.database import Database
from ingest.ledger.tables import imports
from ingest.states import State


@dataclass(frozen=True, slots=True)
class Remembered:
    """One request with an idempotency key.

    ``writer`` and ``number`` are the mark of the commit that has its rows, if that ever happened: the lake says so.
    ``there`` are the tables that had them from an earlier try. ``faults`` are those of its records, by number, as JSON
    has them.
    """

    key_hash: bytes
    body_hash: bytes
    writer: str
    number: int
    there: list[str]
    faults: list[list[Any]]


class Uploads:
    """Records what the upload API must remember. Blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remembered(self, account: str, keys: Collection[bytes], *, since: datetime) -> dict[bytes, Remembered]:
        """The account's requests with one of these hashes of a key, not older than ``since``."""
        if not keys:
            return {}
        wanted = select(upload_keys).where(
            upload_keys.c.account == account, upload_keys.c.key_hash.in_(keys), upload_keys.c.created_at >= since
        )
        with self._database.read() as connection:
            rows = connection.execute(wanted)
            return {
                row.key_hash: Remembered(row.key_hash, row.body_hash, row.writer, row.number, row.there, row.faults)
                for row in rows
            }

    def begin(
        self, account: str, batch_id: str, requests: Sequence[Remembered], *, now: datetime, since: datetime
    ) -> int:
        """Remember the requests of a batch, and give it its place in the order of all that the account sends.

        What is older than ``since`` is forgotten. Comes before the commit of the rows, so that a crash in between
        leaves a request whose rows are not in the lake, never rows of which nobody knows.
        """
        with self._database.write() as connection:
            again = and_(
                upload_keys.c.account == account, upload_keys.c.key_hash.in_([each.key_hash for each in requests])
            )
            connection.execute(delete(upload_keys).where(or_(upload_keys.c.created_at < since, again)))
            if requests:
                values = [
                    {
                        "account": account,
                        "key_hash": each.key_hash,
                        "body_hash": each.body_hash,
                        "writer": each.writer,
                        "number": each.number,
                        "there": each.there,
                        "faults": each.faults,
                        "created_at": now,
                    }
                    for each in requests
                ]
                connection.execute(insert(upload_keys), values)
            # imports and uploads are in one order: the number is taken from the imports, which never give it twice
            row = {"id": batch_id, "account": account, "manifest": "", "state": State.RECEIVED, "received_at": now}
            placed = connection.execute(insert(imports).values(row))
            connection.execute(delete(imports).where(imports.c.id == batch_id))
            (sequence,) = placed.inserted_primary_key or (0,)
            return int(sequence)

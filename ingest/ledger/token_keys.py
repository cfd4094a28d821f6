"""The keys that sign access tokens, sealed by the vault: the newest signs, the one before it is still believed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select

from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.tables import audit_tip, token_keys

_KEPT = 2


@dataclass(frozen=True, slots=True)
class StoredTokenKey:
    """A key; ``sealed`` is its private half."""

    kid: str
    created_at: datetime
    sealed: bytes


class TokenKeys:
    """Reads and rotates the keys that sign tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[StoredTokenKey]:
        """The keys, newest first."""
        query = select(token_keys).order_by(token_keys.c.created_at.desc(), token_keys.c.kid)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings()
            return [StoredTokenKey(row["kid"], row["created_at"], row["sealed_private_key"]) for row in rows]

    def add(self, key: StoredTokenKey, *, older_than: datetime) -> None:
        """Store a new key, unless there is one that is not ``older_than`` (another process was faster).

        All but the newest two are removed.
        """
        with self._database.write() as connection:
            connection.execute(select(audit_tip).with_for_update())  # one writer at a time, also on PostgreSQL
            newest_first = select(token_keys.c.kid, token_keys.c.created_at).order_by(token_keys.c.created_at.desc())
            stored = connection.execute(newest_first).all()
            if stored and stored[0].created_at >= older_than:
                return
            values = {"kid": key.kid, "created_at": key.created_at, "sealed_private_key": key.sealed}
            connection.execute(insert(token_keys).values(**values))
            gone = [row.kid for row in stored[_KEPT - 1 :]]
            connection.execute(delete(token_keys).where(token_keys.c.kid.in_(gone)))
            audit.record(connection, at=key.created_at, actor="sealdrop", action="token_key.add", subject=key.kid)

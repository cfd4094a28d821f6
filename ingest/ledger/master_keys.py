"""The master keys as the ledger knows them: which ones its secrets are sealed under, and the way from one to the next.

Each has a sealed constant here: the wrong master key is noticed at start, not at the first import (FAULTS.md K2).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, literal, select, update
from sqlalchemy.sql.elements import ColumnElement

from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.sealed import SEALED_COLUMNS, SealedColumn
from ingest.ledger.tables import master_keys
from keystore.errors import MasterKeyWrong, RecordTampered
from keystore.vault import RecordId, Vault

_CONSTANT = b"sealdrop vault check"
_CHECK = RecordId(account="", record="vault_check", kind="vault.check", version=1)
_AT_ONCE = 50  # secrets in one transaction: others wait for the write lock


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A master key that the ledger names by its public ID, since when, and its sealed constant."""

    id: str
    since: datetime
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """How many secrets were wrapped anew, and those that do not open and were left as they are."""

    count: int
    damaged: tuple[RecordId, ...]


class MasterKeys:
    """Names master keys, and brings the ledger's secrets from one to the next."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[NamedKey]:
        """The named keys, oldest first: the last one seals. None: never initialised. Two: a rotation is unfinished."""
        with self._database.read() as connection:
            rows = connection.execute(select(master_keys).order_by(master_keys.c.sequence))
            return [NamedKey(row.id.hex(), row.since, row.sealed) for row in rows]

    def verify(self, vault: Vault, named: list[NamedKey]) -> None:
        """Raises `MasterKeyWrong` or `RecordTampered` when the vault does not open the constant of a named key."""
        for key in named:
            vault.open(key.sealed, _CHECK)

    def begin(self, vault: Vault, *, at: datetime, actor: str) -> None:
        """Name the vault's master key, so that secrets are sealed under it from now on; does nothing when it is named.

        From here until `finish` the key before it is needed as well.
        """
        key_id = bytes.fromhex(vault.master_key_id)
        with self._database.write_in_turn() as connection:
            named = set(connection.scalars(select(master_keys.c.id)))
            if key_id in named:
                return
            connection.execute(insert(master_keys).values(id=key_id, sealed=vault.seal(_CONSTANT, _CHECK), since=at))
            if named:
                audit.record(
                    connection, at=at, actor=actor, action="vault.rotate", subject=vault.master_key_id, outcome="begun"
                )

    def counts(self) -> dict[str, int]:
        """How many secrets are sealed under each key; named keys first, oldest first, also those with none."""
        with self._database.read() as connection:
            named = connection.scalars(select(master_keys.c.id).order_by(master_keys.c.sequence))
            counts = dict.fromkeys((key_id.hex() for key_id in named), 0)
            for sealed in SEALED_COLUMNS:
                query = select(sealed.under, func.count()).where(sealed.under.is_not(None)).group_by(sealed.under)
                for key_id, count in connection.execute(query):
                    counts[key_id.hex()] = counts.get(key_id.hex(), 0) + count
            return counts

    def rewrap(self, vault: Vault) -> Rewrapped:
        """Wrap every secret that another key has wrapped under the vault's own; some at once, each of them whole.

        Safe to repeat after any interruption, and beside everything else that uses the ledger.
        """
        count, damaged = 0, list[RecordId]()
        for sealed in SEALED_COLUMNS:
            keys = sealed.column.table.primary_key.columns
            with self._database.read() as connection:
                left = connection.execute(select(*keys).where(_elsewhere(sealed, vault))).all()
            for start in range(0, len(left), _AT_ONCE):
                with self._database.write_in_turn() as connection:
                    for values in left[start : start + _AT_ONCE]:
                        row = [key == value for key, value in zip(keys, values, strict=True)]
                        found = _locked(connection, sealed, [*row, _elsewhere(sealed, vault)])
                        if found is None:  # another was faster
                            continue
                        record, content = found
                        try:
                            anew = vault.rewrap(content, record)
                        except (RecordTampered, MasterKeyWrong):
                            damaged.append(record)
                            continue
                        connection.execute(update(sealed.column.table).where(*row).values({sealed.column: anew}))
                        count += 1
        return Rewrapped(count, tuple(damaged))

    def finish(self, vault: Vault, *, at: datetime, actor: str) -> int:
        """Forget every key but the vault's own, unless secrets are left under another; how many are left."""
        with self._database.write_in_turn() as connection:
            left = sum(_count(connection, sealed, _elsewhere(sealed, vault)) for sealed in SEALED_COLUMNS)
            if left == 0:
                connection.execute(delete(master_keys).where(master_keys.c.id != bytes.fromhex(vault.master_key_id)))
                audit.record(connection, at=at, actor=actor, action="vault.rotate", subject=vault.master_key_id)
            return left


def _elsewhere(sealed: SealedColumn, vault: Vault) -> ColumnElement[bool]:
    return sealed.under != bytes.fromhex(vault.master_key_id)


def _count(connection: Connection, sealed: SealedColumn, where: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(sealed.column.table).where(where)) or 0


def _locked(
    connection: Connection, sealed: SealedColumn, where: list[ColumnElement[bool]]
) -> tuple[RecordId, bytes] | None:
    """A sealed secret and the identity that it must have; the row stays as it is until the transaction ends."""
    table = sealed.column.table
    account = literal("") if sealed.account is None else table.c[sealed.account]
    record = literal("") if sealed.record is None else table.c[sealed.record]
    version = literal(1) if sealed.version is None else table.c[sealed.version]
    query = select(account, record, version, sealed.column).where(*where).with_for_update()
    found = connection.execute(query).one_or_none()
    return None if found is None else (sealed.record_id(*found[:3]), found[3])

"""A sealed constant in the ledger: the wrong master key is noticed at start, not at the first import (FAULTS.md K2)."""

from __future__ import annotations

from sqlalchemy import insert, select

from ingest.ledger.database import Database
from ingest.ledger.tables import vault_check
from keystore.vault import RecordId, Vault

_CONSTANT = b"sealdrop vault check"
_RECORD = RecordId(account="", record="vault_check", kind="vault.check", version=1)


def write_vault_check(database: Database, vault: Vault) -> None:
    """Seal the constant, once: an existing one is kept."""
    with database.write() as connection:
        if connection.execute(select(vault_check)).first() is None:
            connection.execute(insert(vault_check).values(id=1, sealed=vault.seal(_CONSTANT, _RECORD)))


def verify_vault(database: Database, vault: Vault) -> bool:
    """Whether there is something to compare with; ``False`` for a ledger that was never initialised.

    Raises `MasterKeyWrong` or `RecordTampered` when the vault does not open it.
    """
    with database.read() as connection:
        sealed = connection.scalar(select(vault_check.c.sealed))
    if sealed is None:
        return False
    vault.open(sealed, _RECORD)
    return True

"""A ledger on SQLite, as an installation has it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.ledger.accounts import Accounts
from ingest.ledger.database import Database
from ingest.ledger.master_keys import MasterKeys
from keystore.secret import Secret
from keystore.vault import Vault

NOW = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
VAULT = Vault(Secret(b"k" * 32))


def sealed(secret: bytes) -> bytes:
    """What the ledger takes for sealed under the master key that it knows; the rest it never looks into."""
    return b"\x01" + bytes.fromhex(VAULT.master_key_id) + secret


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    database.migrate()
    MasterKeys(database).begin(VAULT, at=NOW, actor="test")
    Accounts(database).add("acme", now=NOW, actor="test", contact_addresses=["data@acme.example"])
    yield database
    database.close()

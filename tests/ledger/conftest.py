"""A ledger on each engine: SQLite, as an installation has it, and a real PostgreSQL server (FAULTS.md W18)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.ledger.accounts import Accounts
from ingest.ledger.database import Database
from ingest.ledger.master_keys import MasterKeys
from keystore.secret import Secret
from keystore.vault import Vault
from tests.support.postgres import Postgres

NOW = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
VAULT = Vault(Secret(b"k" * 32))


def sealed(secret: bytes) -> bytes:
    """What the ledger takes for sealed under the master key that it knows; the rest it never looks into."""
    return b"\x01" + bytes.fromhex(VAULT.master_key_id) + secret


@pytest.fixture(scope="session")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite ledger with the schema, to make others from: migrating each would take time."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        database.migrate()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new ledger is."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("ledger_file"), tmp_path / "ledger.db")
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.new(request.getfixturevalue("migrated")))


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    database.migrate()
    MasterKeys(database).begin(VAULT, at=NOW, actor="test")
    Accounts(database).add("acme", now=NOW, actor="test", contact_addresses=["data@acme.example"])
    yield database
    database.close()

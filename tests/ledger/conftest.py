"""A ledger on SQLite, as an installation has it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.ledger.accounts import Accounts
from ingest.ledger.database import Database

NOW = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    database.migrate()
    Accounts(database).add("acme", now=NOW, actor="test", contact_addresses=["data@acme.example"])
    yield database
    database.close()

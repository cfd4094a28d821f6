"""What several rooms of tests share: a real PostgreSQL server, started when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from ingest.ledger.database import Database
from tests.support.postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The name of a database with the schema, to make others from."""
    name = postgres.new()
    with closing(Database(postgres.url(name))) as database:
        database.migrate()
    return name

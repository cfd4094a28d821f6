"""The ledger's schema and its connection."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, text

from ingest.errors import LedgerUnavailable
from ingest.ledger.audit import record
from ingest.ledger.database import SCHEMA_VERSION, Database
from ingest.ledger.tables import audit, metadata
from tests.ledger.conftest import NOW


def test_migrations_make_the_schema_of_the_tables(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    database.migrate()
    with database.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == SCHEMA_VERSION


def test_schema_version_is_the_newest_migration() -> None:
    configuration = Config()
    configuration.set_main_option("script_location", "ingest.ledger:migrations")
    assert ScriptDirectory.from_config(configuration).get_current_head() == SCHEMA_VERSION


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_sqlite_runs_with_rollback_journal_and_full_sync(database: Database) -> None:
    """FAULTS W10; LIBRARIES 5: no WAL."""
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "truncate"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_failed_transaction_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            record(connection, at=NOW, actor="test", action="x", subject="y")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as connection:
        assert connection.execute(audit.select().where(audit.c.action == "x")).all() == []


def test_naive_time_is_refused(database: Database) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001  # the point of the test
    with pytest.raises(Exception, match="aware times only"), database.write() as connection:
        connection.execute(
            insert(audit).values(id=99, at=naive, actor="a", action="b", subject="c", outcome="d", hash=b"")
        )


def test_locked_ledger_is_unavailable_not_broken(tmp_path: Path) -> None:
    """FAULTS W5: «database is locked» becomes an error that is tried again."""
    path = tmp_path / "ledger.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        with database.read() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=10")
        with pytest.raises(LedgerUnavailable), database.read() as connection:
            connection.execute(audit.select())
    finally:
        other.close()
        database.close()


def test_read_only_ledger_is_unavailable(tmp_path: Path) -> None:
    """FAULTS W5."""
    path = tmp_path / "ledger.db"
    with closing(Database(f"sqlite:///{path}")) as writable:
        writable.migrate()
    database = Database(f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(LedgerUnavailable), database.write() as connection:
        record(connection, at=NOW, actor="test", action="x", subject="y")
    database.close()

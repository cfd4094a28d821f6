"""The ledger's schema and its connection."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import delete, func, insert, select, text

from ingest.errors import LedgerUnavailable
from ingest.ledger import database as ledger
from ingest.ledger.audit import record
from ingest.ledger.database import SCHEMA_VERSION, Database
from ingest.ledger.tables import audit, contacts, metadata
from tests.ledger.conftest import NOW
from tests.support.postgres import Postgres


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


def test_read_sees_one_state_of_the_ledger(database: Database) -> None:
    """FAULTS W18: also what is read later in it."""
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(contacts)) == 1
        if database.engine.dialect.name == "postgresql":  # in SQLite's file nobody can write meanwhile
            with database.write() as other:
                other.execute(delete(contacts))
        assert connection.scalar(select(func.count()).select_from(contacts)) == 1


def test_ledger_without_a_free_connection_is_unavailable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS W5: this process has as many as it may have."""
    monkeypatch.setattr(ledger, "_CONNECTION_WAIT_S", 0.05)
    with closing(Database(url)) as database, ExitStack() as held:
        for _ in range(15):
            held.enter_context(database.read())
        with pytest.raises(LedgerUnavailable), database.read():
            pass


def test_read_only_server_is_unavailable(postgres: Postgres, migrated: str) -> None:
    """FAULTS W5: as a standby is."""
    name = postgres.new(migrated)
    postgres.tell(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with closing(Database(postgres.url(name))) as database:
        with pytest.raises(LedgerUnavailable), database.write() as connection:
            record(connection, at=NOW, actor="test", action="x", subject="y")
        with database.read() as connection:
            assert connection.execute(audit.select()).all() == []


def test_read_only_ledger_is_unavailable(tmp_path: Path) -> None:
    """FAULTS W5."""
    path = tmp_path / "ledger.db"
    with closing(Database(f"sqlite:///{path}")) as writable:
        writable.migrate()
    database = Database(f"sqlite:///file:{path}?mode=ro&uri=true")
    with pytest.raises(LedgerUnavailable), database.write() as connection:
        record(connection, at=NOW, actor="test", action="x", subject="y")
    database.close()

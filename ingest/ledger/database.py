"""The connection to the ledger, and its transactions.

SQLite runs with the rollback journal and ``synchronous=FULL``: every SQLite up to 3.51.2 can corrupt a file in WAL mode
when two connections write and checkpoint at the same instant. A write transaction takes the write lock at its start,
so it never fails half way for want of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from ingest.errors import LedgerConflict, LedgerUnavailable

SCHEMA_VERSION = "0012"
_BUSY_TIMEOUT_MS = 30_000


class Database:
    """An engine for one ledger; safe to use from several threads, not to be carried over a fork."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._engine = create_engine(self._url, hide_parameters=True)  # an error's text would show addresses
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; sees one state of the ledger. Raises `LedgerUnavailable`."""
        with self._narrowed(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, and rolls back on any exception.

        Raises `LedgerUnavailable`, and `LedgerConflict` when a row refers to one that is gone: another process was
        faster, as when a secret was sealed under a master key that has been rotated away meanwhile.
        """
        with (
            self._narrowed(),
            self._engine.connect().execution_options(for_writing=True) as connection,
            connection.begin(),
        ):
            yield connection

    def migrate(self) -> None:
        """Bring the schema to `SCHEMA_VERSION`; only looks when it is. Waits for another process that is at it."""
        if self._url.database is not None and self._engine.dialect.name == "sqlite":
            Path(self._url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._version() == SCHEMA_VERSION:
            return
        from alembic import command  # slow to import, and hardly ever needed
        from alembic.config import Config

        configuration = Config()
        configuration.set_main_option("script_location", "ingest.ledger:migrations")
        with self.write() as connection:
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")

    def _version(self) -> str | None:
        with self.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return version

    def close(self) -> None:
        """Close every connection; the database may be used again afterwards."""
        self._engine.dispose()

    @property
    def engine(self) -> Engine:
        """The engine, for the migrations' test."""
        return self._engine

    @contextlib.contextmanager
    def _narrowed(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            if _is_of_a_foreign_key(error):
                raise LedgerConflict("The ledger was changed by another process meanwhile: try again.") from error
            raise
        except (OperationalError, DBAPIError) as error:
            if isinstance(error, OperationalError) or error.connection_invalidated:
                raise LedgerUnavailable("The ledger cannot be used at the moment.", detail=str(error.orig)) from error
            raise


def _is_of_a_foreign_key(error: IntegrityError) -> bool:
    sqlite, standard = getattr(error.orig, "sqlite_errorname", None), getattr(error.orig, "sqlstate", None)
    return sqlite == "SQLITE_CONSTRAINT_FOREIGNKEY" or standard == "23503"


def _set_up_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # sqlite3's own BEGIN is off: `_begin_sqlite` says which
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=TRUNCATE",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "secure_delete=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    for_writing = connection.get_execution_options().get("for_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if for_writing else "BEGIN")

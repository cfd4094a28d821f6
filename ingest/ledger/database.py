"""The connection to the ledger, and its transactions.

SQLite runs with the rollback journal and ``synchronous=FULL``: every SQLite up to 3.51.2 can corrupt a file in WAL mode
when two connections write and checkpoint at the same instant. A write transaction takes the write lock at its start,
so it never fails half way for want of it.

On PostgreSQL a connection can be lost while a commit is under way, and then nobody here knows whether it was made
(FAULTS.md W6). So whatever writes can be written again, or looks first: each caller of `Database.write` says how.

A disk that fails under SQLite (EIO, no room, read-only) leaves it open whether a transaction is there. So no connection
is used again: all are closed, and the next one rolls back what the journal says, or finds the transaction there.
Nothing is synced a second time (FAULTS.md W11).

Diagnostics: ``ledger_disk_failed``, with SQLite's name of the error and what to do.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from sqlalchemy.pool import ConnectionPoolEntry

from ingest.errors import LedgerConflict, LedgerUnavailable

if TYPE_CHECKING:
    from alembic.config import Config

SCHEMA_VERSION = "0012"
_BUSY_TIMEOUT_MS = 30_000
_CONNECTION_WAIT_S = 30.0
_MIGRATION_LOCK, _TURN_LOCK = 0x5EA1D509, 0x5EA1D50A  # any numbers that nobody else locks
_DISK_ERRORS = {  # SQLite's primary codes
    sqlite3.SQLITE_IOERR: "look at the disk under the ledger (dmesg, SMART); a disk that fails must be replaced",
    sqlite3.SQLITE_FULL: "make room on the disk of the ledger",
    sqlite3.SQLITE_CANTOPEN: "look at the folder of the ledger: is it there, and may the service write to it?",
    sqlite3.SQLITE_READONLY: "look why the disk of the ledger is read-only: an error makes a file system so",
}
_VERSION = text("SELECT version_num FROM alembic_version")
_UNAVAILABLE = "The ledger cannot be used at the moment."
_UNKNOWN = (
    "The connection to the ledger was lost while it stored the change: look whether it is done before you try again."
)
# What PostgreSQL says of its state, not of the statement, and the driver does not call operational: read-only (as a
# standby is), idle for too long in a transaction, a transaction that took too long.
_OF_THE_SERVER = frozenset({"25006", "25P03", "25P04"})

_log = structlog.get_logger()


class Database:
    """An engine for one ledger; safe to use from several threads, not to be carried over a fork."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._engine = create_engine(  # an error's text would show addresses
            self._url,
            hide_parameters=True,
            pool_pre_ping=self._url.get_backend_name() == "postgresql",
            pool_timeout=_CONNECTION_WAIT_S,
        )
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _set_up_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
            event.listen(self._engine, "handle_error", _throw_away)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; sees one state of the ledger. Raises `LedgerUnavailable`."""
        with self._narrowed(), self._engine.connect() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block, and rolls back on any exception.

        Raises `LedgerUnavailable`, also when nobody knows whether it was committed, and `LedgerConflict` when a row
        refers to one that is gone: another process was faster, as when a secret was sealed under a master key that has
        been rotated away meanwhile.
        """
        with self._transaction() as connection:
            if self._engine.dialect.name == "postgresql":  # no migration begins before this ends (W16)
                connection.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _MIGRATION_LOCK})
            self._check_version(connection)
            yield connection

    @contextlib.contextmanager
    def write_in_turn(self) -> Iterator[Connection]:
        """A transaction of which there is one at a time, as `write`: for what looks first and then writes what follows.

        On SQLite every `write` is one.
        """
        with self.write() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TURN_LOCK})
            yield connection

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        is_committing = False
        try:
            with (
                self._narrowed(),
                self._engine.connect().execution_options(for_writing=True) as connection,
                connection.begin(),
            ):
                yield connection
                is_committing = True
        except LedgerUnavailable as error:
            if is_committing and isinstance(error.__cause__, DBAPIError) and error.__cause__.connection_invalidated:
                raise LedgerUnavailable(_UNKNOWN, detail=error.detail) from error.__cause__
            raise

    def migrate(self, to: str = SCHEMA_VERSION) -> None:
        """Bring the schema to `SCHEMA_VERSION`; only looks when it is. Waits for another process that is at it.

        Tests begin with an older version, made step by step. Raises `LedgerUnavailable` for a ledger that a newer
        program has migrated.
        """
        if self._url.database is not None and self._engine.dialect.name == "sqlite":
            Path(self._url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        version = self._version()
        if version == SCHEMA_VERSION:
            self._sync_folder()
            return
        if version is not None and version > SCHEMA_VERSION:
            raise _other_version(version)
        from alembic import command  # slow to import, and hardly ever needed
        from alembic.config import Config

        configuration = Config()
        configuration.set_main_option("script_location", "ingest.ledger:migrations")
        with self._transaction() as connection:
            if self._engine.dialect.name == "postgresql":  # SQLite's write lock is taken already
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                if to == SCHEMA_VERSION and not inspect(connection).has_table("alembic_version"):
                    _create(connection, configuration)
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, to)
        self._sync_folder()

    def _sync_folder(self) -> None:
        """Make the names of SQLite's files durable: it ignores it when the sync for a new journal fails (W11)."""
        if self._url.database is None or self._engine.dialect.name != "sqlite":
            return
        try:
            folder = os.open(Path(self._url.database).parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise LedgerUnavailable("The ledger cannot be used at the moment.", detail=str(error)) from error

    def _check_version(self, connection: Connection) -> None:
        """Let no process write to the ledger of another version: it would not know what it must keep true (W16)."""
        version = connection.scalar(_VERSION)
        if version != SCHEMA_VERSION:
            raise _other_version(str(version))

    def _version(self) -> str | None:
        with self.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            version: str | None = connection.scalar(_VERSION)
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
        except DBAPIError as error:
            of_the_server = getattr(error.orig, "sqlstate", None) in _OF_THE_SERVER
            if isinstance(error, OperationalError) or error.connection_invalidated or of_the_server:
                raise LedgerUnavailable(_UNAVAILABLE, detail=str(error.orig)) from error
            raise
        except NoConnectionLeft as error:  # all of this process are in use, for longer than anybody waits
            raise LedgerUnavailable(_UNAVAILABLE, detail=str(error)) from error


def _create(connection: Connection, configuration: Config) -> None:
    """The schema in a new database on PostgreSQL: at once, as the tables say, which is what the migrations make."""
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from ingest.ledger.tables import audit_tip, metadata
    from keystore.audit_chain import BEFORE_THE_FIRST

    metadata.create_all(connection)
    connection.execute(insert(audit_tip).values(id=1, line=0, hash=BEFORE_THE_FIRST))
    MigrationContext.configure(connection).stamp(ScriptDirectory.from_config(configuration), "head")


def _other_version(version: str) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"The ledger has the schema {version}, and this program is made for {SCHEMA_VERSION}: stop it, and start the "
        "version that is installed now.",
        detail=f"schema {version}, not {SCHEMA_VERSION}",
    )


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


def _throw_away(context: ExceptionContext) -> None:
    """After an error of the disk every connection is closed, and a new one opened for what comes next."""
    error = context.original_exception
    remedy = _DISK_ERRORS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if remedy is None:
        return
    context.is_disconnect = True
    _log.error(
        "ledger_disk_failed",
        action="ledger_disk_failed",
        error=getattr(error, "sqlite_errorname", None),
        remedy=f"{remedy}; everything goes on by itself once the ledger can be written again",
    )


def _begin_sqlite(connection: Connection) -> None:
    for_writing = connection.get_execution_options().get("for_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if for_writing else "BEGIN")

"""The ledger is busy, gone, restarted, of another version: nothing is lost or doubled (FAULTS.md W5, W6, W16)."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from ingest.errors import LedgerUnavailable
from ingest.ledger import database as ledger
from ingest.ledger.accounts import Accounts
from ingest.ledger.database import SCHEMA_VERSION, Database
from ingest.ledger.imports import Imports, new_import_id
from ingest.ledger.queue import Queue
from ingest.ledger.tables import moment_text
from ingest.states import State
from manifests.types import ImportType
from tests.ledger.conftest import NOW
from tests.support.postgres import Postgres
from tests.support.served import wait_for
from tests.support.workshop import ACCOUNT, Workshop

CSV = "identity,score\n" + "".join(f"u{n},{n}\n" for n in range(100))


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.app.close()


class Troubled(Queue):
    """A queue with something that happens just before, in the middle of, or just after a worker's settling."""

    before: Callable[[], None] = staticmethod(lambda: None)
    within: Callable[[], None] = staticmethod(lambda: None)
    after: Callable[[], None] = staticmethod(lambda: None)

    def settle(self, *given: Any, while_held: Callable[[], None] = lambda: None, **more: Any) -> None:
        def held() -> None:
            while_held()
            self.within()

        self.before()
        super().settle(*given, while_held=held, **more)
        self.after()


def stored_once(workshop: Workshop, import_id: str) -> None:
    report = workshop.report(import_id)
    assert (report.state, report.rows_stored) == (State.SUCCEEDED, 100)
    assert workshop.app.lake.stored(ACCOUNT, ImportType.PROFILE, import_id) == 100
    assert workshop.stages(import_id) == ["picked_up", "succeeded"]


def test_ledger_that_is_busy_for_long_costs_neither_the_import_nor_a_lost_worker(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS.md W5: another process holds the write lock longer than anybody waits for it."""
    monkeypatch.setattr(ledger, "_BUSY_TIMEOUT_MS", 50)
    workshop.app.close()  # connections from now on wait no longer than that
    import_id = workshop.received(CSV)
    other = sqlite3.connect(workshop.settings.data_dir / "ledger.db", isolation_level=None, check_same_thread=False)
    queue = Troubled(workshop.app.database, lease=workshop.lease)

    def hold() -> None:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(1.5, other.execute, ["ROLLBACK"]).start()

    queue.before = hold
    with pytest.raises(LedgerUnavailable):
        workshop.carrier_with(queue).carry_out(workshop.claimed())
    assert workshop.report(import_id).state == State.READY, "given back as soon as the lock was free"
    lease = workshop.claimed()
    assert lease.lost == 0
    workshop.app.carrier.carry_out(lease)
    stored_once(workshop, import_id)
    other.close()


def test_commit_whose_answer_is_lost_is_settled_once(workshop: Workshop) -> None:
    """FAULTS.md W6: the ledger is looked up by the import's ID before anything is tried again."""
    import_id = workshop.received(CSV)
    queue = Troubled(workshop.app.database, lease=workshop.lease)

    def lose() -> None:
        raise LedgerUnavailable("The ledger cannot be used at the moment.", detail="connection lost during COMMIT")

    queue.after = lose
    with pytest.raises(LedgerUnavailable):
        workshop.carrier_with(queue).carry_out(workshop.claimed())
    stored_once(workshop, import_id)
    workshop.pass_time(hours=1)
    assert workshop.app.queue.claim(workshop.now) is None


def test_server_that_is_restarted_in_the_middle_of_an_import(postgres: Postgres, migrated: str, tmp_path: Path) -> None:
    """FAULTS.md W5, W18: every connection is cut in the middle of the transaction that settles the import."""
    workshop = Workshop(tmp_path, ledger_url=postgres.url(postgres.new(migrated)))
    import_id = workshop.received(CSV)
    queue = Troubled(workshop.app.database, lease=workshop.lease)
    queue.within = postgres.restart
    with pytest.raises(LedgerUnavailable):
        workshop.carrier_with(queue).carry_out(workshop.claimed())
    assert workshop.carried_out().attempts == 2
    stored_once(workshop, import_id)
    workshop.app.close()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_import_whose_manifest_names_what_no_column_holds_fails_and_says_so(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """FAULTS.md W18: PostgreSQL keeps to the length of a column, and has no NUL; SQLite takes anything."""
    ledger_url = ""
    if engine == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        ledger_url = server.url(server.new(request.getfixturevalue("migrated")))
    workshop = Workshop(tmp_path, ledger_url=ledger_url)
    import_id = workshop.received(CSV, fileName="x" * 300 + "\0", clientEmail="y" * 300 + "\0")
    report = workshop.carried_out()
    assert (report.state, report.code) == (State.FAILED, "manifest.invalid")
    assert (report.data_file, report.client_email) == ("x" * 128, "y" * 254)
    assert workshop.stages(import_id) == ["failed"]
    workshop.app.close()


def test_deadlock_is_worth_another_try(postgres: Postgres, migrated: str) -> None:
    """FAULTS.md W5: the server ends one of two transactions that wait for each other."""
    with closing(Database(postgres.url(postgres.new(migrated)))) as database:
        for name in ("one", "two"):
            Accounts(database).add(name, now=NOW, actor="test", contact_addresses=["data@acme.example"])
        both = threading.Barrier(2)
        failed: list[LedgerUnavailable] = []

        def update(first: str, second: str) -> None:
            change = text("UPDATE accounts SET allow_gnupg = false WHERE id = :id")
            try:
                with database.write() as connection:
                    connection.execute(change, {"id": first})
                    both.wait(30)
                    connection.execute(change, {"id": second})
            except LedgerUnavailable as error:
                failed.append(error)

        threads = [threading.Thread(target=update, args=pair) for pair in (("one", "two"), ("two", "one"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failed) == 1
        assert "deadlock" in failed[0].detail


def set_version(workshop: Workshop, version: str) -> None:
    with closing(sqlite3.connect(workshop.settings.data_dir / "ledger.db")) as other:
        other.execute("UPDATE alembic_version SET version_num = ?", (version,))
        other.commit()


def test_worker_of_an_older_version_settles_nothing_and_loses_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS.md W16: another program migrates the ledger while an import runs."""
    pauses: list[float] = []  # the worker waits for its ledger as long as its lease lasts: not in this test
    monkeypatch.setattr("ingest.carry.sleep", pauses.append)
    monkeypatch.setattr("ingest.carry.monotonic", lambda: 100.0 * len(pauses))
    import_id = workshop.received(CSV)
    queue = Troubled(workshop.app.database, lease=workshop.lease)
    queue.before = lambda: set_version(workshop, "9999")
    with pytest.raises(LedgerUnavailable) as refused:
        workshop.carrier_with(queue).carry_out(workshop.claimed())
    assert "start the version that is installed now" in str(refused.value)
    with pytest.raises(LedgerUnavailable):
        workshop.app.database.migrate()
    workshop.pass_time(seconds=61)
    with pytest.raises(LedgerUnavailable):
        workshop.app.queue.claim(workshop.now)
    assert workshop.report(import_id).state == State.RUNNING
    set_version(workshop, SCHEMA_VERSION)  # here is the newer program
    workshop.carried_out()
    stored_once(workshop, import_id)


def test_writer_that_waits_for_a_migration_on_a_server_finds_the_other_version(
    postgres: Postgres, migrated: str
) -> None:
    """FAULTS.md W16, W18: nothing is written beside a migration, nor after it by the older program."""
    url = postgres.url(postgres.new(migrated))
    newer = create_engine(url)
    lock = text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": ledger._MIGRATION_LOCK}
    refused: list[LedgerUnavailable] = []

    def write() -> None:
        try:
            Accounts(database).add("late", now=NOW, actor="test")
        except LedgerUnavailable as error:
            refused.append(error)

    with closing(Database(url)) as database:
        with database.write(), newer.begin() as connection:
            assert not connection.scalar(*lock), "a migration waits for who writes"
        writer = threading.Thread(target=write)
        with newer.begin() as connection:
            assert connection.scalar(*lock)
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            writer.start()
            waits = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            wait_for(lambda: connection.scalar(waits) or None)
        writer.join()
        assert "start the version that is installed now" in str(refused[0])
        assert Accounts(database).get("late") is None
    newer.dispose()


MIGRATE = "import sys; from ingest.ledger.database import Database; Database(sys.argv[1]).migrate()"


@pytest.mark.parametrize(("older", "column"), [("0001", "attempts"), ("0007", "dry_run")])
def test_services_that_migrate_at_once_take_turns(tmp_path: Path, older: str, column: str) -> None:
    """FAULTS.md W16: the migration lock, on a ledger of an earlier release with an import on its way."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with closing(Database(url)) as database:
        database.migrate(older)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        import_id = new_import_id(NOW)
        other.execute(
            "INSERT INTO imports (id, account, manifest, state, received_at, lost, fence, rows_read, rows_stored, "
            f"rows_rejected, rejects_in_file, {', '.join({'attempts', column})}) "
            f"VALUES (?, 'acme', 'm', 'ready', ?, 0, 0, 0, 0, 0, 0, {', '.join('0' for _ in {'attempts', column})})",
            (import_id, moment_text(NOW)),
        )
        other.commit()
    started = [subprocess.Popen([sys.executable, "-c", MIGRATE, url]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    with closing(Database(url)) as database:
        database.migrate()
        assert [report.id for report in Imports(database).newest()] == [import_id]
        lease = Queue(database, lease=timedelta(seconds=60)).claim(NOW)
        assert lease is not None


def test_new_ledger_on_a_server_is_made_once_by_many(postgres: Postgres) -> None:
    """FAULTS.md W16, W18."""
    url = postgres.url(postgres.new())
    started = [subprocess.Popen([sys.executable, "-c", MIGRATE, url]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    with closing(Database(url)) as database, database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM audit_tip")) == 1

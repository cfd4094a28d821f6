"""Which import is the first of the same bytes: one, whoever asks and when (FAULTS.md W3)."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from ingest.ledger.accounts import Accounts
from ingest.ledger.audit import lines
from ingest.ledger.database import SCHEMA_VERSION, Database
from ingest.ledger.firsts import Firsts, Upload
from ingest.ledger.imports import Imports
from ingest.ledger.queue import Queue
from ingest.ledger.tables import firsts as places
from ingest.ledger.timeline import Timeline
from ingest.report import Report
from ingest.states import State
from tests.ledger.conftest import NOW
from tests.ledger.test_queue import LEASE, claimed, received

UPLOAD = Upload("acme", "d" * 64, "f" * 64)


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, lease=LEASE)


@pytest.fixture
def imports(database: Database) -> Imports:
    return Imports(database)


@pytest.fixture
def firsts(database: Database) -> Firsts:
    return Firsts(database)


def other(firsts: Firsts, import_id: str) -> Report:
    """The import that has the place, which is not this one."""
    first = firsts.take(UPLOAD, import_id)
    assert first is not None
    return first


def test_first_keeps_its_place_and_is_told_to_the_others(firsts: Firsts, imports: Imports) -> None:
    first, second = received(imports), received(imports)
    assert [firsts.take(UPLOAD, first), firsts.take(UPLOAD, first)] == [None, None]
    assert other(firsts, second).id == first
    assert firsts.take(UPLOAD, first) is None


@pytest.mark.parametrize("differs", [{"account": "other"}, {"sha256": "e" * 64}, {"manifest_sha256": "0" * 64}])
def test_other_bytes_and_other_accounts_have_places_of_their_own(
    firsts: Firsts, imports: Imports, database: Database, differs: dict[str, str]
) -> None:
    Accounts(database).add("other", now=NOW, actor="test")
    assert firsts.take(UPLOAD, received(imports)) is None
    assert firsts.take(replace(UPLOAD, **differs), received(imports)) is None


def test_twenty_at_once_make_one_first(database: Database, imports: Imports) -> None:
    """FAULTS.md W2, W3."""
    ids = [received(imports) for _ in range(20)]
    together = threading.Barrier(len(ids))
    took: list[str] = []
    told: list[str] = []

    def take(import_id: str) -> None:
        together.wait()
        first = Firsts(database).take(UPLOAD, import_id)
        if first is None:
            took.append(import_id)
        else:
            told.append(first.id)

    threads = [threading.Thread(target=take, args=(import_id,)) for import_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == 1
    assert told == took * (len(ids) - 1)
    with database.read() as connection:
        assert connection.execute(select(places.c.import_id)).scalars().all() == took


@pytest.mark.parametrize("end", [State.FAILED, State.HELD])
def test_one_that_is_over_gives_its_place_to_one(firsts: Firsts, imports: Imports, queue: Queue, end: State) -> None:
    first, second, third = (received(imports) for _ in range(3))
    firsts.take(UPLOAD, first)
    lease = claimed(queue)
    under_way = other(firsts, second)
    assert firsts.take(UPLOAD, second, instead_of=under_way) == under_way
    queue.settle(lease, replace(lease.report, state=end), [], NOW)
    over = [other(firsts, each) for each in (second, third)]
    assert firsts.take(UPLOAD, second, instead_of=over[0]) is None
    assert [first.id for first in (other(firsts, third), other(firsts, first))] == [second, second]
    after = firsts.take(UPLOAD, third, instead_of=over[1])
    assert after is not None
    assert after.id == second


def test_one_that_was_tried_again_meanwhile_keeps_its_place(firsts: Firsts, imports: Imports, queue: Queue) -> None:
    first, second = received(imports), received(imports)
    firsts.take(UPLOAD, first)
    lease = claimed(queue)
    queue.settle(lease, replace(lease.report, state=State.HELD), [], NOW)
    before = other(firsts, second)
    assert imports.retry(first, NOW)
    again = firsts.take(UPLOAD, second, instead_of=before)
    assert again is not None
    lease = claimed(queue)
    queue.settle(lease, replace(lease.report, state=State.HELD), [], NOW)  # as before, but for what it did meanwhile
    again = firsts.take(UPLOAD, second, instead_of=before)
    assert again is not None
    assert (again.id, again.state) == (before.id, before.state)
    assert firsts.take(UPLOAD, second, instead_of=again) is None


def test_waiting_is_no_try_and_ends_with_the_first(
    firsts: Firsts, imports: Imports, queue: Queue, database: Database
) -> None:
    first, second = received(imports), received(imports)
    lease, waiting = claimed(queue), claimed(queue)
    told = replace(waiting.report, duplicate_of=first, first_received_at=NOW)
    queue.wait(waiting, told, NOW, next_attempt_at=NOW + timedelta(hours=1))
    seen = imports.get(second)
    assert seen is not None
    assert (seen.state, seen.attempts, seen.duplicate_of) == (State.DEFERRED, 0, first)
    assert queue.claim(NOW) is None
    queue.settle(lease, replace(lease.report, state=State.FAILED), [], NOW)
    again = claimed(queue)
    assert (again.report.id, again.report.attempts, again.give_up_at) == (second, 1, None)
    assert again.report.duplicate_of is None  # each try looks anew
    (entry,) = [entry for entry in Timeline(database).of_import(second) if entry.what == "waiting"]
    assert entry.detail == {"end_of": first, "wait_s": 3600}


def test_wish_is_off_until_the_operator_says_so_and_audited(database: Database) -> None:
    accounts = Accounts(database)

    def wish() -> bool:
        account = accounts.get("acme")
        assert account is not None
        return account.skip_duplicates

    assert not wish()
    for wanted in (True, False):
        accounts.change("acme", now=NOW, actor="olga", skip_duplicates=wanted)
        assert wish() is wanted
    accounts.add("other", now=NOW, actor="olga", skip_duplicates=True)
    assert [(each.id, each.skip_duplicates) for each in accounts.all()] == [("acme", False), ("other", True)]
    with database.read() as connection:
        audited = [(line.action, line.subject, line.actor) for line in lines(connection)]
    assert audited.count(("account.change", "acme", "olga")) == 2


def test_ledger_of_the_version_before_is_brought_to_this_one(url: str) -> None:
    """FAULTS.md W16, on both engines: an account of then has no such wish."""
    with closing(Database(url)) as database:
        database.migrate()
        Accounts(database).add("old", now=NOW, actor="test")
        with database.write() as connection:
            connection.execute(text("DROP TABLE firsts"))
            connection.execute(text("ALTER TABLE accounts DROP COLUMN skip_duplicates"))
            for column in ("duplicate_of", "first_received_at"):
                connection.execute(text(f"ALTER TABLE imports DROP COLUMN {column}"))
            connection.execute(text("UPDATE alembic_version SET version_num = '0011'"))
    with closing(Database(url)) as database:
        database.migrate()
        account = Accounts(database).get("old")
        assert account is not None
        assert not account.skip_duplicates
        with database.read() as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == SCHEMA_VERSION
            assert connection.scalar(select(func.count()).select_from(places)) == 0

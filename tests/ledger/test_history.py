"""What an account has sent before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ingest.ledger.accounts import Accounts
from ingest.ledger.database import Database
from ingest.ledger.history import History
from ingest.ledger.imports import Imports, new_import_id
from ingest.ledger.queue import Queue
from ingest.ledger.tables import audit
from ingest.report import Drift, FileColumn, PropertyPreview, Report
from ingest.states import State
from tests.ledger.conftest import NOW


class Past:
    """Imports that came one after the other, each settled."""

    def __init__(self, database: Database) -> None:
        self.imports = Imports(database)
        self._queue = Queue(database, lease=timedelta(seconds=60))

    def settled(
        self, state: State = State.SUCCEEDED, *, account: str = "acme", manifest: str = "a.manifest", **facts: Any
    ) -> Report:
        import_id = new_import_id(NOW)
        self.imports.receive(import_id, account, manifest, "a.csv", NOW, state=State.READY)
        lease = self._queue.claim(NOW)
        assert lease is not None
        self._queue.settle(lease, replace(lease.report, state=state, **facts), [], NOW)
        report = self.imports.get(import_id)
        assert report is not None
        return report


@pytest.fixture
def past(database: Database) -> Past:
    return Past(database)


@pytest.fixture
def history(database: Database) -> History:
    return History(database)


def test_previous_import_is_the_last_one_of_the_manifest_that_stored_its_rows(
    past: Past, history: History, database: Database
) -> None:
    Accounts(database).add("other", now=NOW, actor="test")
    first = past.settled()
    assert history.previous(first) is None
    before = past.settled(rows_read=7)
    past.settled(State.FAILED)
    past.settled(State.HELD)
    past.settled(dry_run=True)
    past.settled(manifest="b.manifest")
    past.settled(account="other")
    now = past.settled()
    past.settled()
    found = history.previous(now)
    assert found is not None
    assert (found.id, found.rows_read) == (before.id, 7)


def test_what_a_report_says_of_the_file_comes_back(past: Past) -> None:
    said: dict[str, Any] = {
        "dry_run": True,
        "columns": (FileColumn("price", "Price", "Integer"),),
        "drift": (Drift("rows.more", None, "More."),),
        "preview": (PropertyPreview("Price", "Integer", filled=1, distinct=2, sampled=3, rejected=4),),
    }
    report = past.settled(**said)
    assert {name: getattr(report, name) for name in said} == said


def test_event_names_are_recorded_once_and_discarded_ones_stay_discarded(history: History, database: Database) -> None:
    history.add_event_names("acme", ["b", "a"], NOW)
    history.set_discarded("acme", "b", discarded=True, now=NOW, actor="test")
    history.add_event_names("acme", ["c", "b"], NOW + timedelta(days=1))
    history.add_event_names("acme", [], NOW)
    assert [(name.name, name.discarded) for name in history.event_names("acme")] == [
        ("a", False),
        ("b", True),
        ("c", False),
    ]
    assert history.event_names("other") == []
    names = history.names_of_events("acme", most=4)
    assert names.discarded == {"b"}
    assert names.admit(names.unknown(["a", "x", "y"])) == ["y"]
    with database.read() as connection:
        lines = connection.execute(audit.select().where(audit.c.action == "event_discarded")).all()
    assert [(line.account, line.subject, line.actor) for line in lines] == [("acme", "b", "test")]


def test_name_that_was_never_sent_can_be_discarded(history: History) -> None:
    history.set_discarded("acme", "Noise", discarded=True, now=NOW, actor="test")
    assert history.names_of_events("acme", most=5).discarded == {"Noise"}
    history.set_discarded("acme", "Noise", discarded=False, now=NOW, actor="test")
    assert history.names_of_events("acme", most=5).discarded == frozenset()

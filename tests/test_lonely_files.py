"""Files that wait for another that does not come: who is told, of which, and that it is once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from ingest.ledger.accounts import Accounts
from ingest.ledger.deliveries import Deliveries
from ingest.ledger.outbox import Outbox
from ingest.lonely_files import LonelyFiles
from ingest.notices.notice import FileStage
from tests.test_collect import SETTLE_S, Yard, manifest

AFTER = timedelta(hours=1)


class Watched(Yard):
    """A yard whose lonely files are told of; the clock for their age is the kernel's, and some time later."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.later = timedelta()
        self.lonely_files = self.new_lonely_files()
        Accounts(self.database).add(
            "shop",
            now=datetime.now(UTC),
            actor="test",
            contact_addresses=["ops@shop.example"],
            allowed_domains=["shop.example"],
        )
        self.spool.open_account("shop")

    def new_lonely_files(self) -> LonelyFiles:
        return LonelyFiles(
            Outbox(self.database), after=AFTER, now=lambda: datetime.now(UTC) + self.later, on_told=lambda: None
        )

    def look(self, **later: float) -> int:
        """The watcher's next look, when that much more time has passed; how many notices are new."""
        self.later += timedelta(**later)
        self.seconds += SETTLE_S
        account = Accounts(self.database).get("shop")
        assert account is not None
        return self.lonely_files.look(account, self.collector.scan("shop"))

    def told(self) -> list[tuple[str, str]]:
        return [(one.stage, one.recipient) for one in Deliveries(self.database).newest()]

    def facts(self) -> dict[str, Any]:
        (notice,) = Deliveries(self.database).newest()
        found = Deliveries(self.database).get(notice.id)
        assert found is not None
        return found[1]


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Watched]:
    yard = Watched(tmp_path)
    yield yard
    yard.database.close()


def test_manifest_without_its_data_file_is_told_of_once_after_its_time(yard: Watched) -> None:
    """FAULTS W13: never; to the manifest's clientEmail, which the account allows."""
    yard.publish("a.manifest", manifest(clientEmail="anna@shop.example"), "shop")
    assert yard.look() == 0
    assert yard.look(minutes=59) == 0
    assert yard.look(minutes=2) == 1
    assert [yard.look(hours=1) for _ in range(3)] == [0, 0, 0]
    assert yard.told() == [(FileStage.WAITING, "anna@shop.example")]
    facts = yard.facts()
    assert (facts["kind"], facts["file"], facts["waits_for"]) == ("manifest", "a.manifest", "a.csv.asc")


def test_address_that_the_account_does_not_allow_gets_nothing(yard: Watched) -> None:
    """FAULTS M2."""
    yard.publish("a.manifest", manifest(clientEmail="eve@elsewhere.example"), "shop")
    yard.look()
    assert yard.look(hours=2) == 1
    assert yard.told() == [(FileStage.WAITING, "ops@shop.example")]


def test_data_file_without_a_manifest_is_told_to_the_contacts(yard: Watched) -> None:
    yard.place("a.csv.asc", "data", "shop")
    yard.look()
    assert yard.look(hours=2) == 1
    assert yard.told() == [(FileStage.WAITING, "ops@shop.example")]
    facts = yard.facts()
    assert (facts["kind"], facts["file"], facts["waits_for"]) == ("data", "a.csv.asc", None)


def test_restart_tells_nothing_again(yard: Watched) -> None:
    yard.publish("a.csv.asc", "data", "shop")
    yard.look()
    assert yard.look(hours=2) == 1
    yard.collector, yard.lonely_files = yard.new_collector(), yard.new_lonely_files()
    yard.look()
    assert yard.look() == 0


def test_file_that_is_uploaded_again_is_another_file(yard: Watched) -> None:
    yard.publish("a.csv.asc", "data", "shop")
    yard.look()
    assert yard.look(hours=2) == 1
    yard.publish("a.csv.asc", "other data", "shop")
    assert yard.look() + yard.look(hours=2) == 1


@pytest.mark.parametrize("name", ["a.csv.asc.filepart", "a.csv.asc.part", ".a.csv.asc.tmp", "b.tmp", ".hidden"])
def test_upload_in_progress_is_never_told_of(yard: Watched, name: str) -> None:
    yard.place(name, "da", "shop")
    yard.look()
    assert yard.look(days=2) == 0


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("parts", "a.csv.asc"),
        ("parts", "a.csv.asc.filepart"),
        ("drop", "a.csv.asc.filepart"),
        ("drop", ".a.csv.asc.tmp"),
        ("drop", "a.csv.asc.7f3a.partial"),
    ],
)
def test_manifest_whose_data_file_is_on_its_way_waits_untold(yard: Watched, where: str, name: str) -> None:
    """A large file on a slow line takes hours."""
    folder = yard.spool.parts("shop") if where == "parts" else yard.spool.drop("shop")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("da")
    yard.publish("a.manifest", manifest(), "shop")
    yard.look()
    assert yard.look(days=2) == 0
    (folder / name).unlink()
    assert yard.look() == 1


def test_pair_that_is_complete_is_not_told_of(yard: Watched) -> None:
    yard.publish("a.csv.asc", "data", "shop")
    yard.publish("a.manifest", manifest(), "shop")
    yard.look()
    assert yard.look(days=2) == 0
    assert len(yard.received()) == 1


def test_time_that_a_client_gave_its_file_does_not_count(yard: Watched) -> None:
    """FAULTS W8: `put -p` of a file that is years old."""
    file = yard.place("a.csv.asc", "data", "shop")
    os.utime(file, (1, 1))
    yard.look()
    assert yard.look() == 0


def test_account_that_is_disabled_or_has_no_address_is_not_told(yard: Watched) -> None:
    yard.publish("a.csv.asc", "data", "acme")
    yard.publish("a.csv.asc", "data", "shop")
    Accounts(yard.database).set_state("shop", "disabled", now=datetime.now(UTC), actor="test")
    yard.look()
    assert yard.look(hours=2) == 0
    acme = Accounts(yard.database).get("acme")
    assert acme is not None
    assert yard.lonely_files.look(acme, yard.collector.scan("acme")) == 0
    Accounts(yard.database).set_state("shop", "active", now=datetime.now(UTC), actor="test")
    assert yard.look() == 1


def test_what_was_told_is_not_looked_up_again(yard: Watched) -> None:
    """A drop full of such files costs no look into the ledger for each of them at each scan."""
    yard.place("a.csv.asc", "data", "shop")
    yard.look()
    assert yard.look(hours=2) == 1
    statements: list[str] = []
    event.listen(yard.database.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    assert yard.look() == 0
    assert not [statement for statement in statements if "notices" in statement]

"""Collect: which files become an import, in which order they may come, and what a crash leaves to do."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import failpoints
from ingest.ledger.accounts import Accounts
from ingest.ledger.imports import Imports, new_import_id
from ingest.ledger.outbox import Outbox
from ingest.lonely_files import LonelyFiles
from ingest.report import Report
from ingest.settings import WatchSettings
from ingest.spool import Spool
from ingest.steps.collect import Collector
from ingest.watch import watch
from tests.support.ledgers import new_ledger
from tests.support.served import wait_for

NOW = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
SETTLE_S = 3.0


class Yard:
    """A ledger, a spool and collectors, without a door: files are published or simply put there."""

    def __init__(self, folder: Path) -> None:
        self.database = new_ledger(folder / "ledger.db")
        self.imports = Imports(self.database)
        self.spool = Spool(folder / "spool")
        self.spool.prepare()
        for account in ("acme", "other"):
            Accounts(self.database).add(account, now=NOW, actor="test")
            self.spool.open_account(account)
        self.ready: list[str] = []
        self.seconds = 0.0  # the collectors' clock
        self.collector = self.new_collector()

    def new_collector(self) -> Collector:
        """Another process's collector, or the one after a restart."""
        return Collector(
            self.spool,
            self.imports,
            now=lambda: NOW,
            on_ready=self.ready.append,
            settle_s=SETTLE_S,
            monotonic=lambda: self.seconds,
        )

    def scan_later(self, seconds: float = SETTLE_S) -> None:
        """The next look of the watcher, so many seconds after the last."""
        self.seconds += seconds
        self.collector.scan("acme")

    def place(self, name: str, content: str, account: str = "acme") -> Path:
        """Put a file into the drop behind the door's back."""
        path = self.spool.drop(account) / name
        path.write_text(content)
        return path

    def publish(self, name: str, content: str, account: str = "acme") -> None:
        """A file comes through the door."""
        part = self.spool.new_part(account)
        part.write_text(content)
        self.spool.publish(account, part, name)
        self.collector.published(account, name)

    def waiting(self, account: str = "acme") -> set[str]:
        return set(self.spool.files(account))

    def received(self) -> list[Report]:
        """All imports, oldest first."""
        return self.imports.newest()[::-1]

    def taken(self, report: Report) -> dict[str, str]:
        folder = self.spool.taken(report.id, "data").parent
        return {path.name: path.read_text() for path in folder.iterdir() if path.name != f"{report.account}.account"}


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    yard = Yard(tmp_path)
    yield yard
    yard.database.close()


def manifest(file_name: str = "a.csv.asc", **keys: object) -> str:
    return json.dumps({"fileName": file_name, "type": "event", "clientEmail": "a@acme.example", **keys})


@pytest.mark.parametrize("order", list(itertools.permutations(["a.manifest", "a.csv.asc"])), ids=" ".join)
def test_pair_is_taken_once_both_are_there_in_either_order(yard: Yard, order: tuple[str, str]) -> None:
    """FAULTS W13: manifest first, data first."""
    content = {"a.manifest": manifest(), "a.csv.asc": "data"}
    yard.publish(order[0], content[order[0]])
    assert yard.received() == []
    assert yard.waiting() == {order[0]}
    yard.publish(order[1], content[order[1]])
    (report,) = yard.received()
    assert (report.account, report.manifest, report.data_file) == ("acme", "a.manifest", "a.csv.asc")
    assert report.state == "ready"
    assert yard.taken(report) == {"manifest": manifest(), "data": "data"}
    assert yard.waiting() == set()
    assert yard.ready == [report.id]


def test_manifest_whose_data_never_comes_waits_and_holds_up_nobody(yard: Yard) -> None:
    """FAULTS W13: never."""
    yard.publish("lonely.manifest", manifest("never.csv"))
    yard.publish("a.csv.asc", "data")
    yard.publish("a.manifest", manifest())
    for _ in range(3):
        yard.scan_later()
    assert [report.manifest for report in yard.received()] == ["a.manifest"]
    assert yard.waiting() == {"lonely.manifest"}


def test_two_manifests_that_name_one_data_file_share_nothing(yard: Yard) -> None:
    """FAULTS W13: the one that came first has the file, the other waits for its own."""
    yard.publish("one.manifest", manifest())
    yard.publish("two.manifest", manifest())
    yard.publish("a.csv.asc", "first")
    assert [report.manifest for report in yard.received()] == ["one.manifest"]
    assert yard.waiting() == {"two.manifest"}
    yard.publish("a.csv.asc", "second")
    assert [yard.taken(report)["data"] for report in yard.received()] == ["first", "second"]


@pytest.mark.parametrize(
    "name", ["../other/b.csv", "/etc/passwd", "..", ".", "", "results/x", "..\\b.csv", ".hidden", "b.csv\0", "b\n.csv"]
)
def test_manifest_cannot_reach_out_of_its_drop(yard: Yard, name: str) -> None:
    """FAULTS W13: it becomes an import at once, which then fails; no file but the manifest is touched."""
    yard.place("b.csv", "not yours", "other")
    yard.publish("a.csv.asc", "data")
    yard.publish("a.manifest", manifest(name))
    (report,) = yard.received()
    assert report.data_file is None
    assert yard.taken(report) == {"manifest": manifest(name)}
    assert yard.waiting() == {"a.csv.asc"}
    assert yard.waiting("other") == {"b.csv"}


def test_manifest_does_not_get_a_file_of_another_account(yard: Yard) -> None:
    """FAULTS W13: the same name in two drops is two files."""
    yard.publish("a.csv.asc", "of the other", "other")
    yard.publish("a.manifest", manifest())
    assert yard.received() == []
    yard.publish("a.csv.asc", "ours")
    (report,) = yard.received()
    assert yard.taken(report)["data"] == "ours"
    assert yard.waiting("other") == {"a.csv.asc"}


def test_link_in_a_drop_is_no_data_file(yard: Yard, tmp_path: Path) -> None:
    """FAULTS S11: not even one that somebody else put there."""
    (tmp_path / "outside").write_text("secret")
    (yard.spool.drop("acme") / "a.csv.asc").symlink_to(tmp_path / "outside")
    yard.publish("a.manifest", manifest())
    yard.scan_later()
    yard.scan_later()
    assert yard.received() == []


@pytest.mark.parametrize("content", ["", "{", manifest(colour="red"), manifest(type="?"), "x" * 300_000])
def test_invalid_manifest_leaves_the_data_file_for_the_corrected_one(yard: Yard, content: str) -> None:
    yard.publish("a.csv.asc", "data")
    yard.publish("a.manifest", content)
    assert yard.waiting() == {"a.csv.asc"}
    yard.publish("a.manifest", manifest())
    bad, good = yard.received()
    assert yard.taken(bad) == {"manifest": content}
    assert yard.taken(good) == {"manifest": manifest(), "data": "data"}


def test_each_upload_of_a_manifest_is_an_import(yard: Yard) -> None:
    """FAULTS W3."""
    for _ in range(3):
        yard.publish("a.csv.asc", "data")
        yard.publish("a.manifest", manifest())
    assert len({report.id for report in yard.received()}) == 3


def test_file_that_did_not_come_through_the_door_is_complete_once_it_rests(yard: Yard) -> None:
    yard.place("a.manifest", manifest())
    data = yard.place("a.csv.asc", "da")
    yard.scan_later()
    data.write_text("data")
    yard.scan_later()
    assert yard.received() == []
    os.utime(data, ns=(1, 1))  # the same size, and changed
    yard.scan_later()
    assert yard.received() == []
    yard.scan_later(SETTLE_S - 0.1)
    assert yard.received() == []
    yard.scan_later(0.1)
    (report,) = yard.received()
    assert yard.taken(report)["data"] == "data"


@pytest.mark.parametrize("moved", [-10 * 365 * 86400, 0, 10 * 365 * 86400])
def test_nothing_is_decided_from_the_age_of_a_file(yard: Yard, moved: int) -> None:
    """FAULTS W8: clocks that are years apart, and files from the future."""
    for path in (yard.place("a.manifest", manifest()), yard.place("a.csv.asc", "data")):
        os.utime(path, (path.stat().st_mtime + moved,) * 2)
    yard.scan_later()
    yard.scan_later(SETTLE_S / 2)
    assert yard.received() == []
    yard.scan_later(SETTLE_S / 2)
    assert len(yard.received()) == 1


def test_file_that_changes_after_it_was_published_is_not_taken_before_it_rests(yard: Yard) -> None:
    yard.publish("a.csv.asc", "data")
    yard.place("a.csv.asc", "data and more")
    yard.publish("a.manifest", manifest())
    assert yard.received() == []
    yard.scan_later()
    assert yard.received() == []
    yard.scan_later()
    assert len(yard.received()) == 1


def test_file_that_went_and_came_again_is_looked_at_anew(yard: Yard) -> None:
    yard.place("a.manifest", manifest())
    data = yard.place("a.csv.asc", "data")
    yard.scan_later()
    kept = data.rename(data.with_name(".away"))
    yard.scan_later()
    kept.rename(data)
    yard.scan_later()
    assert yard.received() == []


def test_manifest_that_names_another_manifest_takes_it_and_breaks_nothing(yard: Yard) -> None:
    """FAULTS W13: both arrive, then one is taken as the other's data file."""
    yard.place("b.manifest", manifest())
    yard.place("a.manifest", manifest("b.manifest"))
    os.utime(yard.spool.drop("acme") / "a.manifest", (1, 1))
    yard.scan_later()
    yard.scan_later()
    (report,) = yard.received()
    assert yard.taken(report) == {"manifest": manifest("b.manifest"), "data": manifest()}


@pytest.mark.parametrize("name", ["a.csv.asc.filepart", "a.csv.asc.part", ".a.csv.asc", "a.csv.asc.tmp"])
def test_upload_in_progress_is_never_taken(yard: Yard, name: str) -> None:
    yard.publish("a.manifest", manifest(name) if not name.startswith(".") else manifest())
    file = yard.place(name, "data")
    for _ in range(3):
        yard.scan_later()
    assert yard.received() == []
    assert file.exists()


@pytest.mark.parametrize("crashed_after", ["ledger row", "manifest", "data"])
def test_next_look_finishes_what_a_crash_left(yard: Yard, crashed_after: str) -> None:
    """FAULTS W1: between any two of the ledger's row, the renames and the state."""
    yard.place("a.manifest", manifest())
    yard.place("a.csv.asc", "data")
    import_id = new_import_id(NOW)
    yard.imports.receive(import_id, "acme", "a.manifest", "a.csv.asc", NOW)
    if crashed_after != "ledger row":
        yard.spool.take("acme", "a.manifest", import_id, "manifest")
    if crashed_after == "data":
        yard.spool.take("acme", "a.csv.asc", import_id, "data")
    for _ in range(3):
        yard.scan_later()
    (report,) = yard.received()
    assert (report.id, report.state) == (import_id, "ready")
    assert yard.taken(report) == {"manifest": manifest(), "data": "data"}
    assert yard.ready == [import_id]


def test_import_whose_manifest_was_taken_back_before_the_crash_is_forgotten(yard: Yard) -> None:
    yard.imports.receive(new_import_id(NOW), "acme", "a.manifest", "a.csv.asc", NOW)
    yard.scan_later()
    assert yard.received() == []
    assert yard.ready == []


def test_import_that_is_being_forgotten_has_no_files_that_would_bring_it_back(yard: Yard) -> None:
    """FAULTS.md W1, W17: files of which the ledger knows nothing are an import that it has forgotten."""
    yard.imports.receive("20261122t081500-000000000001", "acme", "a.manifest", "a.csv.asc", NOW)
    failpoints.arm({failpoints.VARIABLE: "collect.withdrawn:1:eio"})
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        yard.scan_later()
    failpoints.arm({})
    assert yard.spool.all_taken() == []
    assert len(yard.received()) == 1
    yard.scan_later()
    assert yard.received() == []


def test_several_collectors_at_once_take_each_pair_once(yard: Yard) -> None:
    """FAULTS W2."""
    pairs = 6
    for number in range(pairs):
        yard.place(f"{number}.csv", f"data {number}")
        yard.place(f"{number}.manifest", manifest(f"{number}.csv"))
    collectors = [yard.new_collector() for _ in range(4)]
    for collector in collectors:
        collector.scan("acme")  # the first look: nothing is complete yet
    yard.seconds += SETTLE_S
    start = threading.Barrier(len(collectors))

    def look(collector: Collector) -> None:
        start.wait()
        collector.scan("acme")

    run_at_once([threading.Thread(target=look, args=(collector,)) for collector in collectors])
    assert sorted(report.manifest for report in yard.received()) == [f"{number}.manifest" for number in range(pairs)]
    for report in yard.received():
        assert yard.taken(report)["data"] == f"data {report.manifest[0]}"


def test_files_are_published_while_scans_run(yard: Yard) -> None:
    """The door's threads and the watcher share one collector."""
    pairs, over = 8, threading.Event()

    def scan() -> None:
        while not over.is_set():
            yard.collector.scan("acme")

    def publish(numbers: range) -> None:
        for number in numbers:
            yard.publish(f"{number}.csv", "data")
            yard.publish(f"{number}.manifest", manifest(f"{number}.csv"))

    scanning = threading.Thread(target=scan)
    scanning.start()
    run_at_once([threading.Thread(target=publish, args=(range(half, pairs, 2),)) for half in range(2)])
    over.set()
    scanning.join()
    assert len(yard.received()) == len(set(yard.ready)) == len(yard.ready) == pairs
    assert yard.waiting() == set()


async def test_drop_that_cannot_be_read_does_not_keep_others_waiting(yard: Yard) -> None:
    drop = yard.spool.drop("acme")
    (drop / "results").rmdir()
    drop.rmdir()
    drop.write_text("a file where a folder should be")
    yard.place("a.manifest", manifest(), "other")
    yard.place("a.csv.asc", "data", "other")
    stop = asyncio.Event()
    settings = WatchSettings(rescan_s=0.02)
    watching = asyncio.create_task(
        watch(settings, yard.spool, Accounts(yard.database), yard.collector, lonely_files(yard), stop)
    )
    await asyncio.sleep(0.2)
    yard.seconds += SETTLE_S
    await asyncio.to_thread(wait_for, lambda: yard.received() or None)
    stop.set()
    await watching
    assert [report.account for report in yard.received()] == ["other"]


def lonely_files(yard: Yard) -> LonelyFiles:
    """Tells of files that have waited for an hour."""
    return LonelyFiles(Outbox(yard.database), after=timedelta(hours=1), now=lambda: NOW, on_told=lambda: None)


def run_at_once(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

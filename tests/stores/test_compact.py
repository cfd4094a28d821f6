"""Compaction changes where rows lie, and nothing else; whatever is killed, and whoever stores meanwhile."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from manifests.types import DataType, ImportType
from stores.compact import Compacted, Compaction
from stores.durable import sync_path
from stores.errors import StoreBusy, StoreConflict, StoreUnavailable
from stores.lake import Lake
from stores.lock import locked
from stores.table import Table

EVENT, PROFILE = ImportType.EVENT, ImportType.PROFILE
PRICE = {"Price": DataType.FLOAT}
SPAWN = get_context("spawn")
Frame = Callable[..., pl.DataFrame]
Put = Callable[..., int]


def in_small_files(lake: Lake, kind: ImportType = EVENT, *, keep_s: float = 3600) -> Compacted | None:
    """Compact with ranges of a few rows, so that there are several."""
    where = Table(lake.folder("acme", kind), kind, sync_path)
    return Compaction(where, kind, sync_path, keep_s=keep_s, rows_a_file=4).run()


def data_files(lake: Lake, kind: ImportType = EVENT) -> list[str]:
    return sorted(path.name for path in lake.folder("acme", kind).glob("*.parquet"))


def test_all_rows_stay_and_lie_by_name_and_time(lake: Lake, put: Put, frame: Frame) -> None:
    more = PRICE | {"Note": DataType.STRING}
    put("one", [frame(0, 7, PRICE, "Charged"), frame(7, 5, PRICE, "App opened")])
    put("two", [frame(3, 9, more, "Charged")], more, sequence=2)
    before = lake.events("acme")
    done = in_small_files(lake)
    assert done == Compacted(EVENT, files_before=2, files_after=done.files_after if done else 0, rows=21, version=4)
    assert done is not None
    assert done.files_after > 3
    assert lake.events("acme").equals(before)
    table = DeltaTable(lake.folder("acme", EVENT))
    rows = pl.concat(pl.read_parquet(lake.folder("acme", EVENT) / path) for path in runs_of(table))
    assert rows.select("evtName", "ts").equals(rows.select("evtName", "ts").sort("evtName", "ts"))


def runs_of(table: DeltaTable) -> list[str]:
    return sorted(pl.DataFrame(table.get_add_actions(flatten=True))["path"])


def test_nothing_new_is_nothing_to_do(lake: Lake, put: Put, frame: Frame) -> None:
    assert lake.compact("acme", keep_s=0) == []
    put("one", [frame(0, 3, PRICE)])
    assert [done.type for done in lake.compact("acme", keep_s=0)] == [EVENT]
    assert lake.compact("acme", keep_s=0) == []


def test_a_large_run_is_left_alone_until_the_rest_is_worth_it(lake: Lake, put: Put, frame: Frame) -> None:
    put("large", [frame(0, 100, PRICE)])
    lake.compact("acme", keep_s=3600)
    put("small", [frame(100, 5, PRICE)])
    (done,) = lake.compact("acme", keep_s=3600)
    assert (done.files_before, done.rows) == (1, 5)
    put("more", [frame(105, 60, PRICE)])
    (done,) = lake.compact("acme", keep_s=3600)
    assert (done.files_before, done.rows) == (3, 165)
    assert len(lake.events("acme")) == 165


def test_transaction_ids_survive_a_compaction_and_a_checkpoint(lake: Lake, put: Put, frame: Frame) -> None:
    """FAULTS W6: an import that is tried again after a compaction is still known."""
    for number in range(19):
        put(f"import-{number}", [frame(number, 1, PRICE)])
    (done,) = lake.compact("acme", keep_s=0)
    assert done.version == 20
    assert list((lake.folder("acme", EVENT) / "_delta_log").glob("*20.checkpoint.parquet"))
    assert lake.stored("acme", EVENT, "import-3") == 1
    assert put("import-3", [frame(3, 1, PRICE)]) == 1
    assert len(lake.events("acme")) == 19


def test_what_was_replaced_goes_when_its_time_is_over(lake: Lake, put: Put, frame: Frame) -> None:
    put("one", [frame(0, 3, PRICE)])
    old = data_files(lake)
    lake.compact("acme", keep_s=3600)
    assert set(old) < set(data_files(lake))
    put("two", [frame(3, 4, PRICE)])
    lake.compact("acme", keep_s=3600)
    replaced = set(data_files(lake)) - set(runs_of(DeltaTable(lake.folder("acme", EVENT))))
    assert len(replaced) == 3
    assert lake.compact("acme", keep_s=0) == []
    assert data_files(lake) == runs_of(DeltaTable(lake.folder("acme", EVENT)))
    assert len(list((lake.folder("acme", EVENT).parent / "indexes").iterdir())) == 1
    assert not list((lake.folder("acme", EVENT).parent / "compactions").glob("*.json"))


def test_other_engines_read_a_compacted_table(lake: Lake, put: Put, frame: Frame) -> None:
    put("one", [frame(0, 9, PRICE)])
    put("two", [frame(9, 9, PRICE)])
    in_small_files(lake)
    table = DeltaTable(lake.folder("acme", EVENT)).to_pyarrow_dataset().to_table()
    with duckdb.connect() as engine:
        found = engine.register("found", table).execute('SELECT count(*), sum("Price") FROM found')
        assert found.fetchall() == [(18, sum(range(18)))]


def test_a_table_that_another_program_has_changed_is_left_as_it_is(lake: Lake, put: Put, frame: Frame) -> None:
    from deltalake import Field
    from deltalake.schema import PrimitiveType

    put("one", [frame(0, 3, PRICE)])
    DeltaTable(lake.folder("acme", EVENT)).alter.add_columns([Field("theirs", PrimitiveType("binary"))])
    with pytest.raises(StoreConflict):
        lake.compact("acme", keep_s=0)
    assert len(data_files(lake)) == 1


def test_two_compactions_of_an_account_exclude_each_other(lake: Lake, put: Put, frame: Frame, root: Path) -> None:
    put("one", [frame(0, 3, PRICE)])
    with locked(root / "acme" / "compact.lock"), pytest.raises(StoreBusy):
        lake.compact("acme", keep_s=0)


def test_imports_and_readers_go_on_beside_compactions(lake: Lake, put: Put, frame: Frame, root: Path) -> None:
    """Every import is there once, and no reader ever sees a row twice or not at all."""
    put("zero", [frame(0, 5, PRICE)])
    ended = threading.Event()
    wrong: list[str] = []

    def store() -> None:
        for number in range(1, 25):
            put(f"import-{number}", [frame(5 * number, 5, PRICE)], into=Lake(root))
        ended.set()

    def read() -> None:
        seen = 0
        while not ended.is_set():
            rows = Lake(root).events("acme")["_row"]
            if rows.n_unique() != len(rows) or len(rows) < seen:
                wrong.append(f"{len(rows)} after {seen}")
            seen = len(rows)

    threads = [threading.Thread(target=store), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    while not ended.is_set():
        in_small_files(lake)
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert sorted(lake.events("acme")["_row"]) == list(range(125))


def compact_and_die_at(root: Path, step: int) -> None:
    """Dies as by SIGKILL before the sync of this number."""
    steps = 0

    def sync(path: Path) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)
        sync_path(path)

    Lake(root, sync=sync).compact("acme", keep_s=0)


def test_a_compaction_killed_at_any_step_changes_nothing_or_all(lake: Lake, put: Put, frame: Frame, root: Path) -> None:
    """FAULTS W1: SIGKILL before every sync, of which each step has one; the next one cleans up and goes on."""
    put("one", [frame(0, 3, PRICE)])
    put("two", [frame(3, 3, PRICE)])
    before = lake.events("acme")
    killed = 0
    for step in range(1, 60):
        process = SPAWN.Process(target=compact_and_die_at, args=(root, step))
        process.start()
        process.join(60)
        assert lake.recover("acme") == []
        assert lake.events("acme").equals(before), step
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
    assert killed > 8
    assert lake.compact("acme", keep_s=0) == []
    assert data_files(lake) == runs_of(DeltaTable(lake.folder("acme", EVENT)))
    left = {path.name for path in (root / "acme" / "compactions").iterdir()}
    assert left == set()


def test_nothing_goes_before_what_replaces_it_is_durable(lake: Lake, put: Put, frame: Frame, root: Path) -> None:
    """FAULTS W10: a compaction died between its entry and the sync of the log; the next one finds both."""
    put("one", [frame(0, 3, PRICE)])
    old = lake.folder("acme", EVENT) / data_files(lake)[0]
    folder, journals = old.parent, root / "acme" / "compactions"
    seen: list[tuple[Path, bool, int]] = []
    replaced = DeltaTable(folder).version() + 1

    def unsynced(path: Path) -> None:
        if path.name == "_delta_log" and (path / f"{replaced:020}.json").exists():
            raise OSError(errno.EIO, "Input/output error")
        sync_path(path)

    def seeing(path: Path) -> None:
        sync_path(path)
        seen.append((path, old.exists(), len(list(journals.glob("*.json")))))

    with pytest.raises(StoreUnavailable):
        Lake(root, sync=unsynced).compact("acme", keep_s=0)
    assert old.name not in runs_of(DeltaTable(folder))
    Lake(root, sync=seeing).compact("acme", keep_s=0)
    assert (folder / "_delta_log", True, 1) in seen, "the entry is durable while the old file is there"
    assert (folder, False, 1) in seen, "the file is gone for good while the journal is there"
    assert not old.exists()
    assert len(lake.events("acme")) == 3


def test_the_entry_says_that_no_data_has_changed(lake: Lake, put: Put, frame: Frame) -> None:
    """Programs that follow a table's changes see no row again."""
    put("one", [frame(0, 3, PRICE)])
    (done,) = lake.compact("acme", keep_s=0)
    entry = lake.folder("acme", EVENT) / "_delta_log" / f"{done.version:020}.json"
    actions = [action for line in entry.read_text().splitlines() for action in json.loads(line).items()]
    assert [kind for kind, _ in actions] == ["commitInfo", "remove", "add"]
    assert [facts["dataChange"] for kind, facts in actions if kind != "commitInfo"] == [False, False]

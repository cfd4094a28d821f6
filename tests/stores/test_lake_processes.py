"""What several writers may rely on, and what a killed one leaves; always ``spawn``, never ``fork``."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import polars as pl
import pytest

from manifests.types import DataType, ImportType
from stores.durable import sync_path
from stores.lake import Lake

EVENT = ImportType.EVENT
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPAWN = get_context("spawn")


def rows(count: int, column: str = "Price") -> pl.DataFrame:
    text = pl.Series([None] * count, dtype=pl.String)
    return pl.DataFrame(
        {
            "_row": range(count),
            "identity": ["user"] * count,
            "objectId": text,
            "FBID": text,
            "GPID": text,
            "evtName": ["Charged"] * count,
            "ts": pl.Series([NOON] * count, dtype=pl.Datetime("us", "UTC")),
            column: [1.5] * count,
        },
        schema_overrides={"_row": pl.Int64},
    )


def store(lake: Lake, import_id: str, frames: Iterator[pl.DataFrame], column: str = "Price") -> int:
    properties = {column: DataType.FLOAT}
    return lake.append("acme", EVENT, import_id, sequence=1, received_at=NOON, properties=properties, frames=frames)


def append_several(root: Path, barrier: Barrier, writer: int, imports: int) -> None:
    column = f"Column {writer}"
    barrier.wait(60)
    for number in range(imports):
        assert store(Lake(root), f"{writer}-{number}", iter([rows(10, column)]), column) == 10


def append_same(root: Path, barrier: Barrier) -> None:
    def frames() -> Iterator[pl.DataFrame]:
        yield rows(10)
        barrier.wait(60)

    assert store(Lake(root), "same", frames()) == 10


def append_and_hang(root: Path, hanging: Event) -> None:
    def frames() -> Iterator[pl.DataFrame]:
        yield rows(10)
        hanging.set()
        signal.pause()

    store(Lake(root), "one", frames())


def append_and_die_before(root: Path, place: str) -> None:
    """Dies as by SIGKILL just before the first sync of a path that ends in ``place``."""

    def sync(path: Path) -> None:
        if path.name.endswith(place):
            os.kill(os.getpid(), signal.SIGKILL)
        sync_path(path)

    store(Lake(root, sync=sync), "one", iter([rows(10)]))


def run(target: Callable[..., None], arguments: list[tuple[object, ...]]) -> list[int | None]:
    processes = [SPAWN.Process(target=target, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_four_processes_with_several_imports_each_store_all_of_them(tmp_path: Path) -> None:
    """FAULTS W2: table and columns are made by whoever comes first, and no import is lost or doubled."""
    barrier = SPAWN.Barrier(4)
    assert run(append_several, [(tmp_path, barrier, writer, 8) for writer in range(4)]) == [0, 0, 0, 0]
    lake = Lake(tmp_path)
    properties = {f"Column {writer}": DataType.FLOAT for writer in range(4)}
    assert lake.registry("acme", EVENT) == properties  # whatever their order
    counts = lake.events("acme")["_import"].value_counts()
    assert dict(counts.iter_rows()) == {f"{writer}-{number}": 10 for writer in range(4) for number in range(8)}


def test_three_processes_with_the_same_id_store_it_once(tmp_path: Path) -> None:
    """FAULTS W2: all three have read the whole message before the first commits."""
    barrier = SPAWN.Barrier(3)
    assert run(append_same, [(tmp_path, barrier)] * 3) == [0, 0, 0]
    lake = Lake(tmp_path)
    assert len(lake.events("acme")) == 10
    assert len(list(lake.folder("acme", EVENT).glob("*.parquet"))) == 1


def test_a_writer_killed_before_its_commit_shows_nothing_and_its_import_runs_again(tmp_path: Path) -> None:
    """FAULTS W1: SIGKILL while the rows are being written."""
    hanging = SPAWN.Event()
    process = SPAWN.Process(target=append_and_hang, args=(tmp_path, hanging))
    process.start()
    assert hanging.wait(60)
    process.kill()
    process.join(60)
    lake = Lake(tmp_path)
    assert lake.recover("acme") == []
    assert lake.stored("acme", EVENT, "one") is None
    assert len(lake.events("acme")) == 0
    assert store(lake, "one", iter([rows(10)])) == 10
    assert len(lake.events("acme")) == 10


@pytest.mark.parametrize(("place", "stored"), [(".parquet", None), ("0.json", None), ("1.json", 10)])
def test_a_writer_killed_around_its_commit_has_stored_all_or_nothing(
    tmp_path: Path, place: str, stored: int | None
) -> None:
    """FAULTS W1, W6: SIGKILL before the file is durable, after the table is made, and after the rows' commit."""
    assert run(append_and_die_before, [(tmp_path, place)]) == [-signal.SIGKILL]
    lake = Lake(tmp_path)
    assert lake.recover("acme") == []
    assert lake.stored("acme", EVENT, "one") == stored
    assert len(lake.events("acme")) == (stored or 0)
    assert store(lake, "one", iter([rows(10)])) == 10
    assert len(lake.events("acme")) == 10

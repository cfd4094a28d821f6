"""What a loss of power may do to the lake, and what must be durable before an import counts as stored."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from manifests.types import DataType, ImportType
from stores.durable import sync_path
from stores.errors import StoreDamaged, StoreUnavailable
from stores.lake import Lake

EVENT = ImportType.EVENT
PRICE = {"Price": DataType.FLOAT}
Frame = Callable[..., pl.DataFrame]
Put = Callable[..., int]


class Recorder:
    """Syncs for real, and remembers what was synced and how large it was then."""

    def __init__(self) -> None:
        self.sizes: dict[Path, int] = {}
        self.order: list[Path] = []
        self.refused: str | None = None

    def __call__(self, path: Path) -> None:
        if self.refused is not None and path.name.endswith(self.refused):
            raise OSError(errno.EIO, "Input/output error")
        sync_path(path)
        self.order.append(path)
        if path.is_file():
            self.sizes[path] = path.stat().st_size


class Dying:
    """Syncs until a step, at which the process dies as far as the lake can tell."""

    def __init__(self, step: int) -> None:
        self._left = step

    def __call__(self, path: Path) -> None:
        self._left -= 1
        if self._left == 0:
            raise OSError(errno.EIO, "Input/output error")
        sync_path(path)


def entry(lake: Lake, version: int) -> Path:
    return lake.folder("acme", EVENT) / "_delta_log" / f"{version:020}.json"


def last_entry(lake: Lake) -> Path:
    return max((lake.folder("acme", EVENT) / "_delta_log").glob("*.json"))


def data_file(path: Path) -> Path:
    adds = [json.loads(line)["add"] for line in path.read_text().splitlines() if '"add"' in line]
    return path.parent.parent / str(adds[0]["path"])


def test_every_new_file_and_its_folders_are_synced_before_append_returns(root: Path, put: Put, frame: Frame) -> None:
    """FAULTS W10: data files, log entries, checkpoints, and the folders up to the lake's root."""
    sync = Recorder()
    lake = Lake(root, sync=sync)
    for number in range(25):
        put(
            f"import-{number}",
            [frame(0, 5, PRICE | {f"P{number // 20}": DataType.STRING})],
            PRICE | {f"P{number // 20}": DataType.STRING},
            into=lake,
        )
        files = {path for path in root.rglob("*") if path.is_file()}
        assert files == sync.sizes.keys()
        assert {path: path.stat().st_size for path in files} == sync.sizes
    assert any(path.name.endswith(".checkpoint.parquet") for path in sync.sizes)
    assert {path for path in root.rglob("*") if path.is_dir()} | {root} == {
        path for path in sync.order if path.is_dir()
    }


def test_a_data_file_is_durable_before_the_log_names_it(root: Path, put: Put, frame: Frame) -> None:
    """FAULTS W10."""
    sync = Recorder()
    lake = Lake(root, sync=sync)
    put("one", [frame(0, 5, PRICE)], into=lake)
    named = last_entry(lake)
    file = data_file(named)
    order = sync.order
    assert order.index(file) < order.index(file.parent, order.index(file)) < order.index(named)
    assert order.index(named) < len(order) - 1 - order[::-1].index(named.parent)


@pytest.mark.parametrize(("refused", "stored"), [(".parquet", None), ("0.json", None), ("1.json", 5)])
def test_a_sync_that_fails_is_unavailable(
    lake: Lake, root: Path, put: Put, frame: Frame, refused: str, stored: int | None
) -> None:
    """FAULTS W11: nobody is told that the import is stored; a data file that was lost is never committed."""
    sync = Recorder()
    sync.refused = refused
    with pytest.raises(StoreUnavailable) as caught:
        put("one", [frame(0, 5, PRICE)], into=Lake(root, sync=sync))
    assert "Input/output error" in caught.value.detail
    if stored is not None:
        with pytest.raises(StoreUnavailable):
            Lake(root, sync=sync).stored("acme", EVENT, "one")
    assert lake.stored("acme", EVENT, "one") == stored


def test_an_entry_that_could_not_be_synced_is_written_anew(root: Path, put: Put, frame: Frame) -> None:
    """FAULTS W11: a second sync of it would succeed and prove nothing."""
    synced: list[int] = []
    failed: list[int] = []

    def sync(path: Path) -> None:
        if path.name == "00000000000000000001.json" and not failed:
            failed.append(path.stat().st_ino)
            raise OSError(errno.EIO, "Input/output error")
        sync_path(path)
        synced.append(path.stat().st_ino)

    lake = Lake(root, sync=sync)
    assert put("one", [frame(0, 5, PRICE)], into=lake) == 5
    anew = entry(lake, 1).stat().st_ino
    assert failed
    assert anew in synced
    assert not set(failed) & {*synced, anew}
    assert list((lake.folder("acme", EVENT) / "_delta_log").glob("_anew*")) == []
    assert lake.stored("acme", EVENT, "one") == len(lake.events("acme")) == 5


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def zeroed(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def without_data(path: Path) -> None:
    data_file(path).unlink()


def with_short_data(path: Path) -> None:
    cut(data_file(path))


@pytest.mark.parametrize("tear", [emptied, cut, zeroed, without_data, with_short_data])
@pytest.mark.parametrize("earlier", [0, 1])
def test_a_torn_last_entry_is_set_aside_and_its_import_runs_again(
    lake: Lake, root: Path, put: Put, frame: Frame, tear: Callable[[Path], None], earlier: int
) -> None:
    """FAULTS W10: the library itself reads an empty last entry as a commit of nothing."""
    for number in range(earlier):
        put(f"good-{number}", [frame(0, 2, PRICE)])
    put("torn", [frame(0, 5, PRICE)])
    path = last_entry(lake)
    tear(path)
    torn = path.read_bytes()
    (line,) = lake.recover("acme")
    assert path.name in line
    assert not path.exists()
    (kept,) = (root / "acme" / "quarantine").iterdir()
    assert kept.read_bytes() == torn
    assert lake.recover("acme") == []
    assert lake.stored("acme", EVENT, "torn") is None
    assert len(lake.events("acme")) == 2 * earlier
    assert put("torn", [frame(0, 5, PRICE)]) == 5
    assert len(lake.events("acme")) == 2 * earlier + 5


def test_a_table_whose_only_entry_is_torn_is_made_again(lake: Lake, put: Put, frame: Frame) -> None:
    """FAULTS W10."""
    put("one", [frame(0, 5, PRICE)])
    emptied(entry(lake, 1))
    emptied(entry(lake, 0))
    assert len(lake.recover("acme")) == 2
    assert lake.registry("acme", EVENT) == {}
    assert put("one", [frame(0, 5, PRICE)]) == 5
    assert len(lake.events("acme")) == 5


def test_a_torn_checkpoint_is_set_aside(lake: Lake, put: Put, frame: Frame) -> None:
    """FAULTS W10: its entries are still there, since they go only after the checkpoint is durable."""
    for number in range(20):
        put(f"import-{number}", [frame(0, 1, PRICE)])
    (checkpoint,) = (lake.folder("acme", EVENT) / "_delta_log").glob("*.checkpoint.parquet")
    cut(checkpoint)
    with pytest.raises(StoreDamaged):
        lake.registry("acme", EVENT)
    assert len(lake.recover("acme")) == 2
    assert len(lake.events("acme")) == 20
    assert put("import-20", [frame(0, 1, PRICE)]) == 1


def test_a_recovery_that_dies_at_any_step_is_finished_by_the_next(
    lake: Lake, root: Path, put: Put, frame: Frame
) -> None:
    """FAULTS W1, W10: a torn checkpoint, the file that names it, and two torn entries above it."""
    for number in range(22):
        put(f"import-{number}", [frame(0, 1, PRICE)])
    (checkpoint,) = (lake.folder("acme", EVENT) / "_delta_log").glob("*.checkpoint.parquet")
    cut(checkpoint)
    emptied(last_entry(lake))
    whole = root.with_name("whole")
    shutil.copytree(root, whole)
    steps = 0
    for step in range(1, 30):
        shutil.rmtree(root)
        shutil.copytree(whole, root)
        dying = Dying(step)
        try:
            Lake(root, sync=dying).recover("acme")
        except StoreUnavailable:
            steps += 1
        else:
            break
        lake.recover("acme")
        assert len(lake.events("acme")) == 21, step
        assert put("again", [frame(0, 1, PRICE)]) == 1
        assert lake.recover("acme") == []
    assert steps >= 6


def test_what_is_set_aside_is_never_in_neither_place(lake: Lake, root: Path, put: Put, frame: Frame) -> None:
    """FAULTS W10: the folder to which a file goes is durable before the one that it leaves."""
    put("one", [frame(0, 1, PRICE)])
    put("two", [frame(1, 1, PRICE)])
    emptied(last_entry(lake))
    sync = Recorder()
    Lake(root, sync=sync).recover("acme")
    assert [path.name for path in sync.order][-2:] == ["quarantine", "_delta_log"]


def test_a_broken_entry_below_a_good_one_is_damage_and_nothing_is_moved(
    lake: Lake, root: Path, put: Put, frame: Frame
) -> None:
    for number in range(3):
        put(f"import-{number}", [frame(0, 1, PRICE)])
    emptied(entry(lake, 2))
    with pytest.raises(StoreDamaged) as caught:
        lake.recover("acme")
    assert entry(lake, 2).name in caught.value.detail
    assert entry(lake, 2).exists()
    assert not (root / "acme" / "quarantine").exists()


def test_a_lake_without_tables_recovers(lake: Lake) -> None:
    assert lake.recover("acme") == []

"""Compaction: the rows of many files again in few, in an order that look-ups like (`stores.order`), with an index.

A compaction merges the files that came since the last one, and with them the runs that are not much larger, into one
new run. So each row is moved a few times in its life only, and a table has few runs. All rows stay, with their system
columns: the history of a profile is kept, and reading folds it.

One entry of the log puts the new files in the place of the old ones; before it nothing has changed, after it all is
done. What was there before stays on disk for `keep_s` for those who still read it.

``<account>/compactions/`` has a journal of each compaction, written before anything else: it tells the next one whether
this one came to its end (then what it replaced goes, in its time) or was killed (then what it made goes). Imports may
be stored meanwhile, readers see one version or the other, and two compactions of one account exclude each other.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from failpoints import passing
from manifests.types import USER_COLUMNS, DataType, ImportType
from stores.columns import POLARS
from stores.datafile import DataFile
from stores.durable import Sync, make_folders
from stores.errors import StoreConflict
from stores.indexes import COLUMNS, EMAIL, KEY, Indexes, entries_of
from stores.order import ORDER, USER
from stores.seam import unavailable
from stores.snapshot import Snapshot, run_file, run_of
from stores.sorter import Sample, Sorter
from stores.table import Table

ROWS_A_FILE = 250_000
_BYTES_A_FILE = 64_000_000
_MOST_FILES = 256  # they are open at the same time
_ROWS_A_GROUP = 20_000
_BATCH_CELLS = 2_000_000
_MUCH_LARGER = 2  # a run of more than so many times the rows that are moved anyway stays as it is

_PUBLIC_FOREIGN = "The table has something that another program added; it is left as it is."


@dataclass(frozen=True, slots=True)
class Compacted:
    """What one compaction of one table did."""

    type: ImportType
    files_before: int
    files_after: int
    rows: int
    version: int


class Compaction:
    """Compacts one table of an account. The caller holds the account's lock for compactions."""

    def __init__(
        self, where: Table, kind: ImportType, sync: Sync, *, keep_s: float, rows_a_file: int = ROWS_A_FILE
    ) -> None:
        self._where = where
        self._kind = kind
        self._sync = sync
        self._keep_s = keep_s
        self._rows_a_file = rows_a_file
        self._account = where.folder.parent
        self._journals = self._account / "compactions"
        self._scratch = self._journals / f"{kind}-scratch"
        self._indexes = Indexes(self._account, kind, sync)

    def run(self) -> Compacted | None:
        """Clean up after earlier compactions, and compact; ``None`` when there is nothing to do.

        Raises `StoreUnavailable`, `StoreDamaged`, and `StoreConflict` for a table that another program has changed in
        a way that would not survive.
        """
        table = self._where.open()
        if table is None:
            return None
        # whoever wrote the last entry may have died before it was durable: nothing goes that only it replaces
        self._where.settle(table.version())
        snapshot = Snapshot(self._where.folder, self._kind, table)
        with unavailable("clean up after a compaction"):
            self._clean_up(snapshot)
        protocol = table.protocol()
        if len(snapshot.columns) != len(table.schema().fields) or protocol.min_reader_version != 1:
            raise StoreConflict(_PUBLIC_FOREIGN, detail=f"{self._account.name}/{self._where.folder.name}")
        chosen = due(snapshot)
        if chosen.is_empty():
            return None
        run = secrets.token_hex(8)
        replaced = dict(chosen.select("path", "size_bytes").iter_rows())
        with unavailable("write the journal of a compaction"):
            self._begin(run, replaced)
        passing("compact.begun")
        added = self._written(run, snapshot, chosen)
        passing("compact.written")
        version = self._where.replace(replaced, added, self._scratch / "entry")
        passing("compact.replaced")
        with unavailable("remove what was needed for sorting"):
            shutil.rmtree(self._scratch)
        self._where.checkpoint(version)
        return Compacted(self._kind, len(replaced), len(added), int(chosen["num_records"].sum()), version)

    def _written(self, run: str, snapshot: Snapshot, chosen: pl.DataFrame) -> list[AddAction]:
        """The new files and the index of the run, durable; nothing names them yet."""
        rows, size = int(chosen["num_records"].sum()), int(chosen["size_bytes"].sum())
        ranges = min(_MOST_FILES, 1 + max(rows // self._rows_a_file, size // _BYTES_A_FILE))
        files = [self._where.folder / name for name in chosen["path"]]
        order, key = ORDER[self._kind], pl.col(KEY[self._kind])
        bounds, index_bounds = self._bounds(files, rows, ranges)
        with (
            Sorter(self._scratch, snapshot.columns, order, bounds) as sorter,
            Sorter(self._scratch, COLUMNS[self._kind], key, index_bounds) as entries,
        ):
            for frame in _frames(files, snapshot.columns):
                sorter.add(frame)
                entries.add(entries_of(self._kind, frame))
            self._indexes.write(run, entries.ranges())
            passing("compact.indexed")
            return [
                self._file(run, number, snapshot.columns, part.sort(order, "_sequence", "_row"))
                for number, part in enumerate(sorter.ranges())
            ]

    def _bounds(self, files: Sequence[Path], rows: int, ranges: int) -> tuple[pl.Series, pl.Series]:
        """How the rows and the entries of the index are parted."""
        of_rows, of_entries = Sample(rows=rows, ranges=ranges), Sample(rows=rows, ranges=ranges)
        if ranges > 1:
            names = [*USER_COLUMNS, *(("evtName", "ts") if self._kind is ImportType.EVENT else ("Email",))]
            wanted = {name: DataType.DATE if name == "ts" else DataType.STRING for name in names}
            for frame in _frames(files, wanted):
                of_rows.add(frame.select(ORDER[self._kind]).to_series())
                keys = USER if self._kind is ImportType.EVENT else EMAIL
                of_entries.add(frame.select(keys).to_series().drop_nulls())
        return of_rows.bounds(), of_entries.bounds()

    def _file(self, run: str, number: int, columns: Mapping[str, DataType], rows: pl.DataFrame) -> AddAction:
        with DataFile(self._where.folder, columns, name=run_file(run, number)) as file:
            for part in rows.iter_slices(_ROWS_A_GROUP):
                file.write(part)
            add = file.finish(self._sync)
            file.keep()
            return add

    def _begin(self, run: str, replaced: Mapping[str, int]) -> None:
        make_folders(self._scratch, below=self._account, sync=self._sync)
        journal = {"run": run, "at": time.time(), "replaced": list(replaced)}
        draft = self._scratch / "journal"
        draft.write_text(json.dumps(journal))
        self._sync(draft)
        draft.rename(self._journals / f"{self._kind}-{run}.json")
        self._sync(self._journals)

    def _clean_up(self, snapshot: Snapshot) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        if not self._journals.is_dir():
            return
        active = set(snapshot.files["path"])
        for path in sorted(self._journals.glob(f"{self._kind}-*.json")):
            journal = json.loads(path.read_bytes())
            if not active.isdisjoint(journal["replaced"]):  # it was killed: nothing names what it made
                names = [file.name for file in self._where.folder.glob(f"run-{journal['run']}-*")]
                runs = [journal["run"]]
            elif not 0 <= time.time() - journal["at"] < self._keep_s:  # from the future: by a clock that was wrong
                names = journal["replaced"]
                runs = sorted({run for name in names if (run := run_of(name)) is not None})
            else:
                continue
            self._remove(names, runs)
            path.unlink()

    def _remove(self, names: Sequence[str], runs: Sequence[str]) -> None:
        """Remove files and indexes for good; what a loss of power brought back no journal would name any more."""
        for name in names:
            (self._where.folder / name).unlink(missing_ok=True)
            passing("compact.removing")
        self._sync(self._where.folder)
        self._indexes.remove(runs)
        passing("compact.removed")


def due(snapshot: Snapshot) -> pl.DataFrame:
    """The files to merge: those that came since the last compaction, and the runs that are not much larger."""
    chosen = snapshot.rest
    if chosen.is_empty():
        return chosen
    runs = snapshot.files.drop_nulls("run").group_by("run").agg(pl.col("num_records").sum())
    for run, rows in runs.sort("num_records").select("run", "num_records").iter_rows():
        if rows > _MUCH_LARGER * chosen["num_records"].sum():
            break
        chosen = pl.concat([chosen, snapshot.files.filter(run=run)])
    return chosen


def _frames(files: Sequence[Path], columns: Mapping[str, DataType]) -> Iterator[pl.DataFrame]:
    """The rows of some files with these columns, null where a file has none, a bounded number of cells at once."""
    most = max(1000, _BATCH_CELLS // len(columns))
    for path in files:
        with unavailable("read a data file"), pq.ParquetFile(path) as file:
            there = [name for name in columns if name in file.schema_arrow.names]
            batches = file.iter_batches(batch_size=most, columns=there)
            while (batch := next(batches, None)) is not None:
                frame = pl.DataFrame(pl.from_arrow(batch))
                yield frame.select(
                    (pl.col(name) if name in there else pl.lit(None)).cast(POLARS[type_]).alias(name)
                    for name, type_ in columns.items()
                )

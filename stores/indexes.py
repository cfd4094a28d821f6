"""What is known of each run beside its rows: one small file that answers what the order of the rows cannot.

    events      user, evtName -> how many, first and last: sorted by user
    profiles    email -> the users who ever were given it, and when last: sorted by email, in small letters

A run's index lies in ``<account>/indexes/``, is durable before the log names the run, and never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from manifests.types import DataType, ImportType
from stores.columns import POLARS
from stores.datafile import DataFile
from stores.durable import Sync, make_folders
from stores.order import USER
from stores.seam import unavailable

_ROWS_A_GROUP = 20_000

COLUMNS: dict[ImportType, dict[str, DataType]] = {
    ImportType.EVENT: {
        "user": DataType.STRING,
        "evtName": DataType.STRING,
        "count": DataType.INTEGER,
        "first": DataType.DATE,
        "last": DataType.DATE,
    },
    ImportType.PROFILE: {
        "email": DataType.STRING,
        "user": DataType.STRING,
        "_sequence": DataType.INTEGER,
        "_row": DataType.INTEGER,
    },
}
KEY = {ImportType.EVENT: "user", ImportType.PROFILE: "email"}
"""The column that an index is sorted by."""

EMAIL = pl.col("Email").str.to_lowercase()
"""The address of an update, as the index has it."""


def entries_of(kind: ImportType, rows: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """What the index says of some rows of the table."""
    lazy = rows.lazy()
    if kind is ImportType.EVENT:
        found = lazy.group_by(USER.alias("user"), "evtName").agg(
            count=pl.len().cast(pl.Int64), first=pl.col("ts").min(), last=pl.col("ts").max()
        )
    elif "Email" in lazy.collect_schema().names():
        found = lazy.filter(pl.col("Email").is_not_null()).select(
            EMAIL.alias("email"), USER.alias("user"), "_sequence", "_row"
        )
        found = found.sort("_sequence", "_row").unique(["email", "user"], keep="last")
    else:
        found = pl.LazyFrame(schema=schema_of(kind))
    return found.select(*COLUMNS[kind]).collect()


def together(kind: ImportType, entries: pl.DataFrame) -> pl.DataFrame:
    """Entries of several parts of a table as those of all of them, sorted."""
    if kind is ImportType.EVENT:
        found = entries.group_by("user", "evtName").agg(
            pl.col("count").sum(), pl.col("first").min(), pl.col("last").max()
        )
        return found.select(*COLUMNS[kind]).sort("user", "evtName")
    return entries.sort("_sequence", "_row").unique(["email", "user"], keep="last").sort("email", "user")


def schema_of(kind: ImportType) -> dict[str, pl.DataType]:
    """The columns of an index as polars has them."""
    return {name: POLARS[type_] for name, type_ in COLUMNS[kind].items()}


class Indexes:
    """The indexes of one account's runs of one kind."""

    def __init__(self, account_folder: Path, kind: ImportType, sync: Sync) -> None:
        self._folder = account_folder / "indexes"
        self._kind = kind
        self._sync = sync

    def path(self, run: str) -> Path:
        """Where the index of a run lies."""
        return self._folder / f"{self._kind}-{run}.parquet"

    def write(self, run: str, ranges: Iterable[pl.DataFrame]) -> None:
        """Write the index of a run from its entries, range by range in order; durable when this returns.

        Raises `StoreUnavailable`.
        """
        with unavailable("make the folder of indexes"):
            make_folders(self._folder, below=self._folder.parent, sync=self._sync)
        columns: Mapping[str, DataType] = COLUMNS[self._kind]
        with DataFile(self._folder, columns, name=self.path(run).name) as file:
            for entries in ranges:
                for part in together(self._kind, entries).iter_slices(_ROWS_A_GROUP):
                    file.write(part)
            if file.rows:
                file.finish(self._sync)
            else:
                with unavailable("write an index"):
                    pl.DataFrame(schema=schema_of(self._kind)).write_parquet(file.path)
                    self._sync(file.path)
                    self._sync(self._folder)
            file.keep()

    def find(self, runs: Iterable[str], key: str) -> pl.DataFrame:
        """The entries of these runs with this user or address."""
        paths = [self.path(run) for run in runs]
        if not paths:
            return pl.DataFrame(schema=schema_of(self._kind))
        return pl.scan_parquet(paths, glob=False).filter(pl.col(KEY[self._kind]) == key).collect()

    def remove(self, runs: Iterable[str]) -> None:
        """Remove the indexes of runs that no reader needs any more, for good."""
        for run in runs:
            self.path(run).unlink(missing_ok=True)
        if self._folder.is_dir():
            self._sync(self._folder)

"""The lake: the customers' data, per account one Delta table of events and one of profile updates.

    <root>/<account>/events/      one row for each event
    <root>/<account>/profiles/    one row for each update of a profile; reading folds the updates of one user
    <root>/<account>/indexes/     what compaction knows of the rows that it put in order (`stores.indexes`)

Rules:

- An import's rows appear together or not at all, once, whatever crashes in between (CONTRACT.md 4).
- When `Lake.append` returns, its rows survive a loss of power (FAULTS.md W10).
- The library runs threads that do not survive ``fork``: a process that imported this module is never forked; start
  other processes with ``spawn``.

Diagnostics: `StoreUnavailable` is worth another try, `StoreConflict` is worth one after reading `Lake.registry` again,
`StoreDamaged` needs a person. Their ``detail`` names the operation and the library's words, never a value of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from failpoints import passing
from manifests.types import DataType, ImportType
from stores.columns import POLARS, fixed_columns, mismatch, properties_of
from stores.compact import Compacted, Compaction
from stores.datafile import DataFile
from stores.durable import Sync, make_folders, sync_path
from stores.errors import StoreConflict
from stores.lock import locked
from stores.profiles import profile_in
from stores.recovery import recover_table
from stores.seam import unavailable
from stores.snapshot import Snapshot
from stores.table import Mark, Table
from stores.versions import Versions

_FOLDERS = {ImportType.EVENT: "events", ImportType.PROFILE: "profiles"}
_OF_THE_LAKE = ("_import", "_sequence", "_received_at")  # `_row` comes with the frames


class Lake:
    """The lake below ``root``. Blocks, so not for an event loop; any number of processes may share one lake.

    ``sync`` makes a file or a folder durable; only tests give another one.
    """

    def __init__(self, root: Path, *, sync: Sync = sync_path) -> None:
        self._root = root
        self._sync = sync
        self._versions = Versions()

    def folder(self, account: str, kind: ImportType) -> Path:
        """Where the Delta table lies, for other engines to read; it need not exist yet."""
        return self._root / account / _FOLDERS[kind]

    def registry(self, account: str, kind: ImportType) -> dict[str, DataType]:
        """The account's properties and their types, in column order; empty when nothing was stored yet.

        Raises `StoreUnavailable`, `StoreDamaged`.
        """
        snapshot = self.newest(account, kind)
        return properties_of(snapshot.columns, kind) if snapshot is not None else {}

    def newest(self, account: str, kind: ImportType) -> Snapshot | None:
        """The table as it is now; ``None`` when nothing was stored yet. Raises `StoreUnavailable`, `StoreDamaged`."""
        return self._versions.newest(self.folder(account, kind), kind)

    def at(self, account: str, kind: ImportType, version: int) -> Snapshot:
        """The table as it was at a version. Raises `SnapshotGone`."""
        return self._versions.at(self.folder(account, kind), kind, version)

    def stored(self, account: str, kind: ImportType, import_id: str) -> int | None:
        """The number of rows that this import committed, ``None`` when it never did.

        Makes the commit durable before it answers: its writer may have died between the two. An ID is known for 90
        days. Raises `StoreUnavailable`, `StoreDamaged`.
        """
        return _stored(self._table(account, kind), import_id, Mark(import_id))

    def rows_of(self, account: str, kind: ImportType, import_ids: Sequence[str]) -> pl.Series:
        """Which rows of a file these imports have stored: a Boolean for each ``_row``, the first is no row.

        Empty when they stored none. Raises `StoreUnavailable`, `StoreDamaged`.
        """
        table = self._table(account, kind).open()
        if table is None:
            return pl.Series(dtype=pl.Boolean)
        with unavailable("look which rows are stored"):
            rows = pl.scan_delta(table).filter(pl.col("_import").is_in(import_ids)).select("_row").collect().to_series()
        last = rows.max()
        if not isinstance(last, int):
            return pl.Series(dtype=pl.Boolean)
        stored = pl.repeat(value=False, n=last + 1, dtype=pl.Boolean, eager=True)
        return stored.scatter(rows, values=True)

    def sequence_of(self, account: str, kind: ImportType, import_id: str) -> int | None:
        """The sequence that this import's rows have; ``None`` when it stored none. Raises as `stored`."""
        table = self._table(account, kind).open()
        if table is None:
            return None
        with unavailable("look for an import's rows"):
            rows = pl.scan_delta(table).filter(pl.col("_import") == import_id).select("_sequence").head(1).collect()
        return int(rows.item()) if rows.height else None

    def last_sequence(self, account: str) -> int:
        """The highest sequence that rows of the account have; 0 when it has none. Raises as `stored`."""
        snapshots = (self.newest(account, kind) for kind in _FOLDERS)
        files = [snapshot.files for snapshot in snapshots if snapshot is not None]
        highest = [some["max._sequence"].max() for some in files if "max._sequence" in some.columns]
        return max((number for number in highest if isinstance(number, int)), default=0)

    def append(
        self,
        account: str,
        kind: ImportType,
        import_id: str,
        *,
        sequence: int,
        received_at: datetime,
        properties: Mapping[str, DataType],
        frames: Iterator[pl.DataFrame],
        mark: Mark | None = None,
        committing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> int:
        """Store an import's rows in one commit and return their number; durable when this returns.

        ``frames`` have the columns `_row`, the user columns, for events ``evtName`` and ``ts``, and exactly the
        ``properties``, in any order, of the types in `stores.columns.POLARS`; each becomes a row group, so some ten
        thousand rows each are good. ``received_at`` is aware. Who made ``frames`` closes it. ``committing`` is entered
        around the commit, once all frames are drawn: what it raises there passes out, and nothing is committed.

        Idempotent: when the ID (or the ``mark``, if the commit is to have one instead) is there already, draws
        nothing from ``frames`` and returns the rows stored then; of several callers with one ID at once, one commits
        and the others return the same. An exception of ``frames`` passes out as it is: nothing is committed and no
        data file stays. No row at all is no commit: returns 0, and `stored` keeps saying ``None``.

        Raises `StoreConflict` when a property's column has another type or another letter case, `StoreUnavailable`
        when the disk or the library refuses (whether the rows were committed is then for `stored` to say),
        `StoreDamaged` when the table's log cannot be read, and ``ValueError`` for a frame with other columns.
        """
        where = self._table(account, kind)
        mark = mark or Mark(import_id)
        if (rows := _stored(where, import_id, mark)) is not None:
            return rows
        where.missing(where.open(), properties)
        with unavailable("make a table's folder"):
            make_folders(where.folder, below=self._root, sync=self._sync)
            passing("lake.folders_made")
        columns = {**fixed_columns(kind), **properties}
        arriving = {name: type_ for name, type_ in columns.items() if name not in _OF_THE_LAKE}
        added = (
            pl.lit(import_id, pl.String).alias("_import"),
            pl.lit(sequence, pl.Int64).alias("_sequence"),
            pl.lit(received_at.astimezone(UTC), pl.Datetime("us", "UTC")).alias("_received_at"),
        )
        with DataFile(where.folder, columns) as file:
            for frame in frames:
                if wrong := mismatch(frame, arriving):
                    raise ValueError(f"a frame does not fit: {wrong}")
                file.write(frame.with_columns(added))
            if not file.rows:
                return 0
            add = file.finish(self._sync)
            with committing():
                file.keep()  # a commit that fails may have happened: better an unused file than a missing one
                try:
                    version = where.commit(add, mark, properties)
                except StoreConflict:
                    file.release()
                    raise
            if version is None:
                file.release()
                return _stored(where, import_id, mark) or 0
            passing("lake.committed")
        where.checkpoint(version)
        return file.rows

    def events(
        self,
        account: str,
        *,
        name: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """The account's events with all columns of the table, newest first: by ``ts``, then `_sequence`, then `_row`.

        ``since`` belongs to the range, ``until`` does not; both are aware. ``limit`` leaves the newest. No table yet:
        a frame without rows and with the fixed columns. Raises `StoreUnavailable`, `StoreDamaged`.
        """
        table = self._table(account, ImportType.EVENT).open()
        if table is None:
            return pl.DataFrame(schema={c: POLARS[t] for c, t in fixed_columns(ImportType.EVENT).items()})
        with unavailable("read events"):
            rows = pl.scan_delta(table)
            if name is not None:
                rows = rows.filter(pl.col("evtName") == name)
            if since is not None:
                rows = rows.filter(pl.col("ts") >= since.astimezone(UTC))
            if until is not None:
                rows = rows.filter(pl.col("ts") < until.astimezone(UTC))
            rows = rows.sort("ts", "_sequence", "_row", descending=True)
            return (rows.head(limit) if limit is not None else rows).collect()

    def profile(self, account: str, column: str, value: str) -> dict[str, Any] | None:
        """The properties of the user that ``column`` names, folded from all updates; ``None`` for an unknown user.

        Updates count in the order of `_sequence`, then `_row`, as `stores.fold` says. What has no value is left out.
        Dates are aware, in UTC. Raises ``ValueError`` when ``column`` is not one of `manifests.types.USER_COLUMNS`;
        `StoreUnavailable`, `StoreDamaged`.
        """
        snapshot = self.newest(account, ImportType.PROFILE)
        return None if snapshot is None else profile_in(snapshot, column, value)

    def committed(self, account: str, kind: ImportType, mark: Mark) -> bool:
        """Whether the commit of this mark is in the lake; makes it durable before it says yes, as `stored` does."""
        where = self._table(account, kind)
        table = where.open()
        if table is None or not where.has(table, mark):
            return False
        where.settle(table.version())
        return True

    @contextmanager
    def uploading(self, account: str, *, wait_s: float) -> Iterator[None]:
        """Exclude others who store uploads of the account, for the block.

        Raises `StoreBusy` when that takes longer than ``wait_s``, `StoreUnavailable` when the disk refuses.
        """
        folder = self._root / account
        with unavailable("make the folder of an account"):
            make_folders(folder, below=self._root, sync=self._sync)
        with locked(folder / "uploads.lock", wait_s=wait_s):
            yield

    def compact(self, account: str, *, keep_s: float) -> list[Compacted]:
        """Rearrange the account's tables so that look-ups are fast (`stores.compact`); the rows stay the same.

        What was replaced is kept for ``keep_s`` seconds, for those who still read an older version. May run beside
        imports and readers; raises `StoreBusy` when another compaction of the account is at it, `StoreUnavailable`,
        `StoreConflict` and `StoreDamaged`. A table is either compacted or as before, whatever happens.
        """
        if not (self._root / account).is_dir():
            return []
        with locked(self._root / account / "compact.lock"):
            compactions = [
                Compaction(self._table(account, kind), kind, self._sync, keep_s=keep_s).run() for kind in _FOLDERS
            ]
        return [done for done in compactions if done is not None]

    def recover(self, account: str) -> list[str]:
        """Set aside what a loss of power tore at the end of a log; returns what it set aside, one line each.

        For the start of the service, before any import of the account runs; see `stores.recovery`. Nothing is deleted.
        Raises `StoreDamaged` when a table cannot be read even so, `StoreUnavailable` when the disk refuses.
        """
        self._versions = Versions()  # what this process has read may be what is torn
        with unavailable("look for torn logs"):
            tables = [self.folder(account, kind) for kind in _FOLDERS]
            logs = [folder for folder in tables if (folder / "_delta_log").is_dir()]
        return [line for folder in logs for line in recover_table(folder, self._sync)]

    def _table(self, account: str, kind: ImportType) -> Table:
        return Table(self.folder(account, kind), kind, self._sync)


def _stored(where: Table, import_id: str, mark: Mark) -> int | None:
    table = where.open()
    if table is None or not where.has(table, mark):
        return None
    where.settle(table.version())
    with unavailable("count an import's rows"):
        # counted, not remembered: what a commit says about itself goes with its log entry
        rows = pl.scan_delta(table).filter(pl.col("_import") == import_id).select(pl.len())
        return int(rows.collect().item())

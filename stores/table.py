"""One Delta table and the log that says what is in it: opening, adding columns, committing rows.

Rules:

- Rows and the ID of their import are one commit, so "has it been stored?" has one answer (Delta's ``txn`` action).
- New columns are a commit of their own just before the rows' commit; a crash in between leaves a column without
  values, which the next try of the import fills. Rows are never visible without their columns.
- An entry of the log is only ever put on top of entries that are durable: whoever commits version N has synced N - 1
  first. The library's own retries would skip that, so they are off and `Table.commit` has its own.
- Column mapping stays off: this library cannot add columns to a mapped table, polars refuses one and a pyarrow
  dataset reads nothing but nulls from it.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from failpoints import passing
from manifests.types import DataType, ImportType
from stores.columns import clash, fields, filled_columns, fixed_columns
from stores.durable import Sync
from stores.errors import StoreConflict, StoreUnavailable
from stores.seam import PUBLIC_CONFLICT, PUBLIC_UNAVAILABLE, damaged, unavailable

_CONFIGURATION = {
    # longer than any retry; without it each import's ID stays in the log for good
    "delta.setTransactionRetentionDuration": "interval 90 days",
    "delta.enableChangeDataFeed": "false",
}
_CHECKPOINT_EVERY = 20  # versions; opening a table costs half a millisecond for each entry since the last one
_COMMIT_TRIES = 500  # each lost race means that somebody else's commit went through
_PAUSE_MS = 20  # longest pause after a lost race, so that the losers do not meet again at once
_NO_RETRIES = 0
# the library would delete old entries right after a checkpoint that is not durable yet
_NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a commit leaves in the log so that it can be asked for: Delta's transaction, for 90 days.

    An import has an ID of its own. A writer of many commits counts them under one ID: the log keeps the last number.
    """

    id: str
    number: int = 1


class Table:
    """The table in ``folder``; it need not exist yet. Blocks. Short-lived: one for each operation on the lake."""

    def __init__(self, folder: Path, kind: ImportType, sync: Sync) -> None:
        self.folder = folder
        self.log = folder / "_delta_log"
        self._kind = kind
        self._sync = sync
        self._opened: DeltaTable | None = None

    def open(self) -> DeltaTable | None:
        """The newest version, ``None`` when there is no table. Raises `StoreDamaged` when the log cannot be read."""
        with damaged("read a table's log"):
            if self._opened is not None:
                with suppress(DeltaError):  # the table was made anew under us: then it is opened anew
                    self._opened.update_incremental()  # a tenth of the time that opening takes
                    return self._opened
            try:
                self._opened = DeltaTable(self.folder)
            except TableNotFoundError:
                return None
            return self._opened

    def missing(self, table: DeltaTable | None, properties: Mapping[str, DataType]) -> dict[str, DataType]:
        """The properties that have no column yet.

        Raises `StoreConflict` when a column of that name has another type, or differs in letter case only.
        """
        stored = filled_columns(table.schema(), self._kind) if table is not None else {}
        if pair := clash([*fixed_columns(self._kind), *stored], properties):
            raise StoreConflict(PUBLIC_CONFLICT, detail=f"columns {pair[0]} and {pair[1]} differ in letter case only")
        for name, type_ in properties.items():
            if name in fixed_columns(self._kind):
                raise StoreConflict(PUBLIC_CONFLICT, detail=f"no property may be named {name}")
            if stored.get(name, type_) is not type_:
                raise StoreConflict(PUBLIC_CONFLICT, detail=f"column {name} is {stored[name]}, not {type_}")
        return {name: type_ for name, type_ in properties.items() if name not in stored}

    def settle(self, version: int) -> None:
        """Make the log up to ``version`` durable. Raises `StoreUnavailable` when the disk refuses."""
        with unavailable("sync a table's log"):
            entry = self.log / f"{version:020}.json"
            try:
                passing("lake.entry_written")
                self._sync(entry)
            except OSError:
                # what was written may be lost, and another sync would not say so (FAULTS.md W11); it is there to be
                # read, and others may have built on it: a new file takes its place
                self._write_anew(entry)
            passing("lake.entry_synced")
            self._sync(self.log)

    def has(self, table: DeltaTable, mark: Mark) -> bool:
        """Whether the commit of this mark, or a later one of its writer, is in the table."""
        with damaged("look for a transaction"):
            number = table.transaction_version(mark.id)
            return number is not None and number >= mark.number

    def commit(self, add: AddAction, mark: Mark, properties: Mapping[str, DataType]) -> int | None:
        """Commit one data file with its mark and return the version; ``None`` when the mark is there already.

        The entry is durable when this returns. Raises `StoreConflict` as `missing` does (nothing was committed then),
        and `StoreUnavailable` when the disk refuses or other writers were faster too often.
        """
        for _ in range(_COMMIT_TRIES):
            table = self.open()
            if table is not None:
                self.settle(table.version())
                if self.has(table, mark):
                    return None
            missing = self.missing(table, properties)
            with unavailable("commit to a table's log"):
                try:
                    if table is not None and not missing:
                        version = table.version() + 1
                        self._add(table, add, mark)
                        self.settle(version)
                        return version
                    self._widen(table, missing)
                except CommitFailedError:  # another writer was faster: look again
                    time.sleep(secrets.randbelow(_PAUSE_MS) / 1000)
        raise StoreUnavailable(PUBLIC_UNAVAILABLE, detail=f"other writers were faster {_COMMIT_TRIES} times")

    def replace(self, removed: Mapping[str, int], added: Sequence[AddAction], draft: Path) -> int:
        """Put files in the place of others (name: size) that hold the same rows, in one entry; returns the version.

        The library has no call for it, so the entry is written here, as ``draft`` first: it becomes visible complete,
        durable, and only if nobody else wrote one of its number. Other writers' appends do not matter. The caller sees
        to it that nobody else removes files. Raises `StoreUnavailable`.
        """
        lines = [*_replacing(removed, added)]
        for _ in range(_COMMIT_TRIES):
            if (table := self.open()) is None:
                break
            self.settle(table.version())
            version = table.version() + 1
            with unavailable("replace files of a table"):
                draft.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
                self._sync(draft)
                try:
                    os.link(draft, self.log / f"{version:020}.json")
                except FileExistsError:  # another writer was faster: behind it, then
                    time.sleep(secrets.randbelow(_PAUSE_MS) / 1000)
                    continue
                passing("compact.linked")
                self.settle(version)
                draft.unlink()
                return version
        raise StoreUnavailable(PUBLIC_UNAVAILABLE, detail=f"other writers were faster {_COMMIT_TRIES} times")

    def checkpoint(self, committed: int) -> None:
        """Write a checkpoint when one is due after version ``committed``, and drop log entries past their time.

        The checkpoint is durable before the first entry goes. Raises `StoreUnavailable` when it cannot be written; the
        table is as good as before.
        """
        if committed % _CHECKPOINT_EVERY or (table := self.open()) is None:
            return
        self.settle(table.version())  # other writers may have gone on; a checkpoint is no more than its last entry
        with unavailable("write a checkpoint"):
            table.create_checkpoint()
            passing("lake.checkpoint_written")
            for file in self.log.glob(f"{table.version():020}.checkpoint*.parquet"):
                self._sync(file)
            self._sync(self.log / "_last_checkpoint")
            passing("lake.checkpoint_synced")
            self._sync(self.log)
            passing("lake.checkpoint_durable")
            table.cleanup_metadata()

    def _widen(self, table: DeltaTable | None, properties: Mapping[str, DataType]) -> None:
        if table is None:
            schema = Schema(fields({**fixed_columns(self._kind), **properties}))
            DeltaTable.create(
                self.folder,
                schema,
                mode="ignore",  # another process may have made it since
                configuration=_CONFIGURATION,
                commit_properties=CommitProperties(max_commit_retries=_NO_RETRIES),
                post_commithook_properties=_NO_HOOKS,
            )
            passing("lake.table_made")
            with unavailable("sync a table's folder"):
                self._sync(self.folder)
        else:
            table.alter.add_columns(
                fields(properties),
                commit_properties=CommitProperties(max_commit_retries=_NO_RETRIES),
                post_commithook_properties=_NO_HOOKS,
            )
            passing("lake.columns_added")

    def _write_anew(self, entry: Path) -> None:
        anew = entry.with_name(f"_anew_{secrets.token_hex(4)}_{entry.name}")
        try:
            anew.write_bytes(entry.read_bytes())
            self._sync(anew)
            anew.replace(entry)
        finally:
            anew.unlink(missing_ok=True)

    def _add(self, table: DeltaTable, add: AddAction, mark: Mark) -> None:
        table.create_write_transaction(
            [add],
            "append",
            table.schema(),
            commit_properties=CommitProperties(
                max_commit_retries=_NO_RETRIES, app_transactions=[Transaction(app_id=mark.id, version=mark.number)]
            ),
            post_commithook_properties=_NO_HOOKS,
        )


def _replacing(removed: Mapping[str, int], added: Iterable[AddAction]) -> Iterable[dict[str, object]]:
    """The lines of a log entry that moves rows between files and changes none of them."""
    now = int(time.time() * 1000)
    yield {"commitInfo": {"timestamp": now, "operation": "OPTIMIZE", "operationParameters": {}}}
    for name, size in removed.items():
        yield {
            "remove": {
                "path": name,
                "deletionTimestamp": now,
                "dataChange": False,
                "extendedFileMetadata": True,
                "partitionValues": {},
                "size": size,
            }
        }
    for add in added:
        yield {
            "add": {
                "path": add.path,
                "partitionValues": {},
                "size": add.size,
                "modificationTime": add.modification_time,
                "dataChange": False,
                "stats": add.stats,
            }
        }

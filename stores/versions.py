"""The tables of a lake as a process that reads much keeps them: opened once, then brought up to date.

Opening a table takes ten times as long as looking for new entries in its log, and most requests find none.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from manifests.types import ImportType
from stores.errors import SnapshotGone
from stores.seam import damaged, unavailable
from stores.snapshot import Snapshot

_KEPT_TABLES = 100
_KEPT_VERSIONS = 100

PUBLIC_GONE = "The data has been rearranged since, and what this cursor pointed to is gone: ask for a new cursor."


class Versions:
    """The snapshots of the tables of a lake. Blocks; any number of threads may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: OrderedDict[Path, DeltaTable] = OrderedDict()
        self._snapshots: OrderedDict[tuple[Path, int], Snapshot] = OrderedDict()

    def newest(self, folder: Path, kind: ImportType) -> Snapshot | None:
        """The table as it is now; ``None`` when there is none. Raises `StoreDamaged`, `StoreUnavailable`."""
        with self._lock, damaged("read a table's log"):
            table = self._tables.pop(folder, None)
            try:
                table = _newest(table, folder)
            except TableNotFoundError:
                return None
            self._tables[folder] = table
            if len(self._tables) > _KEPT_TABLES:
                self._tables.popitem(last=False)
            return self._snapshot(folder, kind, table)

    def at(self, folder: Path, kind: ImportType, version: int) -> Snapshot:
        """The table as it was at a version. Raises `SnapshotGone` when nobody can tell any more."""
        with self._lock:
            if (folder, version) in self._snapshots:
                self._snapshots.move_to_end((folder, version))
                return self._snapshots[folder, version]
        with unavailable("read an old version of a table"):
            try:
                table = DeltaTable(folder, version=version)
            except Exception as error:
                raise SnapshotGone(PUBLIC_GONE, detail=f"version {version} of {folder.name}") from error
            with self._lock:
                return self._snapshot(folder, kind, table)

    def _snapshot(self, folder: Path, kind: ImportType, table: DeltaTable) -> Snapshot:
        place = (folder, table.version())
        if place not in self._snapshots:
            self._snapshots[place] = Snapshot(folder, kind, table)
            if len(self._snapshots) > _KEPT_VERSIONS:
                self._snapshots.popitem(last=False)
        self._snapshots.move_to_end(place)
        return self._snapshots[place]


def _newest(table: DeltaTable | None, folder: Path) -> DeltaTable:
    """The table brought up to date, or opened anew when it was made anew under us. Raises ``TableNotFoundError``."""
    if table is not None:
        with suppress(DeltaError):
            table.update_incremental()
            return table
    return DeltaTable(folder)

"""Collect: pairs manifests and data files in a drop, and takes both for an import.

Order of facts: the import is in the ledger, then its files are taken (renamed under its ID), then it is ready. A
crash between any two is finished by `Collector.recover`. A manifest that cannot be read becomes an import at once,
without its data file, so that its sender hears of it; the data file stays in the drop for the corrected manifest.

What comes through the door is complete when its client closed it. What somebody else put into the drop is complete
when two looks see the same file (inode, size, time of change): nothing is ever decided from the age of a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from ingest.clock import Now
from ingest.ledger.imports import Imports
from ingest.spool import Spool, is_manifest_name
from manifests.errors import ManifestInvalid
from manifests.parse import MAX_JSON_BYTES, parse_manifest

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Look:
    """What a file looked like when we saw it last, and whether it is known to be complete."""

    inode: int
    size: int
    changed_ns: int
    complete: bool

    def same_file(self, seen: os.stat_result) -> bool:
        return (self.inode, self.size, self.changed_ns) == (seen.st_ino, seen.st_size, seen.st_mtime_ns)


class Collector:
    """Finds complete pairs; several processes may run one, they take turns for each account. Blocking."""

    def __init__(self, spool: Spool, imports: Imports, *, now: Now, on_ready: Callable[[str], None]) -> None:
        self._spool = spool
        self._imports = imports
        self._now = now
        self._on_ready = on_ready
        self._looks: dict[tuple[str, str], _Look] = {}

    def published(self, account: str, name: str) -> None:
        """The door has published a file: it is complete. Collects what it completes before it returns."""
        with self._spool.locked(account):
            files = self._spool.files(account)
            if name in files:
                self._looks[account, name] = _look(files[name], complete=True)
            self._collect(account, files)

    def scan(self, account: str) -> None:
        """Look into the drop; files that are the same as at the last look are complete."""
        with self._spool.locked(account):
            files = self._spool.files(account)
            for name in [known for owner, known in self._looks if owner == account and known not in files]:
                del self._looks[account, name]
            for name, seen in files.items():
                last = self._looks.get((account, name))
                self._looks[account, name] = _look(seen, complete=last is not None and last.same_file(seen))
            self._collect(account, files)

    def recover(self) -> None:
        """Finish imports whose files were not all taken when a process ended."""
        for received in self._imports.received():
            with self._spool.locked(received.account):
                self._take(received.account, received.id, received.manifest, received.data_file)

    def _collect(self, account: str, files: dict[str, os.stat_result]) -> None:
        complete = {
            name
            for name, seen in files.items()
            if (look := self._looks.get((account, name))) is not None and look.complete and look.same_file(seen)
        }
        manifests = sorted((name for name in complete if is_manifest_name(name)), key=lambda n: files[n].st_mtime_ns)
        for manifest in manifests:
            readable, data_file = self._data_file_of(account, manifest)
            if readable and data_file not in complete:
                continue  # waits for its data file
            taken = data_file if readable else None
            import_id = self._imports.receive(account, manifest, taken, self._now())
            self._take(account, import_id, manifest, taken)
            complete.discard(data_file or "")

    def _data_file_of(self, account: str, manifest: str) -> tuple[bool, str | None]:
        """Whether the manifest can be read, and the data file that it names."""
        path = self._spool.drop(account) / manifest
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        try:
            return True, parse_manifest(content).file_name
        except ManifestInvalid as invalid:
            return False, invalid.file_name

    def _take(self, account: str, import_id: str, manifest: str, data_file: str | None) -> None:
        self._spool.take(account, manifest, import_id, "manifest")
        if data_file is not None:
            self._spool.take(account, data_file, import_id, "data")
        self._imports.ready(import_id)
        _log.info("import_received", action="import_received", account=account, import_id=import_id)
        self._on_ready(import_id)


def scan_all(collector: Collector, accounts: Sequence[str]) -> None:
    """One look into every drop; a drop that cannot be read does not keep the others from being looked into."""
    for account in accounts:
        try:
            collector.scan(account)
        except OSError as error:
            _log.warning("drop_unreadable", action="drop_unreadable", account=account, error=error.strerror)


def _look(seen: os.stat_result, *, complete: bool) -> _Look:
    return _Look(seen.st_ino, seen.st_size, seen.st_mtime_ns, complete)

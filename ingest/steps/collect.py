"""Collect: pairs manifests and data files in a drop, and takes both for an import.

Order of facts: the import is in the ledger, then its files are taken (renamed under its ID), then it is ready. What a
crash or an error leaves between any two is finished by the next look at that drop. A manifest that cannot be read
becomes an import at once, without its data file, so that its sender hears of it; the data file stays in the drop for
the corrected manifest.

What comes through the door is complete when its client closed it. What somebody else put into the drop is complete
when it has looked the same (inode, size, time of change) for some seconds of our own clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from failpoints import passing
from ingest.clock import Now
from ingest.ledger.imports import Imports, new_import_id
from ingest.spool import Spool, is_manifest_name
from manifests.errors import ManifestInvalid
from manifests.parse import MAX_JSON_BYTES, parse_manifest

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Look:
    """What a file looked like, since when (monotonic seconds), and whether the door says that it is complete."""

    inode: int
    size: int
    changed_ns: int
    since: float
    complete: bool

    def same_file(self, seen: os.stat_result) -> bool:
        return (self.inode, self.size, self.changed_ns) == (seen.st_ino, seen.st_size, seen.st_mtime_ns)


class Collector:
    """Finds complete pairs; several processes may run one, they take turns for each account. Blocking.

    ``settle_s`` is how long a file that did not come through the door must look the same to be complete.
    """

    def __init__(
        self,
        spool: Spool,
        imports: Imports,
        *,
        now: Now,
        on_ready: Callable[[str], None],
        settle_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._imports = imports
        self._now = now
        self._on_ready = on_ready
        self._settle_s = settle_s
        self._monotonic = monotonic
        self._looks: dict[str, dict[str, _Look]] = {}  # by account; each touched under that account's lock only

    def published(self, account: str, name: str) -> None:
        """The door has published a file: it is complete. Collects what it completes before it returns.

        When this raises, the file is complete all the same: the next scan collects it.
        """
        with self._spool.locked(account):
            self._finish_received(account)
            files = self._spool.files(account)
            if name in files:
                self._looks.setdefault(account, {})[name] = self._look(files[name], complete=True)
            self._collect(account, files)

    def scan(self, account: str) -> None:
        """Look into the drop; files that have been the same for long enough are complete."""
        with self._spool.locked(account):
            self._finish_received(account)
            files = self._spool.files(account)
            before = self._looks.get(account, {})
            self._looks[account] = {
                name: last
                if (last := before.get(name)) is not None and last.same_file(seen)
                else self._look(seen, complete=False)
                for name, seen in files.items()
            }
            self._collect(account, files)

    def _finish_received(self, account: str) -> None:
        """Go on with imports that something kept from being taken; read under the lock, so none is another's work."""
        for unfinished in self._imports.received(account):
            self._take(account, unfinished.id, unfinished.manifest, unfinished.data_file)

    def _look(self, seen: os.stat_result, *, complete: bool) -> _Look:
        return _Look(seen.st_ino, seen.st_size, seen.st_mtime_ns, self._monotonic(), complete)

    def _is_complete(self, look: _Look | None, seen: os.stat_result) -> bool:
        if look is None or not look.same_file(seen):
            return False
        return look.complete or self._monotonic() - look.since >= self._settle_s

    def _collect(self, account: str, files: dict[str, os.stat_result]) -> None:
        looks = self._looks.get(account, {})
        complete = {name for name, seen in files.items() if self._is_complete(looks.get(name), seen)}
        manifests = sorted((name for name in complete if is_manifest_name(name)), key=lambda n: files[n].st_mtime_ns)
        for manifest in manifests:
            try:
                readable, data_file = self._data_file_of(account, manifest)
            except OSError as error:  # its owner took it back, or somebody put it there so that we cannot read it
                _log.warning("manifest_unreadable", action="manifest_unreadable", account=account, error=error.strerror)
                continue
            if readable and data_file not in complete:
                continue  # waits for its data file
            taken = data_file if readable else None
            passing("collect.paired")
            now = self._now()
            import_id = new_import_id(now)
            self._imports.receive(import_id, account, manifest, taken, now)
            passing("collect.received")
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
        """Bring an import from received to ready; safe to repeat, whatever of it is done already."""
        if not self._spool.take(account, manifest, import_id, "manifest"):
            self._imports.forget(import_id)
            return
        if data_file is not None:
            self._spool.take(account, data_file, import_id, "data")  # one that is gone fails the import, by name
        passing("collect.taken")
        self._imports.ready(import_id)
        passing("collect.ready")
        _log.info("import_received", action="import_received", account=account, import_id=import_id)
        self._on_ready(import_id)

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
from datetime import UTC, datetime

import structlog

from failpoints import passing
from ingest.clock import Now
from ingest.file_news import FileNews
from ingest.ledger.imports import Imports, new_import_id
from ingest.spool import Spool, is_manifest_name
from manifests.errors import ManifestInvalid
from manifests.model import Manifest
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

    def scan(self, account: str) -> list[FileNews]:
        """Look into the drop; files that have been the same for long enough are complete.

        What is left: complete files whose counterpart is not there, nor being uploaded.
        """
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
            waiting = self._collect(account, files)
            return self._lonely(account, files, waiting)

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

    def _collect(self, account: str, files: dict[str, os.stat_result]) -> dict[str, Manifest | None]:
        """Make an import of each complete pair; the complete files that are left, and of manifests what they say."""
        looks = self._looks.get(account, {})
        complete = {name for name, seen in files.items() if self._is_complete(looks.get(name), seen)}
        # in the order in which they got their names; the time of change is what a sender says it is
        manifests = sorted((name for name in complete if is_manifest_name(name)), key=lambda n: files[n].st_ctime_ns)
        waiting: dict[str, Manifest | None] = {}
        for manifest in manifests:
            try:
                read, data_file = self._read(account, manifest)
            except OSError as error:  # its owner took it back, or somebody put it there so that we cannot read it
                _log.warning("manifest_unreadable", action="manifest_unreadable", account=account, error=error.strerror)
                complete.discard(manifest)
                continue
            if read is not None and data_file not in complete:
                waiting[manifest] = read
                continue
            taken = None if read is None else data_file
            passing("collect.paired")
            now = self._now()
            import_id = new_import_id(now)
            self._imports.receive(import_id, account, manifest, taken, now)
            passing("collect.received")
            self._take(account, import_id, manifest, taken)
            complete -= {manifest, data_file}
        return waiting | {name: None for name in complete if not is_manifest_name(name)}

    def _lonely(
        self, account: str, files: dict[str, os.stat_result], waiting: dict[str, Manifest | None]
    ) -> list[FileNews]:
        promised = {manifest.file_name for manifest in waiting.values() if manifest is not None}
        # a data file that is on its way is called as the manifest names it, with something around it
        underway = [name.lstrip(".") for name in self._spool.unfinished(account)] if promised else []
        lonely = []
        for name, manifest in waiting.items():
            waits_for = None if manifest is None else manifest.file_name
            if waits_for is None and name in promised:
                continue
            if waits_for is not None and (
                waits_for in files or any(unfinished.startswith(waits_for) for unfinished in underway)
            ):
                continue
            seen = files[name]
            lonely.append(
                FileNews(
                    account=account,
                    file=name,
                    kind="data" if manifest is None else "manifest",
                    waits_for=waits_for,
                    # the kernel's time of the last rename: no client can set it
                    since=datetime.fromtimestamp(seen.st_ctime, UTC),
                    client_email=None if manifest is None else manifest.client_email,
                    identity=(seen.st_ino, seen.st_size, seen.st_mtime_ns),
                )
            )
        return lonely

    def _read(self, account: str, manifest: str) -> tuple[Manifest | None, str | None]:
        """What the manifest says, if it can be read, and the data file that it names."""
        with self._spool.opened(account) as drop:
            descriptor = os.open(manifest, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=drop)
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        try:
            read = parse_manifest(content)
        except ManifestInvalid as invalid:
            return None, invalid.file_name
        return read, read.file_name

    def _take(self, account: str, import_id: str, manifest: str, data_file: str | None) -> None:
        """Bring an import from received to ready; safe to repeat, whatever of it is done already."""
        if not self._spool.take(account, manifest, import_id, "manifest"):
            # in this order: a folder of which the ledger knows nothing would come back as an import (`ingest.recovery`)
            self._spool.discard_taken(import_id)
            passing("collect.withdrawn")
            self._imports.forget(import_id)
            return
        if data_file is not None:
            self._spool.take(account, data_file, import_id, "data")  # one that is gone fails the import, by name
        passing("collect.taken")
        self._imports.ready(import_id, self._now())
        passing("collect.ready")
        _log.info("import_received", action="import_received", account=account, import_id=import_id)
        self._on_ready(import_id)

"""Every step that writes to the ledger, on a disk that refuses one call of SQLite's after the other.

    python -m tests.support.broken_steps FOLDER ERROR

Runs under the shim of `tests.support.broken_disk`. It refuses a call, and most often all after it, while a step runs,
mends the disk, and lets the same process go on: prints a line of JSON with what was wrong then.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ingest.errors import LedgerUnavailable
from ingest.ledger.queue import Lease
from ingest.notices.notice import Channel
from ingest.states import State
from ingest.steps.collect import Collector
from ingest.uploads.batch import Upload
from ingest.uploads.body import read_body
from keystore.pgp_encrypt import encrypt_to
from manifests.types import ImportType
from tests.support.broken_disk import BrokenDisk, Call, On
from tests.support.workshop import ACCOUNT, EMAIL, Workshop

_PLACES = (
    (Call.SYNC, On.JOURNAL, 1),  # before anything is written to the database
    (Call.SYNC, On.DATABASE, 1),  # and the roll back fails as well
    (Call.SYNC, On.JOURNAL, 3),  # the transaction is there, and nobody is told so
    (Call.TRUNCATE, On.JOURNAL, 1),
)
_STEPS = ("collect", "claim", "carry out", "deliver", "upload")


class Steps:
    """An import on its way from the drop to its last mail, and an upload through the API."""

    def __init__(self, folder: Path, disk: BrokenDisk) -> None:
        self._workshop = Workshop(folder)
        self._workshop.now = datetime.now(UTC)
        self._app = self._workshop.app
        self._disk = disk
        self._ready: list[str] = []
        self._collector = Collector(
            self._app.spool, self._app.imports, now=self._app.now, on_ready=self._ready.append, settle_s=0.0
        )
        self._message = encrypt_to(self._workshop.key.public_key, b"identity,score\nu1,1\n")
        self._numbers = itertools.count(1)
        self._commits = 0
        self._lease: Lease | None = None

    def faults(self, error: int) -> Iterator[dict[str, object]]:
        """Each refusal that was tried, with what is wrong after it."""
        for step, (call, file, first) in itertools.product(_STEPS, _PLACES):
            on = step != "carry out"  # a worker tries to give its import back for as long as its lease lasts
            refuse = partial(self._disk.refuse, call, file, error=error, first=first, on=on)
            tried, wrong = self._round(step, refuse)
            if tried or wrong is not None:
                yield {"step": step, "call": call.name, "file": file.name, "first": first, "wrong": wrong}

    def _round(self, broken: str, refuse: Callable[[], None]) -> tuple[bool, str | None]:
        """One import and one upload; whether a call was refused, and what is wrong."""
        tried, tag = False, f"f{next(self._numbers)}"
        try:
            for step in _STEPS:
                acknowledged = False
                if step == broken:
                    refuse()
                try:
                    acknowledged = self._take(step, tag)
                except LedgerUnavailable:
                    acknowledged = False
                finally:
                    if step == broken:
                        tried = self._disk.mend()
                self._is_sound()
                if step == broken and not acknowledged:
                    self._again(step, tag)
            self._is_once(tag)
        except Exception as error:  # it is told, with the place
            self._disk.mend()
            return tried, f"{type(error).__name__}: {error}"
        return tried, None

    def _again(self, step: str, tag: str) -> None:
        """The disk is well: the same step goes through, by the same process, when it comes again."""
        self._workshop.pass_time(seconds=61)
        assert self._take(step, tag), f"{step} did not go through"

    def _take(self, step: str, tag: str) -> bool:
        """Take the step; whether it went through."""
        app, workshop = self._app, self._workshop
        match step:
            case "collect":
                self._put(tag)
                self._collector.scan(ACCOUNT)
                self._collector.scan(ACCOUNT)
                return self._state(tag) == State.READY
            case "claim":
                self._lease = app.queue.claim(workshop.now)
                return self._lease is not None
            case "carry out":
                if self._lease is None or self._state(tag) != State.RUNNING:
                    self._lease = app.queue.claim(workshop.now)
                if self._lease is not None:
                    app.carrier.carry_out(self._lease)
                return self._state(tag) == State.SUCCEEDED
            case "deliver":
                for notice in app.outbox.due(workshop.now, 100):
                    app.outbox.sent(notice.id, workshop.now)
                return not app.outbox.due(workshop.now, 1)
            case _:
                body = json.dumps({"d": [{"identity": tag, "type": "profile", "profileData": {"Score": 1}}]}).encode()
                upload = Upload(
                    read_body(body, max_records=10, max_properties=10), key_hash=tag.encode().ljust(32), body_hash=b"b"
                )
                app.batches.carry_out(ACCOUNT, [upload])
                return upload.error is None

    def _put(self, tag: str) -> None:
        drop, data = self._app.spool.drop(ACCOUNT), f"{tag}.csv.asc"
        if self._state(tag) is None and not (drop / f"{tag}.manifest").exists():
            (drop / data).write_bytes(self._message)
            manifest = {"fileName": data, "type": "profile", "clientEmail": EMAIL, "keyId": self._workshop.key.key_id}
            (drop / f"{tag}.manifest").write_text(json.dumps(manifest))

    def _state(self, tag: str) -> State | None:
        mine = [one for one in self._app.imports.newest(limit=5) if one.manifest == f"{tag}.manifest"]
        assert len(mine) <= 1, "there are two imports of one manifest"
        return State(mine[0].state) if mine else None

    def _is_sound(self) -> None:
        """Another connection finds the ledger sound, and nobody holding it."""
        path = self._workshop.settings.data_dir / "ledger.db"
        with closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as other:
            other.execute("PRAGMA journal_mode=TRUNCATE")
            other.execute("BEGIN IMMEDIATE")
            assert other.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            assert other.execute("PRAGMA foreign_key_check").fetchall() == []
            other.execute("ROLLBACK")

    def _is_once(self, tag: str) -> None:
        app = self._app
        (report,) = [one for one in app.imports.newest(limit=5) if one.manifest == f"{tag}.manifest"]
        assert report.state == State.SUCCEEDED
        assert app.lake.stored(ACCOUNT, ImportType.PROFILE, report.id) == report.rows_stored == 1
        stages = [one.stage for one in app.deliveries.of_import(report.id) if one.channel == Channel.MAIL]
        assert stages == ["picked_up", "succeeded"], stages
        log = app.lake.folder(ACCOUNT, ImportType.PROFILE) / "_delta_log"
        self._commits += 2
        assert len(list(log.glob("*.json"))) - 1 == self._commits, "an import or upload was stored twice, or not at all"


def main(folder: Path, error: int) -> None:
    """Print the faults."""
    disk = BrokenDisk(Path(os.environ["BROKEN_DISK"]))
    for fault in Steps(folder, disk).faults(error):
        sys.stdout.write(json.dumps(fault) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""The disk under the ledger fails below SQLite: nothing is acknowledged that is not there, nothing comes twice."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest.states import State
from tests.support.broken_disk import ALL_CALLS, ALL_FILES, BrokenDisk, Call, On
from tests.support.shims import compiler
from tests.support.soon import soon
from tests.support.stepped_service import ACCOUNT, stepped_service

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler, which the shim is built with")

MIGRATE = "import sys; from ingest.ledger.database import Database; Database(sys.argv[1]).migrate()"
ROOT = Path(__file__).parents[1]


def told_by(program: str, folder: Path, database: str, error: int) -> list[dict[str, Any]]:
    """The lines of JSON that a program under the shim has printed."""
    disk = BrokenDisk(folder / "disk")
    command = [sys.executable, "-m", f"tests.support.{program}", str(folder), str(error)]
    environment = {**os.environ, **disk.environment(folder / database)}
    ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"')]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
def test_transaction_on_a_disk_that_fails_is_there_or_not_and_the_next_one_goes_through(
    tmp_path: Path, error: int
) -> None:
    """FAULTS.md W11, W12: each call of SQLite's refused, once and from then on; what was rolled back stays so."""
    told = told_by("broken_transactions", tmp_path, "ledger.db", error)
    refused = {(one["call"], one["file"]) for one in told}
    assert {("SYNC", "DATABASE"), ("SYNC", "JOURNAL"), ("WRITE", "DATABASE"), ("TRUNCATE", "JOURNAL")} <= refused
    assert {one["sound"] for one in told} == {"ok"}
    assert all(one["there"] == 1 for one in told if one["failed"] is None), "acknowledged and not there"
    assert all(one["anew"] for one in told if one["failed"] is not None), "no connection is used again"
    # the last sync of the journal comes after the commit: whoever is told of that failure must look
    late = [one for one in told if one["failed"] is not None and one["there"]]
    assert {(one["call"], one["file"], one["failed"]) for one in late} == {("SYNC", "JOURNAL", "SQLITE_IOERR_FSYNC")}
    # SQLite goes on when the sync of the folder fails, after it has made its journal
    assert {one["file"] for one in told if one["failed"] is None} <= {"FOLDER"}


def test_every_step_of_an_import_and_an_upload_goes_through_once_after_the_disk_has_failed(tmp_path: Path) -> None:
    """FAULTS.md W11: collect, claim, pick up, settle, mark a notice, upload; by the same process, without a restart."""
    told = told_by("broken_steps", tmp_path, "data/ledger.db", errno.EIO)
    assert {one["step"] for one in told} == {"collect", "claim", "carry out", "deliver", "upload"}
    assert [one for one in told if one["wrong"] is not None] == []


def test_ledger_whose_folder_cannot_be_synced_is_not_used(tmp_path: Path) -> None:
    """FAULTS.md W11: SQLite itself goes on; a journal without a durable name would be no help after a loss of power."""
    disk = BrokenDisk(tmp_path / "disk")
    environment = {**os.environ, **disk.environment(tmp_path / "ledger.db")}
    disk.refuse(Call.SYNC, On.FOLDER, first=1, on=True)
    command = [sys.executable, "-c", MIGRATE, f"sqlite:///{tmp_path / 'ledger.db'}"]
    ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "LedgerUnavailable" in ran.stderr
    disk.mend()
    subprocess.run(command, env=environment, cwd=ROOT, check=True)


RECORDS = {"d": [{"identity": "u1", "type": "event", "evtName": "Charged"}]}


async def test_service_goes_on_by_itself_once_the_disk_of_its_ledger_is_well(tmp_path: Path) -> None:
    """FAULTS.md W11: a file through the door, and a request that is repeated under its key; the log says what to do."""
    site = tmp_path / "site"
    site.mkdir()
    disk = BrokenDisk(site / "disk")
    settings = {
        **disk.environment(site / "installation" / "data" / "ledger.db"),
        "SEALDROP_HTTP__ALLOW_PLAIN": "true",
        "SEALDROP_HTTP__PORT": "0",
        "SEALDROP_MAIL__POLL_S": "0.1",
        "SEALDROP_WATCH__RESCAN_S": "0.3",
    }
    async with stepped_service(site, **settings) as service, service.http() as client:
        key = {**await service.token(client), "Idempotency-Key": "one"}
        async with service.sftp() as sftp:
            disk.refuse(ALL_CALLS, ALL_FILES, on=True)
            for name, content in (
                ("users.csv.asc", service.encrypted("identity,score\nu1,1\n")),
                ("users.manifest", service.manifest("users.csv.asc")),
            ):
                async with sftp.open(name, "wb") as file:
                    await file.write(content)
            assert (await client.post("/1/upload", json=RECORDS, headers=key)).status_code == 503
            assert [report.state for report in service.imports()] in ([], [State.RECEIVED])
            disk.mend()
        assert (await client.post("/1/upload", json=RECORDS, headers=key)).status_code == 200
        await soon(lambda: len(service.mails("Imported")) == 1)
        assert [(report.state, report.rows_stored) for report in service.imports()] == [(State.SUCCEEDED, 1)]
        assert service.app.lake.events(ACCOUNT).height == 1
        failed = service.records("ledger_disk_failed")
        assert failed
        assert all("look at the disk" in one["remedy"] for one in failed)

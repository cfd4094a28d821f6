"""A loss of power on the way of an import: what no fsync covered is gone. `make crash` does it at every failpoint."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.conftest import Ground
from tests.crash.power import Disk, compiler
from tests.crash.round_trip import run_round_without_power
from tests.crash.site import Forked

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler, which the shim is built with")

_POINTS = (
    "publish.named",
    "collect.received",
    "take.synced",
    "lake.table_made",
    "lake.entry_written",
    "lake.committed",
    "result.moved",
    "settle.committed",
)
_SITES = 4

_WRITES = """
import os, sqlite3

def open_and_write(name, content, *, sync):
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, content)
    if sync:
        os.fsync(descriptor)

def sync_folder(name):
    os.fsync(os.open(name, os.O_RDONLY))

open_and_write("there", b" synced", sync=True)
open_and_write("there", b" and not", sync=False)
open_and_write("name", b"bytes", sync=False)
open_and_write("both", b"bytes", sync=True)
os.rename("moved", "folder/moved")
sync_folder("folder")
sync_folder(".")
open_and_write("bytes", b"bytes", sync=True)
os.rename("renamed", "undone")
os.mkdir("new folder")
ledger = sqlite3.connect("ledger/ledger.db")
ledger.execute("PRAGMA journal_mode=TRUNCATE")
ledger.execute("PRAGMA synchronous=FULL")
ledger.execute("CREATE TABLE facts (fact)")
for fact in ("one", "two"):
    ledger.execute("INSERT INTO facts VALUES (?)", (fact,))
    ledger.commit()
ledger.execute("INSERT INTO facts VALUES ('three')")
os._exit(0)
"""


def test_what_is_left_is_what_was_synced(ground: Ground, tmp_path: Path) -> None:
    """FAULTS.md W10: the loss itself; a test that takes nothing away would prove nothing."""
    folder = tmp_path / "data"
    for name in ("folder", "ledger"):  # SQLite syncs the folder of a new journal
        (folder / name).mkdir(parents=True)
    for name in ("there", "moved", "renamed"):
        (folder / name).write_bytes(b"old")
    disk = Disk(folder, tmp_path / "copies")
    environment = {**os.environ, **disk.environment, "LD_PRELOAD": str(ground.shim)}
    subprocess.run([sys.executable, "-c", _WRITES], cwd=folder, env=environment, check=True)
    disk.lose()
    content = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del content["ledger/ledger.db"], content["ledger/ledger.db-journal"]
    assert content == {
        "there": b"old synced",
        "name": b"",
        "both": b"bytes",
        "folder/moved": b"old",
        "renamed": b"old",
    }
    assert not (folder / "new folder").exists()
    facts = "import sqlite3; print(sqlite3.connect('ledger/ledger.db').execute('SELECT fact FROM facts').fetchall())"
    told = subprocess.run([sys.executable, "-c", facts], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[('one',), ('two',)]"


async def test_a_loss_of_power_loses_and_doubles_nothing(ground: Ground, tmp_path: Path) -> None:
    """FAULTS.md W10: uploads that were acknowledged and imports that were told of are there, once, after the start."""
    wrong: dict[str, str] = {}

    async def lose_power_at_each(number: int) -> None:
        for point in _POINTS[number::_SITES]:
            site = Forked(ground.nursery, ground.template, tmp_path / point, point)
            round_ = await run_round_without_power(site, ground.reference)
            if not (round_.passed and round_.verdict.good):
                wrong[point] = f"passed: {round_.passed}; {round_.verdict}"

    await asyncio.gather(*map(lose_power_at_each, range(_SITES)))
    assert wrong == {}

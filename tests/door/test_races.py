"""Links that another process puts in the place of files and folders while a client and the service use them.

`make test` lets them change places as often as FAULTS.md S1 asks, `make long` for a minute and more.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncssh
import pytest

from tests.door.conftest import Site

SWAPS = 100_000
SECRET = "what somebody else has"  # no file inside is as long
SECONDS = 75.0 if os.environ.get("SEALDROP_LONG") else 1.5  # at least, for each of the places

# renameat2(2) with RENAME_EXCHANGE: at no moment is either name missing
_SWAPPER = """
import ctypes, os, sys
swap = ctypes.CDLL(None, use_errno=True).renameat2
first, second = (os.fsencode(name) for name in sys.argv[1:3])
swaps, told = 0, os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT, 0o600)
while True:
    for _ in range(100):
        swaps += swap(-100, first, -100, second, 2) == 0
    os.pwrite(told, b"%d" % swaps, 0)
"""


@contextmanager
def _swapping(first: Path, second: Path, told: Path) -> Iterator[Callable[[], int]]:
    """Another process lets the two change places all the time; how often it has."""
    process = subprocess.Popen([sys.executable, "-c", _SWAPPER, first, second, told])
    try:
        yield lambda: int(told.read_bytes() or b"0") if told.exists() else 0
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def _outside(folder: Path) -> Path:
    """A folder that looks like a drop, with files of every name that a client may ask for."""
    for name in ("a", "b", "c", "results/report.json", "results/b"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(SECRET)
    return folder


def _facts(folder: Path) -> dict[str, tuple[int, int, str]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_text())
        if path.is_file()
        else (path.stat().st_ino, path.stat().st_mtime_ns, "")
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("place", ["file", "results", "drop"])
async def test_links_in_place_of_files_and_folders_lead_nowhere(site: Site, place: str) -> None:
    """FAULTS S1: 10^5 swaps of a file, of /results and of the whole drop; nothing outside is ever read or written."""
    outside = _outside(site.folder / "outside")
    before = _facts(outside)
    drop, beside = site.spool.drop("acme"), site.folder / "beside"
    swapped = {"file": drop / "a", "results": drop / "results", "drop": drop}[place]
    (drop / "a").write_text("inside")
    site.spool.write_result("acme", "report.json", b"inside")
    beside.symlink_to({"file": outside / "a", "results": outside / "results", "drop": outside}[place])
    done = {"read": 0, "listed": 0, "stored": 0, "served": 0}
    end = time.monotonic() + SECONDS
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        with _swapping(swapped, beside, site.folder / "told") as swaps:
            for number in itertools.count():
                if swaps() >= SWAPS and all(done.values()) and time.monotonic() >= end:
                    break
                if place == "file" and number % 20 == 0:  # renames may have carried the link away
                    _plant(drop / "a", beside, outside / "a")
                await _as_a_client(sftp, number, done)
                with suppress(OSError):
                    await asyncio.to_thread(_as_the_service, site, number)
                    done["served"] += 1
    assert _facts(outside) == before


def _plant(file: Path, beside: Path, target: Path) -> None:
    """A file and a link that may change places, whatever was there."""
    for path in (file, beside):
        draft = path.with_name(f".draft of {path.name}")
        draft.write_text("inside") if path == file else draft.symlink_to(target)
        draft.replace(path)


async def _as_a_client(sftp: asyncssh.SFTPClient, number: int, done: dict[str, int]) -> None:
    async def read(path: str) -> None:
        async with sftp.open(path, "rb") as file:
            assert SECRET not in str(await file.read())
            done["read"] += 1

    async def listed(path: str) -> None:
        for entry in await sftp.readdir(path):
            assert entry.attrs.size != len(SECRET), entry
        done["listed"] += 1

    async def stored() -> None:
        async with sftp.open("c", "wb") as file:
            await file.write(b"inside")
        done["stored"] += 1

    async def looked_at(path: str) -> None:
        assert (await sftp.stat(path)).size != len(SECRET)

    requests: list[Callable[[], Awaitable[object]]] = [
        lambda: read("a"),
        lambda: read("results/report.json"),
        lambda: looked_at("a"),
        lambda: looked_at("results/report.json"),
        lambda: listed("/"),
        lambda: listed("/results"),
        lambda: sftp.rename("a", "b"),
        lambda: sftp.posix_rename("b", "a"),
        stored,
        lambda: sftp.remove("c"),
        lambda: sftp.open("a", asyncssh.FXF_WRITE | asyncssh.FXF_APPEND),
    ]
    with suppress(asyncssh.SFTPError):
        await requests[number % len(requests)]()


def _as_the_service(site: Site, number: int) -> None:
    """What the watcher and the workers do in a drop; blocks."""
    match number % 4:
        case 0:
            site.spool.open_account("acme")
        case 1:
            site.spool.write_result("acme", "report.json", b"inside")
        case 2:
            assert len(SECRET) not in {seen.st_size for seen in site.spool.files("acme").values()}
        case 3:
            if site.spool.take("acme", "a", str(number), "data"):
                taken = site.spool.taken(str(number), "data")
                assert not taken.is_symlink()
                taken.unlink()
            with site.spool.opened("acme") as drop:  # and there is one again
                descriptor = os.open("a", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=drop)
                os.write(descriptor, b"within")
                os.close(descriptor)

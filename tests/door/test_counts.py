"""Numbers that several doors count together, some of them in processes of their own that are killed."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncssh
import pytest

from ingest.door.counts import Counts
from ingest.door.errors import SharedCountsUnusable
from ingest.door.quota import Quota
from ingest.door.sheets import MOST_DOORS
from ingest.parts import Stock
from tests.door.conftest import OpenSite, Site, until

_ANOTHER_DOOR = """
import sys, time
from pathlib import Path
from ingest.door.counts import Counts
counts = Counts.shared(Path(sys.argv[1]), Path(sys.argv[1]))
counts.number("a").add(5)
counts.moment("b", "").set(7)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def another(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has counted five, and set a moment."""
    process = subprocess.Popen(
        [sys.executable, "-c", _ANOTHER_DOOR, tmp_path], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_what_a_killed_process_has_counted_is_gone(tmp_path: Path, another: subprocess.Popen[str]) -> None:
    """FAULTS S6: and nothing that lives is."""
    ours, theirs = Counts.shared(tmp_path, tmp_path), Counts.shared(tmp_path, tmp_path)
    assert theirs.number("a").add(1) == 6
    assert ours.number("a").add(1) == 7
    assert ours.moment("b", "").latest() == 7
    assert ours.forget_the_dead() == theirs.forget_the_dead() == 0
    another.kill()
    another.wait()
    assert ours.forget_the_dead() == 1
    assert ours.forget_the_dead() == theirs.forget_the_dead() == 0
    assert ours.number("a").add(0) == theirs.number("a").add(0) == 2
    assert ours.moment("b", "").latest() == 0
    theirs.close()
    assert ours.number("a").add(0) == 1
    ours.close()


def test_sheet_of_a_killed_process_is_begun_anew(tmp_path: Path, another: subprocess.Popen[str]) -> None:
    another.kill()
    another.wait()
    ours = Counts.shared(tmp_path, tmp_path)
    assert ours.number("a").add(0) == 0
    assert ours.doors().count(0) == MOST_DOORS - 1
    ours.close()


def test_totals_are_those_of_plain_dictionaries(tmp_path: Path) -> None:
    """Many numbers in few rows: what finds none counts in its own process only, and none is mistaken for another."""
    chance = random.Random(5)
    ours = Counts(buckets=2)  # of eight rows
    kept: dict[str, int] = {}
    for _ in range(20_000):
        name = str(chance.randrange(60))
        change = chance.choice([1, 1, -1]) if kept.get(name) else 1
        kept[name] = kept.get(name, 0) + change
        assert ours.number("n", name).add(change) == kept[name]


def test_one_door_too_many_is_told_so(tmp_path: Path) -> None:
    opened = [Counts.shared(tmp_path, tmp_path) for _ in range(MOST_DOORS)]
    with pytest.raises(SharedCountsUnusable, match="16 doors share the port already"):
        Counts.shared(tmp_path, tmp_path)
    for counts in opened:
        counts.close()
    Counts.shared(tmp_path, tmp_path).close()


@pytest.mark.parametrize("planted", ["link", "open to others", "pipe"])
def test_file_that_somebody_else_may_have_put_there_is_refused(tmp_path: Path, planted: str) -> None:
    """The folder may be one that everybody can write to."""
    Counts.shared(tmp_path, tmp_path).close()
    (file,) = (path for path in tmp_path.iterdir() if path.name.startswith("sealdrop-door-"))
    if planted == "open to others":
        file.chmod(0o666)
    else:
        file.unlink()
        target = tmp_path / "target"
        target.write_bytes(b"kept")
        os.mkfifo(file) if planted == "pipe" else file.symlink_to(target)
    with pytest.raises(SharedCountsUnusable):
        Counts.shared(tmp_path, tmp_path)
    assert planted != "link" or target.read_bytes() == b"kept"


def test_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SharedCountsUnusable, match=r"No such file or directory.*door\.shared_dir"):
        Counts.shared(tmp_path / "nothing", tmp_path)


def test_quota_is_counted_anew_when_a_door_has_gone(tmp_path: Path) -> None:
    """FAULTS S17: what the other had told is gone with it, and what it has written is not."""
    ours, theirs = Counts.shared(tmp_path, tmp_path), Counts.shared(tmp_path, tmp_path)
    here, there = Quota(ours, "acme"), Quota(theirs, "acme")
    for quota, name in ((here, "a"), (there, "b")):
        quota.begin(name, 0)
        quota.count(quota.mark(), Stock({}, {}))
    assert there.fits("b", 60, 100)
    assert not here.fits("a", 41, 100)
    assert here.fits("a", 40, 100)
    theirs.close()
    assert not here.fits("a", 40, 100)
    assert here.is_old
    here.count(here.mark(), Stock({}, {}))
    assert here.fits("a", 100, 100)
    ours.close()


async def test_uploads_through_two_doors_share_what_is_left(open_site: OpenSite) -> None:
    """FAULTS S17: forty uploads of 10 kB against 100 kB, half of them through each door; never a byte over."""
    shared = {"reuse_port": True, "max_account_bytes": 100_000}
    most = 0

    def stored() -> int:
        files = {}  # by inode: one that is being published has two names for a moment
        for folder in (site.spool.parts("acme"), site.spool.drop("acme")):
            for entry in os.scandir(folder):
                with suppress(FileNotFoundError):
                    files[entry.inode()] = entry.stat().st_size if entry.is_file() else 0
        return sum(files.values())

    async def upload(sftp: asyncssh.SFTPClient, name: str) -> bool:
        nonlocal most
        try:
            async with sftp.open(name, "wb") as file:
                for place in range(0, 10_000, 1000):
                    await file.write(bytes(1000), place)
                    most = max(most, stored())
        except asyncssh.SFTPFailure:  # as version 3 says it
            return False
        return True

    async with open_site(**shared) as site, open_site(**shared) as other, site.connect() as one, other.connect() as two:
        clients = [await one.start_sftp_client(), await two.start_sftp_client()]
        took = await asyncio.gather(*(upload(clients[n % 2], f"f{n}") for n in range(40)))
        assert 0 < sum(took) * 10_000 <= most <= 100_000
        assert site.parts() == []
        for client in clients:  # and what is left is given to whoever comes, through either
            if left := 100_000 - stored():
                async with client.open("rest", "wb") as file:
                    await file.write(bytes(left), 0)
            assert not await upload(client, "more")


async def test_renames_keep_away_from_uploads_through_another_door(site: Site, open_site: OpenSite) -> None:
    """FAULTS S12: neither the old name nor the new one may be one that is being uploaded."""
    async with open_site() as other, site.connect() as one, other.connect() as two:
        first, second = await one.start_sftp_client(), await two.start_sftp_client()
        for name in ("a", "b"):
            async with first.open(name, "wb") as file:
                await file.write(name.encode())
        file = await first.open("a", "wb")
        await file.write(b"new")
        for rename in (second.rename, second.posix_rename):
            for old, new in (("a", "c"), ("b", "a")):
                with pytest.raises(asyncssh.SFTPFailure, match="being uploaded in another session"):
                    await rename(old, new)
        await file.close()
        await second.posix_rename("b", "a")
    assert {name: (site.spool.drop("acme") / name).read_bytes() for name in site.waiting()} == {"a": b"b"}


async def test_fifty_uploads_of_one_name_through_two_doors_leave_one_whole_file(
    site: Site, open_site: OpenSite
) -> None:
    """FAULTS S12: and renames onto the name in between."""
    contents = [bytes([number]) * 50_000 for number in range(50)]

    async def upload(sftp: asyncssh.SFTPClient, number: int) -> bool:
        name = "a" if number % 2 else f"{number}.part"
        try:
            async with sftp.open(name, "wb") as file:
                await file.write(contents[number])
            if name != "a":
                await sftp.posix_rename(name, "a")
        except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
            return False
        return True

    async with open_site() as other, site.connect() as one, other.connect() as two:
        clients = [await one.start_sftp_client(), await two.start_sftp_client()]
        won = await asyncio.gather(*(upload(clients[n // 2 % 2], n) for n in range(50)))
    assert (site.spool.drop("acme") / "a").read_bytes() in {c for c, ok in zip(contents, won, strict=True) if ok}
    await until(lambda: not site.parts())

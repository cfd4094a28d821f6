"""What reaches the disk and in which order, seen by strace; and a disk that is really full."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from tests.door.conftest import OpenSite, Site, door_process

_CALLS = "pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,sendto,sendmsg,write,writev"


@pytest.fixture
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed (Debian's package of this name)")
    if subprocess.run([found, "-o", "/dev/null", "true"], capture_output=True).returncode != 0:
        pytest.skip("this system does not let processes be traced")
    return found


@pytest.mark.parametrize("replaces", [False, True])
async def test_close_is_answered_when_file_and_name_are_on_the_disk(site: Site, strace: str, replaces: bool) -> None:
    """FAULTS S15: the bytes, their fsync, the name, the folder's fsync, and only then the next packet to the client."""
    trace = site.folder / "trace"
    if replaces:
        (site.spool.drop("acme") / "users.csv").write_text("old")
    async with (
        door_process(site.folder, strace, "-f", "-y", "-o", str(trace), "-e", f"trace={_CALLS}") as door,
        site.connect(port=door.port, known_hosts=None) as connection,
    ):
        sftp = await connection.start_sftp_client()
        async with sftp.open("users.csv", "wb") as file:
            await file.write(b"some bytes")
            await file.fsync()
    steps = _steps(trace.read_text().splitlines())
    names = [name for name, _ in steps]
    written = names.index("write bytes")
    asked = names.index("sync bytes", written)  # fsync@openssh.com is honoured
    synced, named, folder = (names.index(name, asked + 1) for name in ("sync bytes", "name", "sync drop"))
    assert written < asked < synced < named < folder
    # packets before these acknowledge WRITE and fsync; none goes out while CLOSE is at work
    sent = [place for place, name in enumerate(names) if name == "packet"]
    assert [place for place in sent if asked < place < synced]
    assert not [place for place in sent if synced <= place < folder]
    assert [place for place in sent if place > folder]


def _steps(lines: list[str]) -> list[tuple[str, str]]:
    """The steps of an upload in the order in which the system has done them; a call that was cut in two ends later."""
    begun: dict[str, str] = {}
    found: list[tuple[str, str]] = []
    for line in lines:
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", call):
            call = begun.pop(thread, "") + resumed[1]
        name = _step(call)
        if name is not None and " = -1 " not in call:
            found.append((name, call))
    return found


def _step(call: str) -> str | None:
    kind, _, rest = call.partition("(")
    if kind == "pwrite64":
        return "write bytes"
    if kind in ("fsync", "fdatasync"):
        path = re.match(r"\d+<([^>]*)>", rest)
        assert path is not None, call
        return "sync bytes" if "/parts/acme/" in path[1] else "sync drop" if path[1].endswith("/drops/acme") else None
    if kind.startswith(("rename", "link")):
        return "name" if "users.csv" in rest else None
    return "packet" if re.match(r"\d+<(TCP|socket):", rest) else None


# --- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte and sixty inodes under the spool."""
    spool = tmp_path / "spool"
    spool.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m,nr_inodes=60,mode=700", "tmpfs", str(spool)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True).returncode != 0:
        pytest.skip("a file system can be mounted by root only, and not in every container")
    yield spool
    subprocess.run(["umount", "--lazy", str(spool)], check=True)


async def test_full_disk_fails_the_upload_and_nothing_else(small_disk: Path, open_site: OpenSite) -> None:
    """FAULTS S3: a text, the same connection goes on, nothing is published, and uploads work when there is room."""
    async with open_site() as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        filler = small_disk / "filler"
        filler.write_bytes(bytes(800 * 1024))
        for size in (400_000, 2_000_000):
            with pytest.raises(asyncssh.SFTPFailure, match="could not store the file; nothing of it was kept"):
                await _put(sftp, "users.csv", size)
            assert (site.waiting(), site.parts(), site.published) == (set(), [], [])
        await _put(sftp, "small.csv", 100_000)  # what fits is taken all the same
        assert site.published == [("acme", "small.csv")]
        filler.unlink()
        await _put(sftp, "users.csv", 400_000)
        assert (site.spool.drop("acme") / "users.csv").read_bytes() == bytes(400_000)


async def _put(sftp: asyncssh.SFTPClient, name: str, size: int) -> None:
    async with sftp.open(name, "wb") as file:
        for place in range(0, size, 20_000):
            await file.write(bytes(20_000), place)


async def test_disk_without_inodes_refuses_new_uploads(small_disk: Path, open_site: OpenSite) -> None:
    """FAULTS S3: nothing can be made, and what is there can still be read."""
    async with open_site() as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        async with sftp.open("there.csv", "wb") as file:
            await file.write(b"x")
        fillers: list[Path] = []
        while True:
            try:
                (filler := small_disk / f"filler{len(fillers)}").touch()
            except OSError:
                break
            fillers.append(filler)
        with pytest.raises(asyncssh.SFTPFailure, match="Try again later"):
            await sftp.open("users.csv", "wb")
        assert (await sftp.stat("there.csv")).size == 1
        assert (site.waiting(), site.parts()) == ({"there.csv"}, [])
        for filler in fillers:
            await asyncio.to_thread(filler.unlink)
        async with sftp.open("users.csv", "wb") as file:
            await file.write(b"y")
        assert site.waiting() == {"there.csv", "users.csv"}

"""Storage that answers late or not at all stops those who use it, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import traceback

import asyncssh
import pytest
from structlog.testing import capture_logs

from ingest.door.account_drop import AccountDrop
from ingest.door.paths import Folder
from tests.door.conftest import Site, until
from tests.support.hanging_disk import hanging

FILES = 100_000 if os.environ.get("SEALDROP_LONG") else 10_000


async def test_real_storage_that_hangs_stops_no_other_account(site: Site) -> None:
    """FAULTS S20: forty sessions wait in the kernel for a file system that never answers; another account works."""
    async with contextlib.AsyncExitStack() as stack:
        logged = stack.enter_context(capture_logs())  # tracebacks in colours would take the loop's time
        connections = [await stack.enter_async_context(site.connect()) for _ in range(10)]
        clients = [await connection.start_sftp_client() for connection in connections for _ in range(4)]
        with hanging(site.spool.drop("acme")):
            requests = (_stored, _looked_at, _listed, _renamed)
            waiting = [asyncio.ensure_future(requests[n % 4](sftp, f"f{n}")) for n, sftp in enumerate(clients)]
            await until(lambda: _waiting_threads() >= len(clients) // 2)
            async with site.connect("globex") as other:
                sftp = await other.start_sftp_client()
                await _stored(sftp, "a")
                assert len(await sftp.listdir("/")) == 5
                await sftp.rename("a", "b")
            assert not any(task.done() for task in waiting)
        answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)
        assert all(isinstance(answer, asyncssh.SFTPError) for answer in answers), answers
        assert all("could not do this" in str(a) or "no such file" in str(a).lower() for a in answers), answers
        assert {record["action"] for record in logged if record["log_level"] == "error"} == {"door_request_failed"}
        # and when it is back, the same sessions go on
        await _stored(clients[0], "again")
    assert site.waiting("globex") == {"b"}
    assert site.waiting("acme") == {"again"}


def _waiting_threads() -> int:
    """How many threads of this process are in the middle of something in a drop."""
    stacks = [
        [code.f_code.co_filename for code, _ in traceback.walk_stack(top)] for top in sys._current_frames().values()
    ]
    return sum(any(file.endswith(("account_drop.py", "open_files.py")) for file in stack) for stack in stacks)


async def _stored(sftp: asyncssh.SFTPClient, name: str) -> None:
    async with sftp.open(name, "wb") as file:
        await file.write(b"x")


async def _looked_at(sftp: asyncssh.SFTPClient, name: str) -> None:
    await sftp.stat(name)


async def _listed(sftp: asyncssh.SFTPClient, _name: str) -> None:
    await sftp.listdir("/")


async def _renamed(sftp: asyncssh.SFTPClient, name: str) -> None:
    await sftp.rename("f", name)


async def test_many_files_are_listed_while_others_are_served(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS S19: the loop turns while the folder is read, and another session is answered before the listing is."""
    drop = site.spool.drop("acme")
    for number in range(FILES):
        (drop / f"{number}.csv").touch()
    turns = 0
    turned: list[int] = []

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    list_really = AccountDrop.list

    def listed(self: AccountDrop, folder: Folder) -> object:
        before = turns
        files = list_really(self, folder)
        turned.append(turns - before)
        return files

    monkeypatch.setattr(AccountDrop, "list", listed)
    async with site.connect() as connection, site.connect("globex") as other:
        busy, quick = await connection.start_sftp_client(), await other.start_sftp_client()
        turning = asyncio.create_task(turn())
        listing = asyncio.create_task(busy.listdir("/"))
        answered = 0
        while not listing.done():
            await quick.stat("/")
            answered += not listing.done()
        turning.cancel()
        assert len(await listing) == FILES + 4
    assert len(turned) == 1
    assert turned[0] > 10
    assert answered > 10

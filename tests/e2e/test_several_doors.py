"""Several real door processes on one port: what they let in together, and what is left when one of them ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import psutil
import pytest

from ingest.demo.sender import Uploader
from tests.support.served import SEALDROP, WAIT_S, sealdrop, wait_for

MANY = 40  # connections, of which the kernel gives each door some


class Doors:
    """An installation with the account ``acme``, served by as many doors as are started."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.config = folder / "installation" / "sealdrop.toml"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        named = {"port": self.port, "reuse_port": True, "shared_dir": folder, "penalty_exempt": "", **settings}
        self.environment = {f"SEALDROP_DOOR__{name.upper()}": str(value) for name, value in named.items()}
        self.processes: list[psutil.Popen] = []
        sealdrop("init", self.config.parent)
        key = Uploader.make_key(folder)
        self.run("account", "add", "acme", "--ssh-key", key, "--contact", "data@acme.example")

    def run(self, *arguments: object) -> str:
        return sealdrop("--config", self.config, *arguments, environment=self.environment)

    def start(self) -> psutil.Popen:
        log = self.folder / f"door{len(self.processes)}.log"
        with log.open("wb") as file:
            process = psutil.Popen(
                [str(SEALDROP), "--config", str(self.config), "serve", "--only", "door"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **self.environment},
            )
        self.processes.append(process)
        wait_for(lambda: "The door is open" in log.read_text() or None)
        return process

    async def connect(self, key: Path | None = None) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            "127.0.0.1", self.port, username="acme", client_keys=[str(key or self.folder / "id_ed25519")],
            known_hosts=None, config=None, agent_path=None,
        )  # fmt: skip

    @asynccontextmanager
    async def one_at_each(self) -> AsyncIterator[list[asyncssh.SSHClientConnection]]:
        """A connection to each door that runs, in their order."""
        found: dict[int, asyncssh.SSHClientConnection] = {}
        running = [process for process in self.processes if process.is_running()]
        for _ in range(MANY):
            connection = await self.connect()
            if (door := self.door_of(connection)) in found:
                connection.close()
                await connection.wait_closed()
            else:
                found[door] = connection
            if len(found) == len(running):
                break
        try:
            yield [found[process.pid] for process in running]
        finally:
            for connection in found.values():
                connection.abort()

    def door_of(self, connection: asyncssh.SSHClientConnection) -> int:
        """The process at the other end."""
        ours = connection.get_extra_info("sockname")[1]
        for process in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(other.raddr and other.raddr.port == ours for other in process.net_connections("tcp")):
                    return int(process.pid)
        raise AssertionError("no door has this connection")

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@contextlib.contextmanager
def doors(folder: Path, **settings: object) -> Iterator[Doors]:
    opened = Doors(folder, **settings)
    try:
        opened.start()
        opened.start()
        yield opened
    finally:
        opened.close()


async def _refused(connecting: Doors, key: Path | None = None) -> bool:
    try:
        async with await connecting.connect(key) as connection:
            await connection.start_sftp_client()  # one too many of an account is told so after its login
    except (asyncssh.Error, OSError):
        return True
    return False


async def _write(file: asyncssh.SFTPClientFile, size: int, place: int = 0) -> None:
    for start in range(place, place + size, 10_000):
        await file.write(bytes(min(10_000, place + size - start)), start)


async def test_fences_hold_over_all_doors(tmp_path: Path) -> None:
    """FAULTS S6, S7, S12, S17: connections, bytes, files, names and penalties, whichever door a client comes to."""
    limits = {"max_connections_per_account": 6, "max_account_bytes": 300_000, "max_account_files": 3}
    with doors(tmp_path, **limits) as both:
        async with both.one_at_each() as (first, second):
            one, two = await first.start_sftp_client(), await second.start_sftp_client()

            # bytes: what the other door's upload has grown by a moment ago counts at once
            large, small = await one.open("large", "wb", encoding=None), await two.open("small", "wb", encoding=None)
            await _write(small, 50_000)
            await _write(large, 250_000)
            with pytest.raises(asyncssh.SFTPError, match="at most 300 kB"):
                await small.write(b"x", 50_000)
            await large.close()

            # names: one winner, also against a rename
            again = await one.open("small", "wb", encoding=None)
            with pytest.raises(asyncssh.SFTPFailure, match="being uploaded in another session"):
                await two.open("small", "wb")
            for rename in (two.rename, two.posix_rename):
                with pytest.raises(asyncssh.SFTPFailure, match="being uploaded in another session"):
                    await rename("large", "small")
            await again.write(b"x", 0)
            await again.close()

            # files
            async with two.open("third", "wb") as third:
                await third.write(b"x")
            with pytest.raises(asyncssh.SFTPError, match="at most 3 files"):
                await one.open("fourth", "wb")

            # connections of an account, and then penalties: of a stranger, who shuts out the whole address
            others = [await both.connect() for _ in range(4)]
            assert [await _refused(both) for _ in range(6)] == [True] * 6
            for other in others:
                other.abort()
            stranger = tmp_path / "stranger"
            asyncssh.generate_private_key("ssh-ed25519").write_private_key(stranger)
            stranger.chmod(0o600)
            for _ in range(6):
                await _refused(both, stranger)
            assert [await _refused(both) for _ in range(12)] == [True] * 12
            await one.stat("/")
            await two.stat("/")


async def test_door_that_is_killed_counts_no_more_and_one_that_drains_hinders_nobody(tmp_path: Path) -> None:
    """FAULTS S6, S13: SIGKILL of one door, then SIGTERM of another, with clients at each."""
    with doors(tmp_path, max_connections=5, max_unauthenticated=100, drain_s=WAIT_S) as both:
        async with both.one_at_each() as (first, second):
            killed, _ = both.processes
            more = [await both.connect() for _ in range(3)]
            lost = [one for one in [first, second, *more] if both.door_of(one) == killed.pid]
            assert [await _refused(both) for _ in range(8)] == [True] * 8
            upload = await (await first.start_sftp_client()).open("users.csv", "wb", encoding=None)
            await upload.write(b"half of it", 0)
            killed.kill()
            killed.wait()
            for connection in lost:
                await connection.wait_closed()
            more += [await _connected(both) for _ in lost]  # its places are free, and no more than these
            assert [await _refused(both) for _ in range(8)] == [True] * 8

            # a new door goes on with what the killed one has left, and the old one ends in order
            for connection in more:
                connection.abort()
            both.start()
            old = both.processes[1]
            running = await (await second.start_sftp_client()).open("running.csv", "wb", encoding=None)
            await running.write(b"all ", 0)
            old.send_signal(signal.SIGTERM)
            while (new := await _connected(both)) and both.door_of(new) == old.pid:
                new.abort()
            sftp = await new.start_sftp_client()
            assert (await sftp.stat("users.csv")).size == len("half of it")
            assert old.poll() is None  # it waits for its upload
            await running.write(b"of it", 4)
            await running.close()
            assert await asyncio.to_thread(old.wait, WAIT_S) == 0
            assert {"running.csv", "users.csv"} <= set(map(str, await sftp.listdir("/")))
            new.abort()


async def _connected(to: Doors) -> asyncssh.SSHClientConnection:
    """A connection, as soon as one is let in."""
    async with asyncio.timeout(WAIT_S):
        while True:
            with contextlib.suppress(asyncssh.Error, OSError):
                return await to.connect()
            await asyncio.sleep(0.05)

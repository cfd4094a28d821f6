"""A real door on a free port, accounts with real keys, and the system's own sftp client."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from ingest.disk import Disk
from ingest.door import Door, describe_host_key, make_host_key
from ingest.ledger.ssh_keys import Access
from ingest.settings import DiskSettings, DoorSettings
from ingest.spool import Spool
from ingest.ssh_keys import read_ssh_key


@dataclass
class Answer:
    """What a client program did."""

    code: int
    out: str
    err: str


@dataclass
class DoorProcess:
    """A door in a process of its own."""

    process: asyncio.subprocess.Process
    port: int


@dataclass
class Site:
    """One door with the accounts ``acme`` and ``globex``."""

    door: Door
    spool: Spool
    folder: Path
    published: list[tuple[str, str]]
    accesses: dict[str, Access]

    def key(self, account: str) -> Path:
        return self.folder / f"{account}.key"

    @property
    def ssh_options(self) -> list[str]:
        return [
            "-F",
            "/dev/null",
            "-o",
            f"UserKnownHostsFile={self.folder / 'known_hosts'}",
            "-o",
            "GlobalKnownHostsFile=/dev/null",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
        ]

    async def sftp(
        self, *lines: str, account: str = "acme", key: Path | None = None, extra: Sequence[str] = ()
    ) -> Answer:
        """Run the system's sftp with one command a line; it stops at the first that fails."""
        batch = self.folder / "batch"
        batch.write_text("\n".join(lines) + "\n")
        return await self.program(
            "sftp",
            *self.ssh_options,
            *extra,
            "-i",
            str(key or self.key(account)),
            "-P",
            str(self.door.port),
            "-b",
            str(batch),
            f"{account}@127.0.0.1",
        )

    async def ssh(self, *arguments: str, account: str = "acme") -> Answer:
        return await self.program(
            "ssh",
            *self.ssh_options,
            "-i",
            str(self.key(account)),
            "-p",
            str(self.door.port),
            *arguments[:-1],
            f"{account}@127.0.0.1",
            arguments[-1],
        )

    async def program(self, *command: str) -> Answer:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
        )
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode is not None
        return Answer(process.returncode, out.decode(), err.decode())

    def connect(
        self, account: str = "acme", **options: object
    ) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
        arguments: dict[str, object] = {
            "username": account,
            "client_keys": [str(self.key(account))],
            "known_hosts": str(self.folder / "known_hosts"),
            "config": None,
            "agent_path": None,
        }
        port = options.pop("port", self.door.port)
        connection: AbstractAsyncContextManager[asyncssh.SSHClientConnection] = asyncssh.connect(
            "127.0.0.1", port, **(arguments | options)
        )
        return connection

    def parts(self) -> list[Path]:
        return [path for path in (self.spool.root / "parts").glob("*/*") if path.is_file()]

    def unfinished(self, account: str = "acme") -> dict[str, bytes]:
        """The uploads that nobody writes any more, and that can be continued."""
        return {part.name: part.read_bytes() for part in self.spool.parts(account).iterdir() if not _is_locked(part)}

    def waiting(self, account: str = "acme") -> set[str]:
        return {path.name for path in self.spool.drop(account).iterdir() if path.is_file()}


def _is_locked(part: Path) -> bool:
    with part.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


@asynccontextmanager
async def door_process(folder: Path, *before: str, **settings: object) -> AsyncIterator[DoorProcess]:
    """A door in a process of its own, on the spool in ``folder``; run by the program ``before`` it, if one is given.

    What it logs is in ``door.log``.
    """
    log = (folder / "door.log").open("ab")
    process = await asyncio.create_subprocess_exec(
        *before, sys.executable, "-m", "tests.door.door_process", str(folder), json.dumps(settings, default=str),
        stdout=asyncio.subprocess.PIPE, stderr=log, cwd=Path(__file__).parents[2], start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = b""
        while not line.startswith(b"port "):
            line = await asyncio.wait_for(process.stdout.readline(), 60)
            assert line, f"the door did not open: {(folder / 'door.log').read_text()}"
        yield DoorProcess(process, int(line.split()[1]))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
        log.close()


async def until(fact: Callable[[], bool]) -> None:
    """Wait at most five seconds for something that the door does by itself."""
    for _ in range(1000):
        if fact():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


OpenSite = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys of two accounts and of a stranger."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("acme", "globex", "stranger"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / f"{name}.key")
        key.write_public_key(folder / f"{name}.pub")
        (folder / f"{name}.key").chmod(0o600)
    return folder


@pytest.fixture
def open_site(tmp_path: Path, keys: Path) -> OpenSite:
    """Opens a door with other settings, or another ``published``."""

    for path in keys.iterdir():  # beside the files that a test makes, so that the clients run in one folder
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o600)

    @asynccontextmanager
    async def opened(
        published: Callable[[str, str], Awaitable[None]] | None = None, **settings: object
    ) -> AsyncIterator[Site]:
        host_key = tmp_path / "host_key"
        if not host_key.exists():  # a second door on the same spool has the same
            make_host_key(host_key)
        spool = Spool(tmp_path / "spool")
        spool.prepare()
        for account in ("acme", "globex"):
            spool.open_account(account)

        async def accesses(accounts: Collection[str]) -> dict[str, Access]:
            return {account: known[account] for account in accounts if account in known}

        known = {name: Access((read_ssh_key((keys / f"{name}.pub").read_text()),)) for name in ("acme", "globex")}
        recorded: list[tuple[str, str]] = []

        async def note(account: str, name: str) -> None:
            recorded.append((account, name))

        defaults = {"host": "127.0.0.1", "port": 0, "host_key_file": host_key, "shared_dir": tmp_path}
        door = Door(
            DoorSettings.model_validate(defaults | settings),
            spool,
            accesses=accesses,
            published=published or note,
            disk=Disk([spool.root], DiskSettings(min_free_bytes=0, min_free_inodes=0)),
        )
        site = Site(door, spool, tmp_path, recorded, known)
        await door.start()
        line = describe_host_key(host_key).known_hosts_line("127.0.0.1", door.port)
        with (tmp_path / "known_hosts").open("a") as known_hosts:
            known_hosts.write(line + "\n")
        try:
            yield site
        finally:
            await door.drain(0.1)

    return opened


@pytest.fixture
async def site(open_site: OpenSite) -> AsyncIterator[Site]:
    async with open_site() as opened:
        yield opened

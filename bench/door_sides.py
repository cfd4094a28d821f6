"""The two servers that `bench.door` compares: our door and OpenSSH's internal-sftp, each in processes of its own.

python -m bench.door_sides FOLDER SETTINGS     serves our door, prints its port (used by the bench itself)
"""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ingest.door import Door, make_host_key
from ingest.ledger.ssh_keys import Access
from ingest.logs import set_up_logs
from ingest.settings import DoorSettings
from ingest.spool import Spool
from ingest.ssh_keys import read_ssh_key

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
_WAIT_S = 30.0

ROOMY = {
    "max_connections": 3000,
    "max_connections_per_source": 3000,
    "max_connections_per_account": 3000,
    "max_unauthenticated": 3000,
    "random_drop_from": 3000,
    "max_account_bytes": 10**12,
    "allow_chacha20": True,
}


@dataclass(frozen=True)
class Side:
    """A running server: clients log in as ``user`` with ``key``; ``folder`` is where their files arrive."""

    name: str
    port: int
    user: str
    key: Path
    folder: Path
    process: psutil.Process

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def clear(self) -> None:
        for path in self.files():
            path.unlink()

    def memory(self) -> int:
        """Bytes that the server's processes have for themselves, in all."""
        total = 0
        for process in [self.process, *self.process.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_full_info().uss
        return total


@contextmanager
def our_door(folder: Path, key: Path) -> Iterator[Side]:
    """Our door on loopback, with the account ``bench``."""
    make_host_key(folder / "door_host_key")
    command = [sys.executable, "-m", "bench.door_sides", str(folder), str(key) + ".pub", json.dumps(ROOMY)]
    with (folder / "door.log").open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as door:
        assert door.stdout is not None
        try:
            line = b""
            while not line.startswith(b"port "):
                line = door.stdout.readline()
                if not line:
                    raise SystemExit((folder / "door.log").read_text())
            spool = Spool(folder / "spool")
            yield Side("sealdrop", int(line.split()[1]), "bench", key, spool.drop("bench"), psutil.Process(door.pid))
        finally:
            door.terminate()


@contextmanager
def openssh(folder: Path, key: Path) -> Iterator[Side]:
    """OpenSSH's server on loopback, with its internal-sftp, for this user."""
    drop = folder / "openssh"
    drop.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "openssh_host_key"], check=True)
    port = _free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder / 'openssh_host_key'}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {key}.pub\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nMaxStartups 3000\nMaxSessions 100\nUseDNS no\n"
        f"Subsystem sftp internal-sftp\nForceCommand internal-sftp -d {drop}\n"
        "Ciphers aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes256-ctr,chacha20-poly1305@openssh.com\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd lives before a login
    with (
        (folder / "sshd.log").open("wb") as log,
        subprocess.Popen([SSHD, "-D", "-e", "-f", str(config)], stdout=log, stderr=log) as sshd,
    ):
        try:
            _wait_for(port, sshd, folder / "sshd.log")
            yield Side("openssh", port, getpass.getuser(), key, drop, psutil.Process(sshd.pid))
        finally:
            sshd.terminate()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"sshd did not start:\n{log.read_text()}")


async def _serve(folder: Path, public_key: Path, settings: dict[str, object]) -> None:
    access = Access((read_ssh_key(await asyncio.to_thread(public_key.read_text)),))
    spool = Spool(folder / "spool")
    spool.prepare()
    spool.open_account("bench")

    async def accesses(_accounts: Collection[str]) -> dict[str, Access]:
        return {"bench": access}

    async def published(account: str, name: str) -> None:
        """Nothing collects here: OpenSSH's server does nothing after a CLOSE either."""

    given = {"port": 0, "host_key_file": folder / "door_host_key", **settings}
    door = Door(DoorSettings.model_validate(given), spool, accesses=accesses, published=published)
    await door.start()
    print("port", door.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    set_up_logs("warning")
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])))

"""The door against OpenSSH's internal-sftp: the same client, the same files, the same run, on loopback.

    python -m bench.door --json

The client is OpenSSH's own sftp. Files arrive in a folder in memory where the system has one, so that ciphers and
protocol are measured and not the disk: our door brings each file to the disk before it answers CLOSE, OpenSSH does not.
Prints MB a second for one large put with each common cipher and for eight at once, files a second for small files, and
how idle sessions are held while an upload runs. Each figure is the best of some paired runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

from bench.door_sides import Side, openssh, our_door

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "chacha20-poly1305@openssh.com")
_CONNECTING_AT_ONCE = 20


def main() -> None:
    """Run the bench and print its figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--megabytes", type=int, default=500, help="size of the large put")
    arguments.add_argument("--files", type=int, default=500, help="number of small files")
    arguments.add_argument("--sessions", type=int, default=1000, help="idle sessions")
    arguments.add_argument("--runs", type=int, default=3, help="paired runs; the best of each side counts")
    arguments.add_argument("--folder", type=Path, default=_in_memory(), help="where files arrive")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="sealdrop-bench-door-", dir=given.folder) as name:
        figures = _measure(Path(name), given)
    if given.json:
        print(json.dumps(figures, indent=2))
        return
    for what, values in figures.items():
        print(
            f"{what:36} {values if not isinstance(values, dict) else '  '.join(f'{k} {v}' for k, v in values.items())}"
        )


def _in_memory() -> Path | None:
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and shutil.disk_usage(shared).free > 4_000_000_000 else None


def _measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    large = _random_file(folder / "large", given.megabytes * 1_000_000)
    eighth = _random_file(folder / "eighth", given.megabytes * 1_000_000 // 8)
    small = [_random_file(folder / f"small{number}", 1000) for number in range(given.files)]
    with our_door(folder, key) as ours, openssh(folder, key) as theirs:
        sides = (ours, theirs)
        figures: dict[str, Any] = {}
        for cipher in CIPHERS:
            put = partial(_put, folder=folder, files=[large], cipher=cipher)
            figures[f"put_mb_per_s {cipher}"] = _compared(sides, given.runs, given.megabytes, put)
        figures["put_8_at_once_mb_per_s"] = _compared(
            sides, given.runs, given.megabytes, lambda side: _put_at_once(side, folder, eighth)
        )
        figures["small_files_per_s"] = _compared(sides, given.runs, given.files, lambda side: _put(side, folder, small))
    (folder / "door_host_key").unlink()
    with our_door(folder, key) as fresh:  # memory that earlier work has left would hide what sessions need
        figures["idle"] = asyncio.run(_idle(fresh, folder, large, given.sessions, given.megabytes))
    return figures


def _random_file(path: Path, size: int) -> Path:
    with Path("/dev/urandom").open("rb") as source, path.open("wb") as target:
        while size > 0:
            size -= target.write(source.read(min(size, 1 << 20)))
    return path


def _compared(
    sides: tuple[Side, Side], runs: int, amount: float, work: Callable[[Side], float]
) -> dict[str, float | str]:
    """Amount a second of each side, the runs of the two taking turns."""
    best = {side.name: 0.0 for side in sides}
    for _ in range(runs):
        for side in sides:
            best[side.name] = max(best[side.name], amount / work(side))
            side.clear()
    ours, theirs = (best[side.name] for side in sides)
    return {**{name: round(value, 1) for name, value in best.items()}, "ratio": round(ours / theirs, 2)}


def _command(side: Side, folder: Path, batch: Path, cipher: str) -> list[str]:
    options = {
        "Ciphers": cipher, "BatchMode": "yes", "IdentitiesOnly": "yes", "IdentityAgent": "none",
        "StrictHostKeyChecking": "no", "UserKnownHostsFile": str(folder / "known_hosts"), "LogLevel": "ERROR",
    }  # fmt: skip
    named = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    login = ["-i", str(side.key), "-P", str(side.port), "-b", str(batch), f"{side.user}@127.0.0.1"]
    return ["sftp", "-q", "-F", "/dev/null", *named, *login]


def _put(side: Side, folder: Path, files: list[Path], cipher: str = CIPHERS[0]) -> float:
    """Seconds from the start of the client to its end."""
    batch = folder / f"batch-{side.name}"
    batch.write_text("".join(f"put {file}\n" for file in files))
    start = time.perf_counter()
    subprocess.run(_command(side, folder, batch, cipher), check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    _check_arrived(side, sum(file.stat().st_size for file in files))
    return seconds


def _put_at_once(side: Side, folder: Path, file: Path) -> float:
    commands = []
    for number in range(8):
        batch = folder / f"batch-{side.name}-{number}"
        batch.write_text(f"put {file} f{number}\n")
        commands.append(_command(side, folder, batch, CIPHERS[0]))
    start = time.perf_counter()
    clients = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    codes = [client.wait() for client in clients]
    seconds = time.perf_counter() - start
    if any(codes):
        raise SystemExit(f"a client of {side.name} failed")
    _check_arrived(side, 8 * file.stat().st_size)
    return seconds


def _check_arrived(side: Side, size: int) -> None:
    arrived = sum(path.stat().st_size for path in side.files())
    if arrived != size:
        raise SystemExit(f"{side.name}: {arrived} bytes arrived, {size} were sent")


async def _idle(side: Side, folder: Path, large: Path, sessions: int, megabytes: int) -> dict[str, float]:
    """Hold idle sessions, and put a large file while they are there."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    before = side.memory()
    gate = asyncio.Semaphore(_CONNECTING_AT_ONCE)
    start = time.perf_counter()

    async def one(stack: AsyncExitStack) -> None:
        async with gate:
            connection = await asyncssh.connect(
                "127.0.0.1", side.port, username=side.user, client_keys=[str(side.key)], known_hosts=None,
                config=None, agent_path=None, keepalive_interval=0,
            )  # fmt: skip
            stack.push_async_callback(connection.wait_closed)
            stack.callback(connection.close)
            await (await connection.start_sftp_client()).stat("/")

    async with AsyncExitStack() as stack:
        await asyncio.gather(*(one(stack) for _ in range(sessions)))
        logins_s = time.perf_counter() - start
        held = side.memory() - before
        seconds = await asyncio.to_thread(_put, side, folder, [large])
    side.clear()
    return {
        "sessions": sessions,
        "kb_per_session": round(held / sessions / 1000, 1),
        "logins_per_s": round(sessions / logins_s, 1),
        "put_mb_per_s_beside_them": round(megabytes / seconds, 1),
    }


if __name__ == "__main__":
    main()

"""Clients that take all they can get: places at the door, handles, time; and those that are gone without a word."""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path

import pytest

from ingest.door import server
from tests.door.conftest import OpenSite, Site, until
from tests.door.test_hostile_requests import _int, _text, raw
from tests.door.test_login import _greeting

FIRST, MOST = 10, 40
OPENS = 3000


async def test_real_sockets_are_dropped_by_chance_from_the_first_limit_on(open_site: OpenSite) -> None:
    """FAULTS S6: none below, all at the limit, in between the more the fewer places are left; a real client gets in."""
    random.seed(6)
    many = {"max_connections_per_source": 1000, "max_connections": 1000}
    async with open_site(random_drop_from=FIRST, max_unauthenticated=MOST, **many) as site, site.connect() as inside:
        sftp = await inside.start_sftp_client()
        for _ in range(2):
            waiting: list[asyncio.StreamWriter] = []
            refused: dict[int, int] = {}
            while len(waiting) < MOST:
                line, writer = await _greeting(site.door.port)
                if line.startswith(b"SSH-2.0-Sealdrop"):
                    waiting.append(writer)
                else:
                    writer.close()
                    refused[len(waiting)] = refused.get(len(waiting), 0) + 1
                assert sum(refused.values()) < 1000
            assert min(refused) >= FIRST
            middle = (FIRST + MOST) // 2
            lower = sum(times for at, times in refused.items() if at < middle)
            upper = sum(times for at, times in refused.items() if at >= middle)
            assert 0 < lower < upper
            for _ in range(20):
                line, writer = await _greeting(site.door.port)
                writer.close()
                assert line == b""
            async with sftp.open("a", "wb") as file:
                await file.write(b"x")
            for writer in waiting:
                writer.close()
            await until(lambda: len(site.door._occupancy.connections) == 1)
        assert (await site.sftp("ls")).code == 0


@pytest.mark.parametrize("kind", [3, 11])  # OPEN, OPENDIR
async def test_three_thousand_opens_without_a_close_are_bounded(site: Site, kind: int) -> None:
    """FAULTS S18: so are descriptors, parts and tasks; another session works, and what was open is given back."""
    most = site.door._settings.max_handles
    async with site.connect("globex") as other:
        sftp = await other.start_sftp_client()
        before, tasks = _descriptors(), len(asyncio.all_tasks())
        async with raw(site) as client:
            for number in range(OPENS):
                client.send(kind, _text(f"f{number}".encode()) + _int(0x1A) + _int(0) if kind == 3 else _text(b"/"))
            answers = asyncio.ensure_future(_received(client, OPENS))
            async with sftp.open("a", "wb") as file:
                await file.write(b"x")
            assert site.published == [("globex", "a")]
            assert await asyncio.wait_for(answers, 60) == [102] * most + [101] * (OPENS - most)
            assert _descriptors() <= before + most + 10
            assert len(asyncio.all_tasks()) <= tasks + 20
            assert len(site.parts()) == (most if kind == 3 else 0)
            await sftp.stat("/")
        await until(lambda: _descriptors() <= before + 5)
        async with raw(site) as client:
            assert (await client.ask(11, _text(b"/")))[0] == 102


async def _received(client: object, count: int) -> list[int]:
    return [(await client.receive())[0] for _ in range(count)]  # type: ignore[attr-defined]


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_client_that_vanished_is_ended_and_its_upload_is_free(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS S18: a real client that was stopped, with its socket open; one that is there answers and stays."""
    monkeypatch.setattr(server, "_KEEPALIVE_S", 1)
    site.door._options = await asyncio.to_thread(site.door._make_options, site.door._settings)
    async with site.connect() as there:
        sftp = await there.start_sftp_client()
        process = await asyncio.create_subprocess_exec(
            "ssh", *site.ssh_options, "-i", str(site.key("acme")), "-p", str(site.door.port), "-s", "acme@127.0.0.1",
            "sftp",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(
                _text(b"\x01" + _int(3)) + _text(b"\x03" + _int(7) + _text(b"a") + _int(0x1A) + _int(0))
            )
            for kind in (2, 102):
                size = int.from_bytes(await asyncio.wait_for(process.stdout.readexactly(4), 30), "big")
                assert (await process.stdout.readexactly(size))[0] == kind
            assert _connections(site) == 2
            process.send_signal(signal.SIGSTOP)
            async with asyncio.timeout(60):
                while _connections(site) > 1:
                    await asyncio.sleep(0.1)
                    await sftp.stat("/")
            await until(lambda: set(site.unfinished()) <= {"a"} and not site.door._uploads.is_open("acme", "a"))
            async with sftp.open("a", "wb") as file:
                await file.write(b"y")
            assert site.published == [("acme", "a")]
        finally:
            process.kill()
            await process.communicate()


def _connections(site: Site) -> int:
    return len(site.door._occupancy.connections)

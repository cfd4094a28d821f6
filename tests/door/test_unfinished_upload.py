"""Uploads whose client never asks for CLOSE, and the order of things at CLOSE."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
import struct
from contextlib import suppress
from pathlib import Path

import asyncssh
import pytest

from tests.door.conftest import OpenSite, Site, _is_locked, until


async def _half_an_upload(connection: asyncssh.SSHClientConnection, site: Site) -> asyncssh.SFTPClient:
    sftp = await connection.start_sftp_client()
    file = await sftp.open("users.csv", "wb")
    await file.write(b"half of it")
    assert len(site.parts()) == 1
    return sftp


async def test_reset_of_the_tcp_connection_publishes_nothing(site: Site) -> None:
    """FAULTS S13: RST mid-upload."""
    async with site.connect() as connection:
        await _half_an_upload(connection, site)
        raw: socket.socket = connection.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.abort()
    await until(lambda: site.unfinished() == {"users.csv": b"half of it"})
    assert (site.waiting(), site.published) == (set(), [])


async def _until_nobody_writes(part: Path) -> None:
    await until(lambda: not _is_locked(part))


async def test_reset_at_a_hundred_points_publishes_nothing_and_keeps_what_came(site: Site) -> None:
    """FAULTS S13: RST in the middle of packets; what is kept is the beginning of the file, never another's bytes."""
    content = random.Random(13).randbytes(300_000)
    for number in range(100):
        name = f"{number}.csv"
        async with site.connect() as connection:
            sftp = await connection.start_sftp_client()
            file = await sftp.open(name, "wb")
            await file.write(content[: 1 + number * 997])
            sending = asyncio.ensure_future(file.write(content[1 + number * 997 :], 1 + number * 997))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            raw: socket.socket = connection.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.abort()
            with suppress(asyncssh.Error):
                await sending
        await _until_nobody_writes(site.spool.parts("acme") / name)
    unfinished = site.unfinished()
    assert len(unfinished) == 100
    for number in range(100):
        kept = unfinished[f"{number}.csv"]
        assert len(kept) >= 1 + number * 997
        assert content.startswith(kept)
    assert (site.waiting(), site.published) == (set(), [])


async def test_clean_disconnect_with_an_open_file_publishes_nothing(site: Site) -> None:
    """FAULTS S13: the client says goodbye without CLOSE."""
    async with site.connect() as connection:
        await _half_an_upload(connection, site)
    await until(lambda: site.unfinished() == {"users.csv": b"half of it"})
    assert (site.waiting(), site.published) == (set(), [])


async def test_end_of_the_sftp_channel_without_close_publishes_nothing(site: Site) -> None:
    """FAULTS S13: EOF on the channel looks like CLOSE to the library's hook; the connection lives on."""
    async with site.connect() as connection:
        sftp = await _half_an_upload(connection, site)
        sftp.exit()
        await sftp.wait_closed()
        await until(lambda: site.unfinished() == {"users.csv": b"half of it"})
        assert (site.waiting(), site.published) == (set(), [])
        again = await connection.start_sftp_client()
        async with again.open("users.csv", "wb") as file:  # the name is free again
            await file.write(b"all of it")
    assert site.published == [("acme", "users.csv")]


async def test_broken_packet_publishes_nothing(site: Site) -> None:
    """FAULTS S25: the session ends, the door lives."""
    async with site.connect() as connection:
        writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None)
        writer.write(_packet(b"\x01" + _int(3)))
        await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
        writer.write(_packet(b"\x03" + _int(1) + _text(b"users.csv") + _int(0x1A) + _int(0)))
        await reader.readexactly(int.from_bytes(await reader.readexactly(4)))
        assert len(site.parts()) == 1
        writer.write(_int(2**32 - 1) + b"\x06")
        assert await reader.read() == b""
    await until(lambda: not site.parts())
    assert (site.waiting(), site.published) == (set(), [])
    assert (await site.sftp("ls")).code == 0


@pytest.mark.parametrize("stop_after", [0, 1, 50_000, 1_000_000, 3_000_000])
async def test_killed_client_publishes_nothing(site: Site, stop_after: int) -> None:
    """FAULTS S13: the real client is killed at several points of an upload."""
    with (site.folder / "large").open("wb") as file:
        file.truncate(900_000_000)
    process = await asyncio.create_subprocess_exec(
        "sftp", *site.ssh_options, "-i", str(site.key("acme")), "-P", str(site.door.port), "acme@127.0.0.1",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        cwd=site.folder, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(b"put large users.csv\n")
    await until(lambda: bool(site.parts()) and site.parts()[0].stat().st_size >= stop_after)
    os.killpg(process.pid, 9)
    await process.wait()
    await until(lambda: len(site.unfinished().get("users.csv", b"")) >= stop_after or stop_after == 0)
    await until(lambda: site.unfinished().keys() == {part.name for part in site.parts()})
    assert (site.waiting(), site.published) == (set(), [])


async def test_close_is_answered_only_after_the_file_is_recorded(open_site: OpenSite) -> None:
    """FAULTS S15: on disk, named, recorded, and only then OK."""
    order: list[str] = []
    record = asyncio.Event()

    async def published(account: str, name: str) -> None:
        assert (drop / name).read_bytes() == b"x"
        order.append("recording")
        await record.wait()
        order.append("recorded")

    async with open_site(published) as site, site.connect() as connection:
        drop: Path = site.spool.drop("acme")
        sftp = await connection.start_sftp_client()
        file = await sftp.open("a", "wb")
        await file.write(b"x")
        closing = asyncio.create_task(file.close())
        await asyncio.sleep(0.1)
        assert (order, closing.done()) == (["recording"], False)
        record.set()
        await closing
        assert order == ["recording", "recorded"]


async def test_failure_to_record_reaches_the_client_without_its_text(open_site: OpenSite) -> None:
    async def published(account: str, name: str) -> None:
        raise RuntimeError("password of the ledger: hunter2")

    async with open_site(published) as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        with pytest.raises(asyncssh.SFTPFailure, match="could not do this") as caught:
            async with sftp.open("a", "wb") as file:
                await file.write(b"x")
        assert "hunter2" not in str(caught.value)
        await sftp.rename("a", "a.part")
        with pytest.raises(asyncssh.SFTPFailure, match="could not do this"):
            await sftp.rename("a.part", "b")


async def test_second_upload_of_a_name_is_refused_while_the_first_runs(site: Site) -> None:
    """FAULTS S12: two sessions, same name; renames and removals keep away as well."""
    async with site.connect() as one, site.connect() as other:
        first, second = await one.start_sftp_client(), await other.start_sftp_client()
        file = await first.open("a", "wb")
        for attempt in (second.open("a", "wb"), first.open("a", "wb")):
            with pytest.raises(asyncssh.SFTPFailure, match="being uploaded in another session"):
                await attempt
        async with second.open("b.part", "wb") as part:
            await part.write(b"b")
        with pytest.raises(asyncssh.SFTPFailure, match="being uploaded in another session"):
            await second.posix_rename("b.part", "a")
        await file.write(b"a")
        await file.close()
        await second.posix_rename("b.part", "a")
        assert (site.spool.drop("acme") / "a").read_bytes() == b"b"


async def test_fifty_uploads_of_one_name_leave_one_whole_file(site: Site) -> None:
    """FAULTS S12: whoever wins, the bytes are those of one upload."""
    contents = [bytes([number]) * 200_000 for number in range(50)]

    async def upload(sftp: asyncssh.SFTPClient, content: bytes) -> bool:
        try:
            async with sftp.open("a", "wb") as file:
                await file.write(content)
        except asyncssh.SFTPFailure:
            return False
        return True

    async with site.connect() as one, site.connect() as other:
        clients = [await one.start_sftp_client(), await other.start_sftp_client()]
        won = await asyncio.gather(*(upload(clients[n % 2], content) for n, content in enumerate(contents)))
    digest = hashlib.sha256((site.spool.drop("acme") / "a").read_bytes()).digest()
    assert digest in {hashlib.sha256(c).digest() for c, ok in zip(contents, won, strict=True) if ok}
    assert len(site.published) == sum(won) >= 1


async def test_file_taken_at_once_is_still_seen_by_the_session_that_sent_it(site: Site) -> None:
    """Clients such as paramiko look at the size after CLOSE; an import may be quicker than they are."""
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        async with sftp.open("users.manifest", "wb") as file:
            await file.write(b"12345")
        assert site.spool.take("acme", "users.manifest", "id", "manifest")
        assert (await sftp.stat("users.manifest")).size == 5
        await sftp.utime("users.manifest", (1, 1))
        assert "users.manifest" not in await sftp.listdir("/")
        with pytest.raises(asyncssh.SFTPNoSuchFile, match="An import may have taken it"):
            await sftp.open("users.manifest", "rb")


def _int(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _text(value: bytes) -> bytes:
    return _int(len(value)) + value


def _packet(payload: bytes) -> bytes:
    return _text(payload)

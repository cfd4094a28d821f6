"""Requests that no friendly client sends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.door.paths import File, Folder, place_of
from ingest.spool import is_allowed_name, is_result_name
from tests.door.conftest import OpenSite, Site, until

_HOSTILE = [
    *("..", "../acme", "../../etc/passwd", "/../../etc/passwd", "x/../../y", "/etc/passwd", "//etc//passwd", "a/.."),
    *(
        "results/../..//x",
        "results/../../globex/secret",
        "results/x/y",
        "results/..x",
        "globex/secret",
        "./../globex/x",
    ),
    *("%2e%2e/x", "..%2fx", "a\\b", "\\..\\x", "a ", "a.", ".a", "-rf", "é", "a\u0301", "ａ", "\u202egpg.csv"),
    *("a\nb", "a\x1b[31m", "a\x00b", "a\x00", "n" * 129, "n" * 256, "a;b", "a|b", "$(id)", "`id`", "a*", "a?", "C:x"),
]


class Raw:
    """SFTP packets by hand."""

    def __init__(self, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, kind: int, payload: bytes) -> tuple[int, bytes]:
        """Kind and payload of the answer, after the request ID."""
        self.send(kind, payload)
        return await self.receive()

    def send(self, kind: int, payload: bytes) -> None:
        self._writer.write(_text(bytes([kind]) + _int(7) + payload))

    async def receive(self) -> tuple[int, bytes]:
        packet = await self._reader.readexactly(int.from_bytes(await self._reader.readexactly(4), "big"))
        return packet[0], packet[5:]


@asynccontextmanager
async def raw(site: Site, version: int = 3, **options: object) -> AsyncIterator[Raw]:
    async with site.connect(**options) as connection:  # type: ignore[arg-type]
        writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None)
        writer.write(_text(b"\x01" + _int(version)))
        greeting = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
        assert greeting[:5] == b"\x02" + _int(3)
        yield Raw(reader, writer)


@pytest.mark.parametrize("path", _HOSTILE)
async def test_no_path_leads_out_of_the_drop(site: Site, path: str) -> None:
    """FAULTS S10, S16: traversal, encodings, look-alikes, control characters, lengths: refused with the rule."""
    (site.spool.drop("globex") / "secret").write_text("x")
    before = _all_files(site)
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        for attempt in (
            lambda: sftp.open(path, "wb"),
            lambda: sftp.open(path, "rb"),
            lambda: sftp.remove(path),
            lambda: sftp.rename(path, "y"),
            lambda: sftp.posix_rename(path, "y"),
            lambda: sftp.setstat(path, asyncssh.SFTPAttrs(size=0)),
        ):
            with pytest.raises(asyncssh.SFTPError) as caught:
                await attempt()
            assert "Uncaught" not in caught.value.reason
            assert caught.value.reason.isprintable()
    assert _all_files(site) == before


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.text("./\\a ~%\0é-", max_size=20).map(str.encode)))
def test_every_path_is_one_of_two_folders_or_an_allowed_name_in_one(path: bytes) -> None:
    """FAULTS S10: whatever comes in, no separator and no dot name comes out."""
    try:
        place = place_of(path)
    except asyncssh.SFTPInvalidFilename:
        return
    if isinstance(place, File):
        allowed = is_allowed_name if place.folder == "drop" else is_result_name
        assert allowed(place.name)
        assert not place.name.startswith(".")
        assert "/" not in place.name
    assert place_of(str(place).encode()) == place


@pytest.mark.parametrize("path", [b"", b".", b"/", b"//", b"/.", b"./.", b"/..", b"results/..", b"/results/../"])
def test_ways_to_say_the_root(path: bytes) -> None:
    assert place_of(path) == Folder(results=False)


async def test_file_with_a_second_name_elsewhere_is_never_written_through(site: Site) -> None:
    """FAULTS S1: a hard link in the drop is one of its files, as a publish that a crash cut off leaves it.

    Whatever a client sends under its name is another file, and removing it takes away the name only.
    """
    outside = site.folder / "outside"
    outside.write_text("of another")
    for name in ("a", "b.part", "c", "d"):
        os.link(outside, site.spool.drop("acme") / name)
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        for name in ("a", "b.part"):
            for flags in (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND, asyncssh.FXF_WRITE):
                with pytest.raises(asyncssh.SFTPError):
                    await (await sftp.open(name, flags)).write("x", 0)
        async with sftp.open("c", "wb") as file:
            await file.write(b"mine")
        await sftp.remove("d")
    assert outside.read_text() == "of another"
    assert (site.spool.drop("acme") / "c").read_text() == "mine"


async def test_links_planted_from_outside_are_not_followed(site: Site) -> None:
    """FAULTS S1: neither as a file, nor as the results folder; a planted pipe does not block."""
    secret = site.folder / "secret.d"
    secret.mkdir()
    (secret / "report").write_text("secret")
    drop = site.spool.drop("acme")
    (drop / "link").symlink_to(secret / "report")
    os.mkfifo(drop / "pipe")
    site.spool.results("acme").rmdir()
    (drop / "results").symlink_to(secret)
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        assert sorted(map(str, await sftp.listdir("/"))) == [".", "..", "README.txt", "results"]
        for path in ("link", "pipe", "results/report"):
            for attempt in (sftp.open(path, "rb"), sftp.stat(path)):
                with pytest.raises(asyncssh.SFTPError) as caught:
                    await attempt
                assert str(site.folder) not in caught.value.reason
        with pytest.raises(asyncssh.SFTPError):
            await sftp.listdir("/results")
        async with sftp.open("link", "wb") as file:  # the name is taken over, not what it leads to
            await file.write(b"mine")
    assert (secret / "report").read_text() == "secret"
    assert (drop / "link").read_text() == "mine"


async def test_byte_far_behind_the_end_is_refused(open_site: OpenSite) -> None:
    """FAULTS S11: the limit holds for the offset, not for the bytes sent; sizes cannot be set."""
    async with open_site(max_file_bytes=1000) as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        file = await sftp.open("a", "wb")
        with pytest.raises(asyncssh.SFTPError, match="size of a file cannot be set"):
            await file.setstat(asyncssh.SFTPAttrs(size=2**43))
        await file.write(b"x" * 999, 0)
        await file.setstat(asyncssh.SFTPAttrs(size=999, uid=0, gid=0, permissions=0o4777, atime=1, mtime=1))
        for offset in (1000, 2**42, 2**63 - 1):
            with pytest.raises(asyncssh.SFTPError, match=r"at most 1 kB \(1,000 bytes\)"):
                await file.write(b"x", offset)
        assert site.parts() == []
        with pytest.raises(asyncssh.SFTPError, match="at most 1 kB"):
            await file.close()
        assert site.waiting() == set()


async def test_packets_out_of_order_make_the_same_file(site: Site) -> None:
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        async with sftp.open("a", "wb") as file:
            await file.write(b"CC", 4)
            await file.write(b"AA", 0)
            await file.write(b"BB", 2)
    assert (site.spool.drop("acme") / "a").read_bytes() == b"AABBCC"


async def test_read_of_four_gigabytes_is_capped(site: Site) -> None:
    """LIBRARIES 1: a READ of 4 GiB reaches the hook as it is."""
    (site.spool.drop("acme") / "a").write_bytes(bytes(1_000_000))
    async with raw(site) as client:
        _, handle = await client.ask(3, _text(b"a") + _int(1) + _int(0))
        kind, data = await client.ask(5, handle + bytes(8) + _int(2**32 - 1))
        assert (kind, len(data) - 4) == (103, 256 * 1024)
        kind, status = await client.ask(6, handle + bytes(8) + _text(b"x"))
        assert (kind, status[:4]) == (101, _int(3))
        assert b"opened for reading only" in status
        for offset in (2**64 - 1, 2**63, 2**63 - 1):
            assert (await client.ask(5, handle + offset.to_bytes(8, "big") + _int(1)))[0] == 101


async def test_client_that_never_reads_answers_does_not_fill_the_memory(site: Site) -> None:
    """Answers wait for their reader: 2000 READs of 256 KiB would be 500 MB."""
    (site.spool.drop("acme") / "a").write_bytes(bytes(256 * 1024))
    async with site.connect() as connection:
        writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None, window=65536)
        writer.write(_text(b"\x01" + _int(3)))
        await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
        client = Raw(reader, writer)
        _, handle = await client.ask(3, _text(b"a") + _int(1) + _int(0))
        before = _resident_bytes()
        for _ in range(2000):
            client.send(5, handle + bytes(8) + _int(256 * 1024))
        await asyncio.sleep(0.3)
        assert _resident_bytes() - before < 50_000_000


async def test_copy_data_and_other_extensions_are_neither_offered_nor_done(site: Site) -> None:
    """FAULTS S2: sent raw, they are answered with OP_UNSUPPORTED."""
    async with site.connect() as connection:
        writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None)
        writer.write(_text(b"\x01" + _int(3)))
        greeting = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
        names = [b"posix-rename@openssh.com", b"fsync@openssh.com", b"limits@openssh.com"]
        assert greeting[5:] == b"".join(_text(name) + _text(b"1") for name in names)
    async with raw(site) as client:
        for name in (b"copy-data", b"hardlink@openssh.com", b"statvfs@openssh.com", b"lsetstat@openssh.com", b"no"):
            kind, status = await client.ask(200, _text(name) + _text(b"a") * 2 + bytes(24))
            assert (kind, status[:4]) == (101, _int(8))
        for number in (21, 22, 23, 99):  # LINK, BLOCK, UNBLOCK of later versions, and nothing
            assert (await client.ask(number, _text(b"a") * 3))[1][:4] == _int(8)


async def test_later_protocol_versions_get_version_three(site: Site) -> None:
    """STYLE 1.7: clients of version 5 and 6 would arrive at another hook."""
    async with raw(site, version=6) as client:
        _, handle = await client.ask(3, _text(b"a") + _int(0x1A) + _int(0))  # flags as version 3 has them
        assert (await client.ask(4, handle))[1][:4] == _int(0)
    assert site.published == [("acme", "a")]


async def test_open_handles_are_bounded_and_given_back(open_site: OpenSite) -> None:
    """FAULTS S18: opendir without close counts as well."""
    async with open_site(max_handles=3) as site:
        (site.spool.drop("acme") / "a").write_text("x")
        async with raw(site) as client:
            _, first = await client.ask(3, _text(b"a") + _int(1) + _int(0))
            assert (await client.ask(3, _text(b"b") + _int(0x1A) + _int(0)))[0] == 102
            assert (await client.ask(11, _text(b"/")))[0] == 102
            for kind, payload in ((11, _text(b"/")), (3, _text(b"a") + _int(1) + _int(0))):
                answer, status = await client.ask(kind, payload)
                assert (answer, b"at most" in status or b"may have 3" in status) == (101, True)
            assert (await client.ask(4, first))[1][:4] == _int(0)
            assert (await client.ask(11, _text(b"/")))[0] == 102


async def test_sessions_of_a_connection_are_bounded(site: Site) -> None:
    """FAULTS S18: four at once, and again when one has ended."""
    async with site.connect() as connection:
        clients = [await connection.start_sftp_client() for _ in range(4)]
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.start_sftp_client()
        clients[0].exit()
        await clients[0].wait_closed()
        await asyncio.sleep(0.05)
        await connection.start_sftp_client()


async def test_forwarding_and_variables_are_refused(site: Site) -> None:
    """FAULTS S22: ports, sockets, tunnels, terminals, commands."""
    async with site.connect() as connection:
        for attempt in (
            connection.open_connection("127.0.0.1", site.door.port),
            connection.open_unix_connection("/run/x"),
            connection.create_tun(lambda: asyncssh.SSHTunTapSession()),
            connection.create_process("id"),
            connection.create_process(None, term_type="xterm"),
            connection.create_process(subsystem="netconf"),
        ):
            with pytest.raises(asyncssh.ChannelOpenError):
                await attempt
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("", 0, "127.0.0.1", 1)
        await connection.start_sftp_client(env={"LD_PRELOAD": "x"})  # ignored, as OpenSSH does
    assert site.published == []


async def test_garbage_ends_the_session_and_not_the_door(site: Site) -> None:
    """FAULTS S25: packets of random content under every type."""
    for number in range(0, 256, 3):
        async with raw(site) as client:
            for size in (0, 1, 4, 9, 40):
                client.send(number, os.urandom(size))
            client._writer.write(_int(3) + b"\x03\x00\x00")  # shorter than its own head
            client._writer.write_eof()
    assert (await site.sftp("ls")).code == 0
    await until(lambda: not site.parts())


@pytest.mark.parametrize(
    "sent", [b"", b"\0\0", b"\0\0\0\x05\x01", b"\0\0\0\0", b"\xff" * 4, b"\0\0\0\x05\x03\0\0\0\x03"]
)
async def test_session_that_ends_before_it_has_begun_ends_no_other(site: Site, sent: bytes) -> None:
    """FAULTS S25: found by fuzzing; the library would end the connection, with the upload of another session on it."""
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        async with sftp.open("a", "wb") as file:
            writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None)
            writer.write(sent)
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 30) == b""
            await file.write(b"x")
    assert site.published == [("acme", "a")]


async def test_session_on_a_drop_that_cannot_be_opened_ends_no_other(site: Site) -> None:
    """FAULTS S1, S25: what should be a folder is a link; the client hears nothing of this machine."""
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        drop, away = site.spool.drop("acme"), site.folder / "away"
        drop.rename(away)
        drop.symlink_to(away)
        site.spool.results("acme").rmdir()
        with pytest.raises(asyncssh.SFTPError) as caught:
            await connection.start_sftp_client()
        assert str(site.folder) not in str(caught.value)
        assert not (away / "results").exists()
        drop.unlink()
        away.rename(drop)
        await sftp.stat("/")


def _all_files(site: Site) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in site.spool.root.rglob("*") if path.is_file()}


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _int(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _text(value: bytes) -> bytes:
    return _int(len(value)) + value

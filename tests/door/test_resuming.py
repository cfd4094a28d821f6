"""Uploads that are interrupted and continued, and names that are given at the end."""

from __future__ import annotations

import asyncio
import os
import random
import time

import asyncssh
import pytest
from asyncssh import FXF_APPEND, FXF_CREAT, FXF_READ, FXF_TRUNC, FXF_WRITE

from tests.door.conftest import OpenSite, Site, door_process, until

CONTENT = random.Random(7).randbytes(400_000)


async def _leave_unfinished(site: Site, name: str, content: bytes) -> None:
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        file = await sftp.open(name, "wb")
        await file.write(content)
        connection.abort()
    await until(lambda: site.unfinished().get(name) == content)


async def test_reput_of_the_real_client_continues_where_it_was_cut(site: Site) -> None:
    """FAULTS S14: the rest is sent, and the file appears when it is closed."""
    (site.folder / "users.csv").write_bytes(CONTENT)
    await _leave_unfinished(site, "users.csv", CONTENT[:150_000])
    answer = await site.sftp("ls -l users.csv", "reput users.csv", "ls")
    assert answer.code == 0, answer.err
    assert "150000" in answer.out
    assert (site.spool.drop("acme") / "users.csv").read_bytes() == CONTENT
    assert site.published == [("acme", "users.csv")]
    assert site.parts() == []


@pytest.mark.parametrize(
    ("flags", "whole"),
    [
        (FXF_WRITE | FXF_CREAT, True),  # lftp put -c, WinSCP
        (FXF_WRITE, True),  # curl -C
        (FXF_READ | FXF_WRITE, True),  # paramiko "r+"
        (FXF_WRITE | FXF_APPEND, True),  # curl --append
        (FXF_WRITE | FXF_CREAT | FXF_TRUNC, False),  # from the beginning
    ],
)
async def test_open_without_truncation_continues(site: Site, flags: int, whole: bool) -> None:
    """FAULTS S14: each way in which clients say so."""
    await _leave_unfinished(site, "a", CONTENT[:1000])
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        assert (await sftp.stat("a")).size == 1000
        async with sftp.open("a", flags, encoding=None) as file:
            await file.write(CONTENT[1000:2000], None if flags & FXF_APPEND else 1000)
    expected = CONTENT[:2000] if whole else bytes(1000) + CONTENT[1000:2000]
    assert (site.spool.drop("acme") / "a").read_bytes() == expected


async def test_append_goes_to_the_end_whatever_the_offset(site: Site) -> None:
    await _leave_unfinished(site, "a", b"one ")
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        async with sftp.open("a", FXF_WRITE | FXF_APPEND, encoding=None) as file:
            await file.write(b"two ", 0)
            await file.write(b"three", 2)
    assert (site.spool.drop("acme") / "a").read_bytes() == b"one two three"


async def test_upload_cut_and_continued_at_many_points_is_the_same_file(site: Site) -> None:
    """FAULTS S13, S14: the connection breaks at random points, from the first byte on."""
    chance = random.Random(13)
    sent = 0
    while sent < len(CONTENT):
        async with site.connect() as connection:
            sftp = await connection.start_sftp_client()
            sent = 0 if sent == 0 else int((await sftp.stat("a")).size or 0)
            file = await sftp.open("a", FXF_WRITE | FXF_CREAT, encoding=None)
            step = chance.randrange(1, 30_000)
            await file.write(CONTENT[sent : sent + step], sent)
            sent += step
            if sent >= len(CONTENT):
                await file.close()
            else:
                connection.abort()
        await until(lambda: len(site.unfinished()) + len(site.waiting()) == 1)
        assert site.published == ([("acme", "a")] if sent >= len(CONTENT) else [])
    assert (site.spool.drop("acme") / "a").read_bytes() == CONTENT


async def test_file_under_a_name_in_progress_is_continued_and_renamed(site: Site) -> None:
    """FAULTS S14: WinSCP closes its .filepart when it is interrupted, goes on with it, and renames at the end."""
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        async with sftp.open("users.csv.filepart", "wb") as file:
            await file.write(CONTENT[:1000])
        assert (await sftp.stat("users.csv.filepart")).size == 1000
        async with sftp.open("users.csv.filepart", FXF_WRITE, encoding=None) as file:
            await file.write(CONTENT[1000:2000], 1000)
            with pytest.raises(asyncssh.SFTPFailure, match="being uploaded"):
                await sftp.rename("users.csv.filepart", "users.csv")
        assert site.published == []
        await sftp.rename("users.csv.filepart", "users.csv")
    assert site.published == [("acme", "users.csv")]
    assert (site.spool.drop("acme") / "users.csv").read_bytes() == CONTENT[:2000]


async def test_unfinished_upload_cannot_be_renamed_but_removed_and_replaced(site: Site) -> None:
    """FAULTS S13: renaming would publish what no client has closed."""
    await _leave_unfinished(site, "a.part", CONTENT[:10])
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        for rename in (sftp.rename, sftp.posix_rename):
            with pytest.raises(asyncssh.SFTPFailure, match="continue it, or send it again"):
                await rename("a.part", "a")
        await sftp.remove("a.part")
        with pytest.raises(asyncssh.SFTPNoSuchFile):
            await sftp.stat("a.part")
        async with sftp.open("b.part", "wb") as file:
            await file.write(b"b")
    await _leave_unfinished(site, "b", CONTENT[:10])
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        await sftp.rename("b.part", "b")
        assert (await sftp.stat("b")).size == 1
    assert site.unfinished() == {}


async def test_complete_file_cannot_be_continued(site: Site) -> None:
    """FAULTS S14, S24: what is published is not written to any more."""
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        async with sftp.open("a", "wb") as file:
            await file.write(b"x")
        for flags in (FXF_WRITE, FXF_WRITE | FXF_CREAT, FXF_WRITE | FXF_APPEND, FXF_READ | FXF_WRITE):
            with pytest.raises(asyncssh.SFTPPermissionDenied, match="complete file cannot be continued"):
                await sftp.open("a", flags)
    assert (site.spool.drop("acme") / "a").read_bytes() == b"x"


async def test_open_handle_of_one_file_cannot_reach_another(site: Site) -> None:
    """FAULTS S24: a handle that stays open across a close of the same name, and files that were taken (S16)."""
    async with site.connect() as one, site.connect() as two:
        first, second = await one.start_sftp_client(), await two.start_sftp_client()
        async with first.open("a", "wb") as file:
            await file.write(b"complete")
        reader = await second.open("a", "rb")
        writer = await second.open("a", "wb")
        await writer.write(b"new")
        assert site.spool.take("acme", "a", "import", "data")
        await writer.write(b"er", 3)
        with pytest.raises(asyncssh.SFTPPermissionDenied):
            await reader.write(b"over")
        assert site.spool.taken("import", "data").read_bytes() == b"complete"
        await writer.close()
        assert (site.spool.drop("acme") / "a").read_bytes() == b"newer"
        assert site.spool.take("acme", "a", "import", "manifest")
        for attempt in (
            lambda: first.open("a", FXF_WRITE | FXF_APPEND),
            lambda: first.open("a", FXF_READ),
            lambda: first.remove("a"),
            lambda: first.rename("a", "b"),
        ):
            with pytest.raises(asyncssh.SFTPNoSuchFile, match="An import may have taken it"):
                await attempt()
    assert site.spool.taken("import", "data").read_bytes() == b"complete"
    assert site.spool.taken("import", "manifest").read_bytes() == b"newer"


async def test_part_that_was_published_by_a_door_that_died_is_not_continued(site: Site) -> None:
    """FAULTS S24: a crash between the link into the drop and the unlink leaves a part with two names."""
    part = site.spool.parts("acme") / "a"
    part.write_bytes(b"complete")
    os.link(part, site.spool.drop("acme") / "a")
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        with pytest.raises(asyncssh.SFTPPermissionDenied, match="complete file"):
            await sftp.open("a", FXF_WRITE | FXF_CREAT)
        async with sftp.open("a", "wb") as file:
            await file.write(b"new")
    assert (site.spool.drop("acme") / "a").read_bytes() == b"new"
    assert site.parts() == []


async def test_upload_without_a_byte_leaves_nothing(site: Site) -> None:
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        await sftp.open("a", "wb")
        connection.abort()
    await until(lambda: site.parts() == [])


async def test_unfinished_upload_expires(open_site: OpenSite) -> None:
    """FAULTS S13: what nobody goes on with is removed; one that is being written is not, however old."""
    async with open_site(keep_unfinished_s=60) as site:
        for name in ("old", "open", "young"):
            await _leave_unfinished(site, name, b"half")
        async with site.connect() as connection:
            sftp = await connection.start_sftp_client()
            file = await sftp.open("open", FXF_WRITE)
            for name in ("old", "open"):
                os.utime(site.spool.parts("acme") / name, (time.time() - 61,) * 2)
            assert await asyncio.to_thread(site.spool.sweep_parts, older_than_s=60) == 1
            await file.close()
        assert site.unfinished() == {"young": b"half"}
        assert site.published == [("acme", "open")]


async def test_two_doors_on_one_spool_have_one_winner(open_site: OpenSite) -> None:
    """FAULTS S12: two processes behind one port; the lock of the part is between them."""
    async with open_site() as site, open_site() as other, site.connect() as one, other.connect() as two:
        first, second = await one.start_sftp_client(), await two.start_sftp_client()
        file = await first.open("a", "wb")
        await file.write(b"first")
        for flags in (FXF_WRITE, FXF_WRITE | FXF_CREAT | FXF_TRUNC):
            with pytest.raises(asyncssh.SFTPFailure, match="being uploaded in another session"):
                await second.open("a", flags)
        with pytest.raises(asyncssh.SFTPFailure, match="being uploaded in another session"):
            await second.remove("a")
        async with second.open("b.part", "wb") as part:
            await part.write(b"second")
        (site.spool.drop("acme") / "b.part").rename(site.spool.drop("acme") / "a")  # as somebody else may do it
        with pytest.raises(asyncssh.SFTPFailure, match="There is a file of this name"):
            await file.close()
    assert (site.spool.drop("acme") / "a").read_bytes() == b"second"
    assert site.parts() == []


async def test_upload_goes_on_after_the_door_was_killed(site: Site) -> None:
    """FAULTS S13: SIGKILL of the daemon in the middle of a write."""
    async with door_process(site.folder) as other:
        connection = await site.connect(port=other.port, known_hosts=None).__aenter__()
        sftp = await connection.start_sftp_client()
        file = await sftp.open("users.csv", "wb")
        await file.write(CONTENT[:1000])
        other.process.kill()
        await connection.wait_closed()
    assert site.unfinished() == {"users.csv": CONTENT[:1000]}
    (site.folder / "users.csv").write_bytes(CONTENT)
    assert (await site.sftp("reput users.csv")).code == 0
    assert (site.spool.drop("acme") / "users.csv").read_bytes() == CONTENT

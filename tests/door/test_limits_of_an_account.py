"""How many files and bytes an account may have waiting, and a disk that takes no more."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import asyncssh
import pytest
from asyncssh import FXF_CREAT, FXF_WRITE

from tests.door.conftest import OpenSite, Site, until


async def _put(sftp: asyncssh.SFTPClient, name: str, content: bytes, step: int = 1000) -> str:
    """Upload with small writes; what the server said, empty when it took the file."""
    try:
        async with sftp.open(name, "wb") as file:
            for place in range(0, len(content), step):
                await file.write(content[place : place + step], place)
    except asyncssh.SFTPError as error:
        return error.reason
    return ""


async def test_one_file_too_many_is_refused_when_it_is_opened(open_site: OpenSite) -> None:
    """FAULTS S17: unfinished uploads and open ones have a place as well; replacing a file needs none."""
    async with open_site(max_account_files=3) as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        assert await _put(sftp, "a", b"1") == await _put(sftp, "b.part", b"2") == ""
        held = await sftp.open("c", "wb")
        assert "at most 3 files waiting" in await _put(sftp, "d", b"3")
        assert await _put(sftp, "a", b"again") == ""
        await held.close()
        await sftp.remove("c")
        assert await _put(sftp, "d", b"3") == ""
        assert site.spool.take("acme", "d", "import", "data")  # what an import has taken is none of the account's
        assert await _put(sftp, "e", b"3") == ""


async def test_twenty_uploads_for_one_place(open_site: OpenSite) -> None:
    """FAULTS S17: the part is the reservation, made under the account's lock; two doors share it."""
    async with (
        open_site(max_account_files=1) as site,
        open_site(max_account_files=1) as other,
        site.connect() as one,
        other.connect() as two,
    ):
        clients = [await one.start_sftp_client(), await two.start_sftp_client()]
        said = await asyncio.gather(*(_put(clients[n % 2], f"f{n}", b"x") for n in range(20)))
    assert sum(not text for text in said) == 1
    assert len(site.waiting()) == 1


async def test_parallel_uploads_share_what_is_left(open_site: OpenSite) -> None:
    """FAULTS S17: twenty uploads of 10 kB against 100 kB; refused at the first byte over, never one more."""
    async with open_site(max_account_bytes=100_000) as site, site.connect() as one, site.connect() as two:
        clients = [await one.start_sftp_client(), await two.start_sftp_client()]
        said = await asyncio.gather(*(_put(clients[n % 2], f"f{n}", bytes(10_000)) for n in range(20)))
        stored = [path.stat().st_size for path in site.spool.drop("acme").iterdir() if path.is_file()]
        assert 0 < sum(stored) <= 100_000
        assert {text for text in said if text} == {
            "An account may have at most 100 kB (100,000 bytes) waiting, all files together; nothing of this one was "
            "kept. Send the manifests of the files that wait, so that they are imported, or remove some."
        }
        assert site.parts() == []
        left = 100_000 - sum(stored)
        assert await _put(clients[0], "rest", bytes(left)) == ""
        assert await _put(clients[0], "more", b"x") != ""


async def test_what_imports_take_away_makes_room_at_once(open_site: OpenSite) -> None:
    """FAULTS S17: the count is made anew before a write is refused."""
    async with open_site(max_account_bytes=1000) as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        assert await _put(sftp, "a", bytes(900)) == ""
        file = await sftp.open("b", "wb")
        await file.write(bytes(100))
        assert site.spool.take("acme", "a", "import", "data")
        await file.write(bytes(900), 100)
        with pytest.raises(asyncssh.SFTPError, match="at most 1 kB"):
            await file.write(b"x", 1000)


async def test_unfinished_uploads_count(open_site: OpenSite) -> None:
    """FAULTS S17: a client that never finishes anything gets no more room than one that does."""
    async with open_site(max_account_bytes=1000) as site:
        async with site.connect() as connection:
            sftp = await connection.start_sftp_client()
            file = await sftp.open("a", "wb")
            await file.write(bytes(900))
            connection.abort()
        await until(lambda: len(site.unfinished()) == 1)
        async with site.connect() as connection:
            sftp = await connection.start_sftp_client()
            assert "at most 1 kB" in await _put(sftp, "b", bytes(101))
            file = await sftp.open("a", FXF_WRITE | FXF_CREAT, encoding=None)
            await file.write(bytes(100), 900)
            await file.close()
        assert (site.spool.drop("acme") / "a").stat().st_size == 1000


async def test_replacement_counts_in_place_of_what_it_replaces(open_site: OpenSite) -> None:
    async with open_site(max_account_bytes=1000) as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        for _ in range(3):
            assert await _put(sftp, "a", bytes(1000)) == ""


async def test_accounts_do_not_share_their_room(open_site: OpenSite) -> None:
    async with open_site(max_account_bytes=1000, max_account_files=1) as site:
        for account in ("acme", "globex"):
            async with site.connect(account) as connection:
                assert await _put(await connection.start_sftp_client(), "a", bytes(1000)) == ""


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """The system refuses to let a file of this process grow beyond ``size`` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [99_999, 100_000, 100_001, 150_000])
async def test_disk_that_takes_no_more_fails_the_upload(site: Site, size: int) -> None:
    """FAULTS S3: sizes around the edge; a write that the disk takes half of is no success, and its rest is gone."""
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        with _largest_file(100_000):
            said = await _put(sftp, "a", bytes(size), step=30_000)
        fits = size <= 100_000
        assert said == "" if fits else "could not store the file; nothing of it was kept" in said
        assert site.waiting() == ({"a"} if fits else set())
        assert site.parts() == []
        assert await _put(sftp, "b", bytes(1000)) == ""
    assert site.published == ([("acme", "a")] if fits else []) + [("acme", "b")]

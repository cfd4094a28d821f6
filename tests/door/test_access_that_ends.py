"""Sessions that are open when their account or key may no longer be used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncssh
import pytest

from ingest.door import server
from ingest.ledger.ssh_keys import Access
from tests.door.conftest import Site, until
from tests.door.test_keys_and_certificates import Authority

Accesses = dict[str, Access]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_LOOK_AT_ACCESS_S", 0.05)


def _disable(accesses: Accesses) -> None:
    del accesses["acme"]


def _remove_key(accesses: Accesses) -> None:
    accesses["acme"] = Access(accesses["globex"].keys)


def _expire_key(accesses: Accesses) -> None:
    (key,) = accesses["acme"].keys
    accesses["acme"] = Access((replace(key, expires_at=datetime.now(UTC) - timedelta(seconds=1)),))


def _move_away(accesses: Accesses) -> None:
    accesses["acme"] = Access(accesses["acme"].keys, "192.0.2.0/24")


@pytest.mark.parametrize("change", [_disable, _remove_key, _expire_key, _move_away])
async def test_session_ends_and_its_upload_is_kept(site: Site, change: Callable[[Accesses], None]) -> None:
    """FAULTS S8, S13: with a text; another account, and a second key of the account, are not concerned."""
    heard: list[Exception | None] = []

    class Client(asyncssh.SSHClient):
        def connection_lost(self, exc: Exception | None) -> None:
            heard.append(exc)

    async with site.connect("globex") as other, site.connect(client_factory=Client) as connection:
        sftp, file = await other.start_sftp_client(), None
        file = await (await connection.start_sftp_client()).open("users.csv", "wb")
        await file.write(b"half of it")
        await asyncio.sleep(0.2)
        assert heard == []
        change(site.accesses)
        await asyncio.wait_for(connection.wait_closed(), 30)
        assert "may not be used any more. Ask the operator" in str(heard[0])
        await until(lambda: site.unfinished() == {"users.csv": b"half of it"})
        await sftp.stat("/")
    assert (site.waiting(), site.published) == (set(), [])


async def test_key_that_is_added_beside_it_ends_nothing(site: Site) -> None:
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        site.accesses["acme"] = Access((*site.accesses["globex"].keys, *site.accesses["acme"].keys))
        await asyncio.sleep(0.3)
        await sftp.stat("/")


async def test_certificate_ends_with_its_time(site: Site) -> None:
    """FAULTS S8."""
    authority = Authority(site)
    certificate = authority.sign("-n", "acme", "-V", "-1m:+4s")
    async with site.connect(client_keys=[(str(site.folder / "ann"), str(certificate))]) as connection:
        await connection.start_sftp_client()
        await asyncio.wait_for(connection.wait_closed(), 30)


async def test_ledger_that_cannot_be_asked_ends_nothing(site: Site) -> None:
    async with site.connect() as connection:
        sftp = await connection.start_sftp_client()
        asked = asyncio.Event()

        async def broken(_accounts: Collection[str]) -> dict[str, Access]:
            asked.set()
            raise RuntimeError("ledger.db is locked")

        known, site.door._accesses = site.door._accesses, broken
        await asyncio.wait_for(asked.wait(), 30)
        asked.clear()
        await asyncio.wait_for(asked.wait(), 30)  # and the door goes on looking
        await sftp.stat("/")
        site.door._accesses = known
        del site.accesses["acme"]
        await asyncio.wait_for(connection.wait_closed(), 30)


async def test_person_at_the_real_client_reads_why(site: Site) -> None:
    """OpenSSH's sftp in the middle of an upload that would take long."""
    with (site.folder / "large").open("wb") as file:
        file.truncate(900_000_000)
    put = asyncio.create_task(site.sftp("put large users.csv"))
    await until(lambda: bool(site.parts()) and site.parts()[0].stat().st_size > 1_000_000)
    del site.accesses["acme"]
    answer = await put
    assert answer.code != 0  # sftp dies of the broken pipe to its ssh, or says that it was closed
    assert "may not be used any more. Ask the operator of this server" in answer.err
    await until(lambda: len(site.unfinished().get("users.csv", b"")) > 1_000_000)


async def test_all_accounts_are_asked_for_at_once(site: Site) -> None:
    """So that a thousand accounts at the door cost the ledger as little as one."""
    async with site.connect() as one, site.connect() as another, site.connect("globex") as other:
        asked: asyncio.Future[set[str]] = asyncio.get_running_loop().create_future()
        known = site.door._accesses

        async def noted(accounts: Collection[str]) -> dict[str, Access]:
            if not asked.done():
                asked.set_result(set(accounts))
            return await known(accounts)

        site.door._accesses = noted
        assert await asyncio.wait_for(asked, 30) == {"acme", "globex"}
        for connection in (one, another, other):
            await connection.start_sftp_client()

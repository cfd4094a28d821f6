"""A receiver that hangs, or fails again and again, holds up its own account's notices and nobody else's."""

from __future__ import annotations

import asyncio
import socket
from datetime import datetime

import pytest

from ingest.addressees import notices_of_key
from ingest.addresses import Addresses, read_addresses
from ingest.notices.deliver import deliver_due
from ingest.notices.notice import Channel, KeyStage, Notice
from ingest.notices.places import AT_ONCE, Places
from ingest.notices.reach import addresses_of
from tests.notices.desk import NoticeDesk
from tests.notices.test_flood import _key_facts, flood


class HangsFor:
    """A courier whose deliveries for one account hang until ``over``."""

    def __init__(self, account: str) -> None:
        self.over = asyncio.Event()
        self.tried: list[str] = []
        self._account = account

    async def deliver(self, notice: Notice, _now: datetime) -> int:
        self.tried.append(notice.account)
        if notice.account == self._account:
            await self.over.wait()
        return 250


def tell_other(desk: NoticeDesk, subject: str) -> None:
    """A notice of another account, younger than all that wait."""
    if desk.accounts.get("other") is None:
        desk.accounts.add("other", now=desk.now, actor="test", contact_addresses=["data@other.example"])
    other = desk.accounts.get("other")
    assert other is not None
    desk.outbox.tell("other", subject, "id", _key_facts(), notices_of_key(KeyStage.DAY_1, other), desk.now)


def sent_of(desk: NoticeDesk, account: str) -> int:
    return sum(one.state == "sent" and one.account == account for one in desk.all())


async def until_sent(desk: NoticeDesk, account: str, count: int) -> None:
    async with asyncio.timeout(30):
        while sent_of(desk, account) < count:  # noqa: ASYNC110 - the ledger tells nobody
            await asyncio.sleep(0.02)


def test_accounts_take_turns(desk: NoticeDesk) -> None:
    """FAULTS W7: a thousand that are older do not keep one of another account from being tried."""
    flood(desk, 500)
    tell_other(desk, "pair")
    due = desk.outbox.due(desk.now, 10)
    assert [notice.account for notice in due].count("other") == 1
    assert [notice.id for notice in due if notice.account == "acme"] == list(range(1, 10))


async def test_receiver_that_hangs_leaves_places_to_others(desk: NoticeDesk) -> None:
    """FAULTS W7: in the same round, and in one that begins while the first still hangs."""
    courier, places = HangsFor("acme"), Places()
    flood(desk, 20)
    tell_other(desk, "one")

    async def round_() -> int:
        return await deliver_due(desk.outbox, {Channel.MAIL: courier}, desk.settings(), lambda: desk.now, places)

    async with asyncio.TaskGroup() as rounds:
        first = rounds.create_task(round_())
        await until_sent(desk, "other", 1)
        tell_other(desk, "two")
        assert not places.taken
        rounds.create_task(round_())
        await until_sent(desk, "other", 2)
        assert not first.done()
        assert 1 <= courier.tried.count("acme") < AT_ONCE
        desk.pass_time(minutes=1)  # their turn is over
        courier.over.set()
    assert sent_of(desk, "acme") == courier.tried.count("acme")
    assert {one.next_attempt_at for one in desk.all() if one.state == "pending"} == {desk.now}


async def test_names_that_nobody_answers_for_take_no_thread_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS W7: a webhook's name server that hangs would keep the threads that carry uploads and the ledger."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def hangs(*_: object, **__: object) -> list[object]:
        asyncio.run_coroutine_threadsafe(over.wait(), loop).result()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    nobody: Addresses = read_addresses("")
    lookups = [asyncio.create_task(addresses_of("slow.example", 443, nobody)) for _ in range(80)]
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert await asyncio.to_thread(lambda: "a thread") == "a thread"
    for lookup in lookups[16:]:
        lookup.cancel()
    over.set()
    await asyncio.gather(*lookups, return_exceptions=True)

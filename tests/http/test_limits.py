"""How much an account and a source may ask for, and from where."""

from __future__ import annotations

import asyncio

from tests.http.conftest import OpenSite, code_of, until


async def test_reads_at_once_are_bounded_for_each_account(open_site: OpenSite) -> None:
    async with (
        open_site() as site,
        site.client(site.credential()) as client,
        site.client(site.credential("globex"), "globex") as other,
    ):
        running = [asyncio.create_task(client.get("/1/events.json")) for _ in range(3)]
        await until(lambda: site.running == 3)
        refused = await client.get("/1/events.json")
        assert code_of(refused) == (429, "limit.concurrency")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await client.post("/1/upload")).status_code == 200  # uploads are counted for themselves
        assert (await other.get("/1/profile.json")).status_code == 200
        site.gate.set()
        assert {answer.status_code for answer in await asyncio.gather(*running)} == {200}
        assert (await client.get("/1/events.json")).status_code == 200


async def test_client_that_leaves_gives_its_place_back(open_site: OpenSite) -> None:
    async with open_site(max_reads=1) as site, site.client(passcode := site.credential()) as client:
        async with site.client(passcode) as leaving:
            task = asyncio.create_task(leaving.get("/1/events.json"))
            await until(lambda: site.running == 1)
            task.cancel()
        site.gate.set()
        async with asyncio.timeout(30):
            while (await client.get("/1/profile.json")).status_code != 200:  # noqa: ASYNC110  # it is the server's
                await asyncio.sleep(0.01)


async def test_rate_of_an_account_is_bounded(open_site: OpenSite) -> None:
    async with open_site(account_requests_per_s=1) as site, site.client(site.credential()) as client:
        answers = [await client.post("/1/upload") for _ in range(8)]
        limited = [answer for answer in answers if answer.status_code == 429]
        assert limited
        assert {code_of(answer) for answer in limited} == {(429, "limit.account_rate")}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in limited)


async def test_rate_of_a_source_is_bounded_before_anything_else(open_site: OpenSite) -> None:
    async with open_site(source_requests_per_s=1, exempt_sources="") as site, site.client() as client:
        answers = [await client.get("/.well-known/jwks.json") for _ in range(8)]
        assert {code_of(answer) for answer in answers if answer.status_code != 200} == {(429, "limit.source_rate")}
    async with open_site(source_requests_per_s=1) as site, site.client() as client:  # loopback is exempt
        answers = [await client.get("/.well-known/jwks.json") for _ in range(8)]
        assert {answer.status_code for answer in answers} == {200}


async def test_account_comes_only_from_where_it_may(open_site: OpenSite) -> None:
    async with open_site() as site, site.client(site.credential()) as client:
        for sources, expected in (("192.0.2.0/24", 403), ("127.0.0.0/8", 200), ("127.0.0.0/8,!127.0.0.1", 403)):
            site.app.accounts.change("acme", sources=sources, now=site.now, actor="test")
            answer = await client.post("/1/upload")
            assert answer.status_code == expected
            assert expected == 200 or code_of(answer) == (403, "auth.source")

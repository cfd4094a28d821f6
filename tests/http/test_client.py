"""The client of the API against the real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from ingest.client import AnswerUnreadable, ApiRefused, ApiUnreachable, Client
from ingest.http.scopes import Scope
from ingest.keyset_custody import make_request_keyset
from keystore.secret import Secret
from keystore.tink_keyset import OutputPrefix, PrivateKeyset
from tests.http.conftest import KEEP, OpenSite, Site

T = TypeVar("T")


def client(site: Site, passcode: str, **options: object) -> Client:
    ca_file = site.folder / "ca.pem"
    ca_file.write_bytes(site.authority.pem)
    return Client(f"https://127.0.0.1:{site.port}", "acme", Secret(passcode.encode()), ca_file=ca_file, **options)  # type: ignore[arg-type]


async def on(made: Client, work: Callable[[Client], T]) -> T:
    """The client waits for its answers, so it works in a thread beside the server."""
    with made:
        return await asyncio.to_thread(work, made)


@pytest.mark.parametrize("by_token", [False, True])
async def test_uploads_go_out_with_a_passcode_or_a_token(open_site: OpenSite, by_token: bool) -> None:
    async with open_site() as site:
        made = client(site, site.credential(), by_token=by_token)
        answer = await on(made, lambda one: one.upload([{"identity": "u1"}], dry_run=True))
    assert answer["account"] == "acme"
    assert answer["body"] == '{"d": [{"identity": "u1"}]}'
    assert answer["query"] == {"dryRun": "1"}


@pytest.mark.parametrize("prefix", [OutputPrefix.TINK, OutputPrefix.RAW])
async def test_keysets_are_exchanged_and_bodies_then_sealed_both_ways(
    open_site: OpenSite, prefix: OutputPrefix
) -> None:
    async with open_site() as site:
        site.hpke()
        make_request_keyset(site.app, "acme", rotate=False, keep_former=KEEP, actor="test")
        mine, passcode = PrivateKeyset.generate(prefix=prefix), site.credential()
        await on(client(site, passcode), lambda one: one.put_response_keyset(mine.public()))
        to_us = await on(client(site, passcode), lambda one: one.request_keyset())
        answer = await on(client(site, passcode, to_us=to_us, to_you=mine), lambda one: one.upload([{}]))
        assert answer["type"] == "application/json"
        other = PrivateKeyset.generate(prefix=prefix)
        with pytest.raises(AnswerUnreadable, match="not to the keyset"):
            await on(client(site, passcode, to_us=to_us, to_you=other), lambda one: one.upload([{}]))


async def test_refusal_tells_its_code_and_the_text_of_the_service(open_site: OpenSite) -> None:
    async with open_site() as site:
        with pytest.raises(ApiRefused, match="scope upload") as refused:
            await on(client(site, site.credential("acme", Scope.KEYS)), lambda one: one.upload([{}]))
        assert (refused.value.status, refused.value.code) == (403, "auth.scope")
        with pytest.raises(ApiRefused) as refused:
            await on(client(site, "wrong", by_token=True), lambda one: one.upload([{}]))
        assert refused.value.status == 401


async def test_upload_waits_while_there_are_too_many(open_site: OpenSite) -> None:
    """What a 429 refused was not done, so it is sent again after the time that it says."""
    async with open_site(account_requests_per_s=1) as site:
        made = client(site, site.credential())
        answers = await on(made, lambda one: [one.upload([{"identity": str(n)}]) for n in range(4)])
    assert [answer["body"] for answer in answers] == [f'{{"d": [{{"identity": "{n}"}}]}}' for n in range(4)]


async def test_service_that_is_not_there_is_told(open_site: OpenSite) -> None:
    async with open_site() as site:
        made = client(site, site.credential())
    with pytest.raises(ApiUnreachable, match=r"127\.0\.0\.1 gave no answer"):
        await on(made, lambda one: one.call("POST", "/1/upload", body={}))


async def test_server_with_a_certificate_of_somebody_else_is_not_spoken_to(open_site: OpenSite) -> None:
    async with open_site() as site:
        made = Client(f"https://127.0.0.1:{site.port}", "acme", Secret(b"secret"))
        with pytest.raises(ApiUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await on(made, lambda one: one.call("POST", "/1/upload", body={}))

"""Who gets in over HTTP."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from ingest.http.scopes import Scope
from ingest.ledger.tables import audit
from keystore.passcode import fits, make_passcode
from tests.http.conftest import OpenSite, code_of, json_in, until

UPLOAD = "/1/upload"


async def test_account_and_passcode_open_what_the_credential_may_do(open_site: OpenSite) -> None:
    async with open_site() as site, site.client(site.credential("acme", Scope.UPLOAD)) as client:
        answer = await client.post(UPLOAD, json={"d": []})
        assert (answer.status_code, answer.json()["account"]) == (200, "acme")
        refused = await client.get("/1/profile.json?identity=u1")
        assert code_of(refused) == (403, "auth.scope")
        assert 'scope="profiles:read"' in refused.headers["www-authenticate"]


async def test_names_of_the_headers_of_the_vendor_are_taken_too(open_site: OpenSite) -> None:
    async with open_site() as site, site.client() as client:
        headers = {"X-CleverTap-Account-Id": "acme", "X-CleverTap-Passcode": site.credential()}
        assert (await client.post(UPLOAD, headers=headers)).status_code == 200
        doubled = [*headers.items(), ("X-Passcode", "other")]
        assert code_of(await client.post(UPLOAD, headers=doubled)) == (400, "auth.ambiguous")


async def test_whoever_is_not_let_in_learns_nothing_of_why(open_site: OpenSite) -> None:
    """FAULTS H9: unknown account, wrong passcode, another account's, a disabled account, nothing at all."""
    async with open_site() as site:
        passcode = site.credential()
        site.app.accounts.set_state("globex", "disabled", now=site.now, actor="test")
        answers = []
        for account, given in (
            ("nobody", passcode),
            ("acme", make_passcode().text),
            ("acme", passcode[:-1]),
            ("acme", ""),
            ("acme", "x" * 5000),
            ("globex", passcode),
        ):
            async with site.client() as client:
                headers = {"X-Account-Id": account, "X-Passcode": given}
                answers.append(await client.post(UPLOAD, headers=headers, content=b"break"))
        async with site.client() as client:
            answers.append(await client.post(UPLOAD))
    assert {code_of(answer) for answer in answers} == {(401, "auth.failed")}
    assert len({answer.content for answer in answers}) == 1
    assert len({without_what_always_differs(answer) for answer in answers}) == 1


def without_what_always_differs(answer: httpx.Response) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in answer.headers.items() if name not in ("date", "x-request-id"))


async def test_retired_credential_opens_nothing_and_the_new_one_does(open_site: OpenSite) -> None:
    async with open_site() as site:
        old, new = site.credential(), site.credential()
        async with site.client(old) as client:
            assert (await client.post(UPLOAD)).status_code == 200
            site.app.api_accesses.retire_credential("acme", old.split(".")[0], now=site.now, actor="test")
            assert code_of(await client.post(UPLOAD)) == (401, "auth.failed")
        async with site.client(new) as client:
            assert (await client.post(UPLOAD)).status_code == 200


async def test_right_passcode_is_hashed_once_and_remembered(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS H9."""
    hashed = counted_hashes(monkeypatch)
    async with open_site() as site, site.client(site.credential()) as client:
        for _ in range(5):
            assert (await client.post(UPLOAD)).status_code == 200
    assert len(hashed) == 1


def counted_hashes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every check of a passcode by its hash from now on, done for real."""
    hashed: list[bool] = []

    def counted(text: str, verifier: str | None) -> bool:
        hashed.append(verifier is not None)
        return fits(text, verifier)

    monkeypatch.setattr("ingest.http.passcodes.fits", counted)
    return hashed


async def test_flood_of_bad_logins_leaves_the_others_their_service(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS H9: few are hashed at a time, few wait, and who is known is answered while they do."""
    hashed = counted_hashes(monkeypatch)
    async with (
        open_site(plain=True, max_connections=2000, source_requests_per_s=100_000) as site,
        site.client(site.credential()) as known,
    ):
        assert (await known.post(UPLOAD)).status_code == 200
        bad = [asyncio.create_task(site.raw(bad_login(number))) for number in range(400)]
        await until(lambda: len(hashed) > 1)
        for _ in range(3):
            assert (await known.post(UPLOAD)).status_code == 200
        assert any(not task.done() for task in bad)
        codes = [json_in(answer)["code"] for answer in await asyncio.gather(*bad)]
    assert set(codes) == {"auth.failed", "busy"}
    assert len(hashed) - 1 == codes.count("auth.failed")


def bad_login(number: int) -> bytes:
    return (
        b"POST /1/upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n"
        b"X-Account-Id: a%d\r\nX-Passcode: x.y\r\n\r\n" % number
    )


async def test_source_that_keeps_failing_is_refused_without_a_hash(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS H9: limits of the source."""
    hashed = counted_hashes(monkeypatch)
    async with open_site(exempt_sources="", source_failures_per_min=3) as site, site.client() as client:
        headers = [{"X-Account-Id": f"a{n}", "X-Passcode": "wrong"} for n in range(6)]
        answers = [await client.post(UPLOAD, headers=one) for one in headers]
        assert [code_of(answer)[0] for answer in answers] == [401, 401, 401, 429, 429, 429]
        assert int(answers[-1].headers["retry-after"]) > 0
        assert len(hashed) == 3


async def test_tries_at_an_account_do_not_shut_out_whoever_knows_its_passcode(open_site: OpenSite) -> None:
    """FAULTS H9: limits of the account; the ID of a credential is no secret, but nobody guesses it."""
    async with open_site(credential_failures_per_min=3) as site, site.client() as client:
        passcode = site.credential()
        wrong = [{"X-Account-Id": "acme", "X-Passcode": "guessed.wrong"} for _ in range(5)]
        answers = [await client.post(UPLOAD, headers=one) for one in wrong]
        assert [code_of(answer)[0] for answer in answers] == [401, 401, 401, 429, 429]
        async with site.client(passcode) as owner:
            assert (await owner.post(UPLOAD)).status_code == 200


async def test_passcode_is_nowhere_but_with_its_owner(open_site: OpenSite, capfd: pytest.CaptureFixture[str]) -> None:
    """FAULTS H10, K5: not in the ledger, the log or the audit."""
    async with open_site() as site, site.client(passcode := site.credential()) as client:
        await client.post(UPLOAD)
        await client.post(UPLOAD, headers={"X-Passcode": passcode + "x"})
        secret = passcode.partition(".")[2]
        content = b"".join(path.read_bytes() for path in site.folder.rglob("*") if path.is_file())
        assert passcode.partition(".")[0].encode() in content  # the search finds what is there
        assert secret.encode() not in content
        with site.app.database.read() as connection:
            assert any("credential.add" in row for row in connection.execute(audit.select()))
    told = capfd.readouterr()
    assert "http_request" in told.out + told.err
    assert secret not in told.out + told.err

"""HPKE over HTTP, with Tink as the customer's library."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from ingest.http.negotiation import OUTCOMES, REQUIRED
from ingest.keyset_custody import add_response_keyset, make_request_keyset
from ingest.ledger.api_access import HpkeRules
from keystore.hpke import Kem
from keystore.tink_keyset import OutputPrefix
from tests.hpke import oracle, points
from tests.http.conftest import HPKE, KEEP, TINK, WORKING, OpenSite, Site, code_of

PLAIN = b'{"d": [{"identity": "Zq7-canary@example.com"}]}'
SEALED = {"Content-Type": HPKE}
SEALED_ANSWER = {"Accept": HPKE}
BOTH = SEALED | SEALED_ANSWER
OFF = HpkeRules(enabled=False, entitled=True, enforced=False)
ENFORCED = HpkeRules(enabled=True, entitled=True, enforced=True)


def give_response_keyset(site: Site, template: object = TINK) -> Any:
    """The customer's private keyset, whose public half the site has."""
    handle = oracle.new(template)
    add_response_keyset(site.app, "acme", oracle.public_json(handle), keep_former=KEEP, actor="test")
    return handle


def opened(handle: Any, answer: httpx.Response, account: str = "acme") -> Any:
    assert answer.headers["content-type"] == HPKE
    return json.loads(oracle.opened(handle, answer.content, account))


@pytest.mark.parametrize(("kem", "prefix"), oracle.KINDS)
async def test_request_and_answer_go_through_tink_in_both_directions(
    open_site: OpenSite, kem: Kem, prefix: OutputPrefix
) -> None:
    """FAULTS H1."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        make_request_keyset(site.app, "acme", kem=kem, rotate=False, keep_former=KEEP, actor="test")
        handle = give_response_keyset(site, oracle.TEMPLATES[kem, prefix])
        answer = await client.post("/1/upload", content=site.sealer()(PLAIN), headers=BOTH)
        assert answer.status_code == 200
        said = opened(handle, answer)
        assert (said["body"], said["type"]) == (PLAIN.decode(), "application/json")
        read = await client.get("/1/profile.json?email=a%40b", headers=SEALED_ANSWER)
        assert opened(handle, read)["query"] == {"email": "a@b"}


async def test_body_of_any_size_is_opened_and_its_answer_sealed(open_site: OpenSite) -> None:
    """FAULTS H2: also those that are opened off the loop."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        handle, seal = give_response_keyset(site), site.sealer()
        for size in (0, 1, 70_000, 3_000_000):
            answer = await client.post("/1/upload", content=seal(b"x" * size), headers=BOTH)
            assert opened(handle, answer)["body"] == "x" * size


ROWS = [
    # headers sent, feature enabled, body encrypted
    (True, True, True, 200, None),
    (True, True, False, 400, "hpke.body_not_encrypted"),
    (True, False, True, 403, "hpke.not_enabled"),
    (True, False, False, 403, "hpke.not_enabled_body_plain"),
    (False, True, True, 415, "hpke.header_missing"),
    (False, False, True, 415, "hpke.header_missing_not_enabled"),
]


@pytest.mark.parametrize("off", [OFF, HpkeRules(enabled=True, entitled=False, enforced=False)])
async def test_table_of_outcomes_of_the_guide(open_site: OpenSite, off: HpkeRules) -> None:
    """Each row with its own code; FAULTS H6: the body of one kind with the header of the other."""
    async with open_site() as site, site.client(site.credential()) as client:
        handle, sealed = give_response_keyset(site), site.sealer()(PLAIN)
        for headers, enabled, encrypted, status, code in ROWS:
            site.hpke(WORKING if enabled else off)
            given = BOTH if headers else {"Content-Type": "application/json"}
            answer = await client.post("/1/upload", content=sealed if encrypted else PLAIN, headers=given)
            said = opened(handle, answer) if headers and enabled else answer.json()
            assert (answer.status_code, said.get("code")) == (status, code)
            assert (said["status"] == "success") is (code is None)
            assert "canary" not in answer.text


def test_each_row_that_fails_has_a_code_of_its_own() -> None:
    codes = [outcome.code for outcome in OUTCOMES.values() if outcome.status] + [REQUIRED.code]
    assert sorted(set(codes)) == sorted(codes)
    assert {code for *_, code in ROWS if code} <= set(codes)


async def test_plain_requests_go_on_beside_encrypted_ones(open_site: OpenSite) -> None:
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        sealed = site.sealer()(PLAIN)
        assert (await client.post("/1/upload", content=PLAIN)).json()["body"] == PLAIN.decode()
        answer = await client.post("/1/upload", content=sealed, headers=SEALED)
        assert answer.json()["body"] == PLAIN.decode()  # nobody asked for an encrypted answer
        assert code_of(await client.get("/1/profile.json", headers=SEALED_ANSWER)) == (406, "hpke.no_response_keyset")
        handle = give_response_keyset(site)
        assert (
            opened(handle, await client.post("/1/upload", content=PLAIN, headers=SEALED_ANSWER))["status"] == "success"
        )


async def test_everything_that_only_a_decryption_tells_is_one_answer(open_site: OpenSite) -> None:
    """FAULTS H4, H5, H8: status, body and headers are the same."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        site.hpke(account="globex")
        sealed = site.sealer()(PLAIN)
        elsewhere = oracle.new(TINK)
        bad = {
            "unknown prefix": b"\x01" + secrets.token_bytes(4) + sealed[5:],
            "no prefix": sealed[5:],
            "key of another account": site.sealer("globex")(PLAIN),
            "info of another account": oracle.seal(public_of(site), PLAIN, "globex"),
            "a key that is nobody's": oracle.seal(elsewhere.public_keyset_handle(), PLAIN, "acme"),
            "changed enc": changed(sealed, 10),
            "changed text": changed(sealed, 45),
            "changed tag": changed(sealed, -1),
            "cut": sealed[:-1],
            "longer": sealed + b"\x00",
            **{f"{size} bytes": sealed[:size] for size in (1, 4, 5, 36, 37, 52)},
            **{f"point {number}": sealed[:5] + point + sealed[37:] for number, point in enumerate(points.LOW_ORDER)},
        }
        answers = {name: await client.post("/1/upload", content=body, headers=SEALED) for name, body in bad.items()}
        assert {name for name, one in answers.items() if code_of(one) != (400, "hpke.cannot_open")} == set()
        assert len({one.content for one in answers.values()}) == 1
        assert len({without_what_always_differs(one) for one in answers.values()}) == 1
        assert (await client.post("/1/upload", content=sealed, headers=SEALED)).status_code == 200


def public_of(site: Site) -> Any:
    stored = site.app.keysets.primary("acme", "request")
    assert stored is not None
    return oracle.read_public(stored.public_keyset)


def changed(sealed: bytes, position: int) -> bytes:
    content = bytearray(sealed)
    content[position] ^= 1
    return bytes(content)


def without_what_always_differs(answer: httpx.Response) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in answer.headers.items() if name not in ("date", "x-request-id"))


async def test_login_comes_before_the_decryption(open_site: OpenSite) -> None:
    """FAULTS H5: whatever the body is, whoever is not let in sees the same."""
    async with open_site() as site, site.client(account="acme") as client:
        site.hpke()
        sealed = site.sealer()(PLAIN)
        headers = BOTH | {"X-Account-Id": "acme", "X-Passcode": "wrong"}
        answers = [
            await client.post("/1/upload", content=body, headers=headers) for body in (sealed, PLAIN, sealed[:9])
        ]
        assert {code_of(answer) for answer in answers} == {(401, "auth.failed")}
        assert len({answer.content for answer in answers}) == 1
        await site.api.openings.write()
        assert site.audited("hpke.open") == site.audited("hpke.refuse") == []


async def test_enforced_account_takes_nothing_plain(open_site: OpenSite) -> None:
    """FAULTS H6: bodies, empty bodies and paths without one; keysets stay within reach."""
    async with open_site() as site, site.client(site.credential()) as client:
        handle = give_response_keyset(site)
        sealed = site.sealer()(PLAIN)
        site.hpke(ENFORCED)
        plain = [
            await client.post("/1/upload", content=PLAIN),
            await client.post("/1/upload"),
            await client.get("/1/profile.json?identity=u1"),
            await client.get("/1/profile.json?identity=u1", headers=SEALED),
            await client.post("/1/upload", content=sealed, headers=SEALED),
        ]
        assert {code_of(answer) for answer in plain} == {(403, "hpke.required")}
        half = await client.post("/1/upload", content=PLAIN, headers=SEALED_ANSWER)
        assert (half.status_code, opened(handle, half)["code"]) == (403, "hpke.required")
        empty = await client.post("/1/upload", headers=BOTH)
        assert opened(handle, empty)["code"] == "hpke.body_not_encrypted"
        assert opened(handle, await client.post("/1/upload", content=sealed, headers=BOTH))["status"] == "success"
        assert opened(handle, await client.get("/1/profile.json", headers=SEALED_ANSWER))["status"] == "success"
        assert (await client.get("/1/keys/request.json")).status_code == 200


async def test_flag_that_goes_off_and_on_holds_for_the_next_request(open_site: OpenSite) -> None:
    """FAULTS H6: also in the middle of a rotation; each change is in the audit."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        before = site.sealer()(PLAIN)
        make_request_keyset(site.app, "acme", rotate=True, keep_former=KEEP, actor="test")
        for rules, code in ((OFF, "hpke.not_enabled"), (WORKING, None)):
            site.hpke(rules)
            answer = await client.post("/1/upload", content=before, headers=SEALED)
            assert answer.json().get("code") == code
    assert [outcome for _, _, outcome in site.audited("hpke.change")] == [
        "enabled=on entitled=on enforced=off",
        "enabled=off entitled=on enforced=off",
        "enabled=on entitled=on enforced=off",
    ]


async def test_header_that_is_there_twice_is_refused(open_site: OpenSite) -> None:
    """FAULTS H6."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        for second in ("application/json", HPKE):
            given = [*client.headers.items(), ("Content-Type", HPKE), ("Content-Type", second)]
            request = httpx.Request("POST", client.base_url.join("/1/upload"), headers=given, content=PLAIN)
            assert code_of(await client.send(request)) == (400, "hpke.header_doubled")


async def test_errors_of_the_endpoint_are_sealed_and_tell_nothing(
    open_site: OpenSite, capfd: pytest.CaptureFixture[str]
) -> None:
    """FAULTS H10: neither an answer nor the log holds what was decrypted."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        handle, seal = give_response_keyset(site), site.sealer()
        refused = await client.post("/1/upload", content=seal(b"refuse Zq7-canary"), headers=BOTH)
        assert (refused.status_code, opened(handle, refused)["code"]) == (400, 512)
        broken = await client.post("/1/upload", content=seal(b"break Zq7-canary"), headers=BOTH)
        assert code_of(broken) == (500, "internal")  # nothing of ours is left to seal with
        assert broken.headers["x-request-id"]
    told = capfd.readouterr()
    assert "request_failed" in told.out + told.err
    assert "canary" not in told.out + told.err


async def test_rotation_loses_no_request_and_ends_on_its_day(open_site: OpenSite) -> None:
    """FAULTS H7: primary, then previous until its end; the audit says which key opened."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        first = site.sealer()(PLAIN)
        make_request_keyset(site.app, "acme", rotate=True, keep_former=KEEP, actor="test")
        second = site.sealer()(PLAIN)
        for sealed in (first, second, first):
            assert (await client.post("/1/upload", content=sealed, headers=SEALED)).status_code == 200
        await site.api.openings.write()
        slots = {subject.split()[0]: outcome for _, subject, outcome in site.audited("hpke.open")}
        assert slots == {
            "previous": f"hpke.opened 2 requests {2 * len(first)} bytes",
            "primary": f"hpke.opened 1 requests {len(second)} bytes",
        }
        site.now += KEEP
        answer = await client.post("/1/upload", content=first, headers=SEALED)
        assert code_of(answer) == (400, "hpke.cannot_open")
        assert (await client.post("/1/upload", content=second, headers=SEALED)).status_code == 200


async def test_sums_wait_for_a_ledger_that_takes_nothing(open_site: OpenSite) -> None:
    """FAULTS H10: as on a full disk, what was opened is counted and written later."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        sealed = site.sealer()(PLAIN)
        block = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END"
        with site.app.database.write() as connection:
            connection.execute(text(block))
        for _ in range(2):
            assert (await client.post("/1/upload", content=sealed, headers=SEALED)).status_code == 200
            await site.api.openings.write()
        with site.app.database.write() as connection:
            connection.execute(text("DROP TRIGGER full"))
        await site.api.openings.write()
        assert [outcome for _, _, outcome in site.audited("hpke.open")] == [
            f"hpke.opened 2 requests {2 * len(sealed)} bytes"
        ]


async def test_same_request_opens_twice(open_site: OpenSite) -> None:
    """FAULTS H3: HPKE gives no protection against replay; who needs it sends an Idempotency-Key."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        sealed = site.sealer()(PLAIN)
        answers = [await client.post("/1/upload", content=sealed, headers=SEALED) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]


async def test_yearly_rotation_comes_by_itself(open_site: OpenSite) -> None:
    """FAULTS H7: with the former keyset valid beside the new one."""
    async with open_site() as site:
        site.sealer()
        site.now += timedelta(days=366)
        await site.api.renew()
        slots = [(one.slot, one.until) for one in site.app.keysets.of_account("acme")]
        assert slots == [("primary", None), ("previous", site.now + timedelta(days=90))]
        await site.api.renew()  # not again before it is due
        rotated = [outcome for _, _, outcome in site.audited("request_keyset.rotate") if outcome.startswith("former")]
        assert len(rotated) == 1

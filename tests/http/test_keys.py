"""Keysets over HTTP: ours to fetch, the customer's to put."""

from __future__ import annotations

from datetime import timedelta

from ingest.http.scopes import Scope
from keystore.hpke import Kem
from keystore.tink_keyset import OutputPrefix
from tests.hpke import oracle
from tests.http.conftest import HPKE, TINK, OpenSite, code_of
from tests.http.test_hpke import PLAIN, SEALED, opened

REQUEST, RESPONSE = "/1/keys/request.json", "/1/keys/response.json"


async def test_customer_begins_with_nothing_but_a_credential(open_site: OpenSite) -> None:
    """FAULTS H1, H7: fetch our keyset, put one's own, and go on encrypted; all of it with Tink."""
    async with open_site() as site, site.client(site.credential()) as client:
        assert code_of(await client.get(REQUEST)) == (404, "keys.no_request_keyset")
        site.hpke()
        site.sealer()  # the operator makes our keyset
        fetched = oracle.read_public((await client.get(REQUEST)).content)
        mine = oracle.new(TINK)
        stored = (await client.put(RESPONSE, content=oracle.public_json(mine))).json()
        assert (stored["status"], stored["former"]) == ("success", None)
        sealed = oracle.seal(fetched, PLAIN, "acme")
        answer = await client.post("/1/upload", content=sealed, headers=SEALED | {"Accept": HPKE})
        assert opened(mine, answer)["body"] == PLAIN.decode()
        actor = "api:" + client.headers["X-Passcode"].split(".")[0]
        assert site.actors("response_keyset.add") == site.actors("request_keyset.export")[-1:] == [actor]


async def test_new_keyset_of_the_customer_takes_the_place_of_the_old_one(open_site: OpenSite) -> None:
    """FAULTS H7: JSON or binary; the answer says until when the former one is kept."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.hpke()
        old, new = (oracle.new(oracle.TEMPLATES[kem, OutputPrefix.TINK]) for kem in Kem)
        await client.put(RESPONSE, content=oracle.public_json(old))
        stored = (await client.put(RESPONSE, content=oracle.public_binary(new))).json()
        assert stored["former"]["until"] == (site.now + timedelta(days=90)).isoformat()
        answer = await client.get("/1/profile.json", headers={"Accept": HPKE})
        assert opened(new, answer)["status"] == "success"
        assert code_of(await client.put(RESPONSE, content=oracle.public_json(new))) == (409, "keys.already_there")


async def test_keyset_that_is_no_good_is_refused_at_once(open_site: OpenSite) -> None:
    """FAULTS H8, H10: private, damaged, ours, of another kind; each refusal is audited, without the keyset."""
    async with open_site() as site, site.client(site.credential()) as client:
        site.sealer()
        private = oracle.private_json(oracle.new(TINK))
        ours = (await client.get(REQUEST)).content
        bad = [private, b"", b"{}", b"\x00" * 100, oracle.public_json(oracle.new(TINK))[:-5], ours]
        answers = [await client.put(RESPONSE, content=data) for data in bad]
        assert {code_of(answer) for answer in answers} == {(400, "hpke.keyset_rejected")}
        assert "exposed" in answers[0].json()["error"]
        assert {outcome for _, _, outcome in site.audited("response_keyset.add")} == {"refused: hpke.keyset_rejected"}
        assert site.app.keysets.primary("acme", "response") is None


async def test_keys_need_their_scope(open_site: OpenSite) -> None:
    async with open_site() as site, site.client(site.credential("acme", Scope.UPLOAD)) as client:
        assert code_of(await client.get(REQUEST)) == (403, "auth.scope")
        assert code_of(await client.put(RESPONSE, content=b"{}")) == (403, "auth.scope")

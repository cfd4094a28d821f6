"""The three examples of the guide to API encryption, with its headers and payloads and Tink as the customer's library.

Where the guide has a mail address it has been blanked out; here it is one of the customer's.
"""

from __future__ import annotations

import json
from typing import Any

import httpx

from ingest.keyset_custody import add_response_keyset
from tests.hpke import oracle
from tests.http.conftest import HPKE, KEEP, TINK, OpenSite, Site

PAYLOAD = """{
  "d": [
    {
      "identity": "18121994201671",
      "type": "profile",
      "profileData": {
        "Name": "Test Name",
        "Email": "test@acme.example",
        "Phone": "+14155551235",
        "Gender": "M",
        "Customer Type": "Gold",
        "KYC Document": "PAN",
        "Game Level": "Intermediate"
      }
    }
  ]
}"""
QUERY = """
   {
     "event_name": "App Launched",
     "from": 20240101,
     "to": 20240131
   }
   """
EMAIL = "test@acme.example"
LAUNCHES = [
    {
        "identity": "18121994201671",
        "type": "event",
        "evtName": "App Launched",
        "ts": 1705327456 + number,
        "evtData": {"value": "pizza"},
    }
    for number in range(120)
]


class Customer:
    """Who follows the guide: encrypts with our public keyset, decrypts with a private one of their own."""

    def __init__(self, site: Site, http: httpx.AsyncClient) -> None:
        self.http = http
        self.seal = site.sealer()
        self.private = oracle.new(TINK)
        public = oracle.public_json(self.private)
        add_response_keyset(site.app, "acme", public, keep_former=KEEP, actor="test")

    async def post(self, path: str, payload: str) -> Any:
        headers = {"Content-Type": HPKE, "Accept": HPKE}
        return self.opened(await self.http.post(path, content=self.seal(payload.encode()), headers=headers))

    async def get(self, path: str, **query: str) -> Any:
        headers = {"Content-Type": "application/json", "Accept": HPKE}
        return self.opened(await self.http.get(path, params=query, headers=headers))

    def opened(self, response: httpx.Response) -> Any:
        assert response.headers["Content-Type"] == HPKE
        return json.loads(oracle.opened(self.private, response.content, "acme"))


async def test_guide_to_encryption_works_word_for_word(open_site: OpenSite) -> None:
    """FAULTS H1."""
    async with open_site(data=True) as site:
        site.hpke()
        site.app.accounts.change("acme", now=site.now, actor="test", allow_reserved_events=True)
        login = {"X-CleverTap-Account-Id": "acme", "X-CleverTap-Passcode": site.credential()}
        async with site.client() as http:
            http.headers.update(login)
            customer = Customer(site, http)

            # 1: upload user profiles
            uploaded = await customer.post("/1/upload", PAYLOAD)
            assert uploaded == {"status": "success", "processed": 1, "unprocessed": []}

            # 2: get events
            assert (await customer.post("/1/upload", json.dumps({"d": LAUNCHES})))["processed"] == 120
            answer = await customer.post("/1/events.json?batch_size=50", QUERY)
            assert (answer.keys(), answer["status"]) == ({"cursor", "status"}, "success")
            pages = [await customer.get("/1/events.json", cursor=answer["cursor"])]
            while "next_cursor" in pages[-1]:
                pages.append(await customer.get("/1/events.json", cursor=pages[-1]["next_cursor"]))
            assert [len(page["records"]) for page in pages] == [50, 50, 20]
            first = pages[0]["records"][0]
            assert (first["ts"], first["event_props"]) == (20240115140416, {"value": "pizza"})
            assert first["profile"] == {"identity": "18121994201671", "email": EMAIL}

            # 3: get user profile
            profile = (await customer.get("/1/profile.json", email=EMAIL))["record"]
    assert profile["email"] == EMAIL
    assert profile["profileData"]["Customer Type"] == "Gold"
    assert profile["events"] == {"App Launched": {"count": 120, "first_seen": 1705327456, "last_seen": 1705327575}}
    assert isinstance(profile["platformInfo"], list)

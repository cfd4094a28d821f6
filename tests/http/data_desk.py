"""What tests of the data endpoints do again and again: an installation, its endpoints served, records sent."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from ingest.http.settings import UploadSettings
from tests.support.data_api import client, served
from tests.support.workshop import ACCOUNT, Workshop

Json = dict[str, Any]


class DataDesk:
    """A customer at the data endpoints."""

    def __init__(self, workshop: Workshop, port: int, account: str = ACCOUNT) -> None:
        self.workshop = workshop
        self.app = workshop.app
        self.lake = workshop.app.lake
        self.port = port
        self.account = account
        self.client = client(port, account)

    def post(self, records: list[Any], path: str = "/1/upload", **headers: str) -> httpx.Response:
        return self.send(json.dumps({"d": records}), path, **headers)

    def send(self, body: str | bytes, path: str = "/1/upload", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, content=body, headers=named)

    def upload(self, *records: Any) -> Json:
        """The answer to records that can be told apart."""
        answer = self.post(list(records))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def stored(self, *records: Any) -> None:
        assert self.upload(*records) == {"status": "success", "processed": len(records), "unprocessed": []}

    def codes(self, *records: Any) -> list[int]:
        return [refused["code"] for refused in self.upload(*records)["unprocessed"]]

    def profile(self, **user: str) -> Json | None:
        answer = self.client.get("/1/profile.json", params=user)
        if answer.status_code == 404:
            assert answer.json() == {"status": "fail", "error": "Profile not found", "code": 404}
            return None
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["record"])

    def cursor(self, name: str, first: int = 20200101, last: int = 20301231, size: int = 1000) -> str:
        query = {"event_name": name, "from": first, "to": last}
        answer = self.client.post(f"/1/events.json?batch_size={size}", json=query)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "success"
        return str(answer.json()["cursor"])

    def page(self, cursor: str) -> httpx.Response:
        return self.client.get("/1/events.json", params={"cursor": cursor})

    def events(self, name: str, first: int = 20200101, last: int = 20301231, size: int = 1000) -> list[Json]:
        """All events of a name, page by page."""
        found: list[Json] = []
        cursor: str | None = self.cursor(name, first, last, size)
        while cursor is not None:
            answer = self.page(cursor).json()
            assert answer["status"] == "success"
            assert len(answer["records"]) == size or "next_cursor" not in answer
            found += answer["records"]
            cursor = answer.get("next_cursor")
        return found


def event(name: str = "Charged", identity: str = "ann", /, **properties: Any) -> Json:
    return {"identity": identity, "type": "event", "evtName": name, "ts": 1767225600, "evtData": properties}


def profile(identity: str = "ann", /, **properties: Any) -> Json:
    return {"identity": identity, "type": "profile", "profileData": properties}


@contextmanager
def another(desk: DataDesk) -> Iterator[DataDesk]:
    """Another customer, who has nothing yet, at the same endpoints."""
    account = f"account-{secrets.token_hex(4)}"
    desk.app.accounts.add(account, now=desk.workshop.now, actor="test", contact_addresses=[])
    made = DataDesk(desk.workshop, desk.port, account)
    try:
        yield made
    finally:
        made.client.close()


@contextmanager
def data_desk(folder: Path, uploads: UploadSettings | None = None) -> Iterator[DataDesk]:
    workshop = Workshop(folder)
    if uploads is not None:
        workshop.app.settings = workshop.settings.model_copy(update={"uploads": uploads})
    try:
        with served(workshop.app) as port:
            desk = DataDesk(workshop, port)
            try:
                yield desk
            finally:
                desk.client.close()
    finally:
        workshop.app.close()

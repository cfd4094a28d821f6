"""``Idempotency-Key``: FAULTS.md H3. What is sent again is stored once and answered the same, whatever happened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ingest.uploads.batch import Batches, Upload
from ingest.uploads.body import read_body
from manifests.types import ImportType
from stores.errors import StoreUnavailable
from stores.lake import Lake
from tests.http.data_desk import DataDesk, another, event, profile
from tests.support.data_api import ServedApart, client
from tests.support.workshop import ACCOUNT, Workshop

MIXED = [event(Price=1), profile(tags={"$add": ["a"]}), profile("bob", Email="nobody")]


def counts(lake: Lake, account: str) -> tuple[int, int]:
    """The rows of both tables."""
    updates = lake.folder(account, ImportType.PROFILE)
    return len(lake.events(account)), sum(1 for _ in updates.glob("*.parquet"))


def test_what_is_sent_again_is_answered_the_same_and_stored_once(desk: DataDesk) -> None:
    first = desk.post(MIXED, Idempotency_Key="one")
    assert first.json()["status"] == "partial"
    desk.stored(event(Price=2))
    again = desk.post(MIXED, Idempotency_Key="one")
    assert (again.status_code, again.content) == (200, first.content)
    assert counts(desk.lake, desk.account) == (2, 1)
    other = desk.post(MIXED, Idempotency_Key="two")
    assert other.content == first.content
    assert counts(desk.lake, desk.account) == (3, 2)


def test_the_answer_stays_when_the_rules_have_changed_since(desk: DataDesk) -> None:
    first = desk.post(MIXED, Idempotency_Key="one")
    desk.app.history.set_discarded(desk.account, "Charged", discarded=True, now=desk.workshop.now, actor="test")
    assert desk.post(MIXED, Idempotency_Key="one").content == first.content


def test_a_request_of_which_nothing_was_stored_is_answered_the_same_too(desk: DataDesk) -> None:
    first = desk.post([profile(Email="nobody")], Idempotency_Key="one")
    assert desk.post([profile(Email="nobody")], Idempotency_Key="one").content == first.content


def test_the_same_key_with_another_body_is_refused(desk: DataDesk) -> None:
    desk.post(MIXED, Idempotency_Key="one")
    other = desk.post([event(Price=3)], Idempotency_Key="one")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency.key_reused")
    assert counts(desk.lake, desk.account) == (1, 1)


def test_a_key_belongs_to_its_account(desk: DataDesk) -> None:
    desk.post([event(Price=1)], Idempotency_Key="one")
    with another(desk) as stranger:
        assert stranger.post([event(Price=2)], Idempotency_Key="one").json()["status"] == "success"


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\there"])
def test_a_key_that_is_none_is_refused(desk: DataDesk, key: str) -> None:
    answer = desk.post(MIXED, Idempotency_Key=key)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency.key_invalid")


def test_in_parallel_one_is_stored_and_all_get_its_answer(desk: DataDesk) -> None:
    def send(_: int) -> httpx.Response:
        with client(desk.port, desk.account) as sender:
            return sender.post("/1/upload", json={"d": MIXED}, headers={"Idempotency-Key": "one"})

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(send, range(12)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert answers[0].json()["processed"] == 2
    assert counts(desk.lake, desk.account) == (1, 1)


def test_in_parallel_with_different_bodies_one_wins(desk: DataDesk) -> None:
    def send(number: int) -> httpx.Response:
        with client(desk.port, desk.account) as sender:
            body = {"d": [event(Price=number)]}
            return sender.post("/1/upload", json=body, headers={"Idempotency-Key": "one"})

    with ThreadPoolExecutor(6) as threads:
        answers = sorted(answer.status_code for answer in threads.map(send, range(6)))
    assert answers == [200, 422, 422, 422, 422, 422]
    assert counts(desk.lake, desk.account)[0] == 1


def test_after_a_day_a_key_is_a_new_one(desk: DataDesk) -> None:
    desk.post([event(Price=1)], Idempotency_Key="one")
    desk.workshop.pass_time(hours=25)
    assert desk.post([event(Price=2)], Idempotency_Key="one").json()["status"] == "success"
    assert counts(desk.lake, desk.account)[0] == 2


def carried_out(batches: Batches, records: bytes, key: bytes = b"k" * 32) -> Upload:
    upload = Upload(read_body(records, max_records=10, max_properties=9), key_hash=key, body_hash=b"b" * 32)
    batches.carry_out(ACCOUNT, [upload])
    return upload


BOTH = (
    b'{"d": [{"identity": "ann", "type": "event", "evtName": "Charged"},'
    b' {"identity": "ann", "type": "profile", "profileData": {"Score": 1}}, 5]}'
)


@pytest.mark.parametrize("fails", ["events", "profiles"])
def test_a_disk_that_fails_at_either_commit_leaves_nothing_to_be_stored_twice(tmp_path: Path, fails: str) -> None:
    """FAULTS.md W11: the outcome of a commit is unknown; the repeat finds out, for each table."""
    workshop = Workshop(tmp_path)
    app = workshop.app
    broken = [fails, fails]  # the log's entry, and the one that is written in its place

    def sync(path: Path) -> None:
        if broken and broken[0] in path.parts and path.suffix == ".json":
            broken.pop()
            raise OSError("no")

    app.lake = Lake(workshop.settings.lake_dir, sync=sync)
    first = carried_out(app.batches, BOTH)
    assert isinstance(first.error, StoreUnavailable)
    for _ in range(2):
        again = carried_out(app.batches, BOTH)
        assert again.error is None
        assert [(number, fault.code) for number, fault in again.faults.items()] == [(2, 512)]
    assert len(app.lake.events(ACCOUNT)) == 1
    updates = app.lake.folder(ACCOUNT, ImportType.PROFILE)
    assert len([path for path in (updates / "_delta_log").glob("*.json") if '"txn"' in path.read_text()]) == 1
    app.close()


def test_a_server_killed_at_any_moment_has_stored_it_once_after_the_repeat(tmp_path: Path) -> None:
    """SIGKILL of the real server, before the first commit, between the two tables, and after both."""
    workshop = Workshop(tmp_path)
    settings_file = tmp_path / "sealdrop.toml"
    settings_file.write_text(
        'data_dir = "data"\n[door]\nhost_key_file = "host_key"\n[vault]\nmaster_key_file = "master.key"\n'
    )
    lake = workshop.app.lake

    def send(port: int, account: str) -> Any:
        with client(port, account) as sender:
            return sender.post("/1/upload", content=BOTH, headers={"Idempotency-Key": "one"}).json()

    killed = {"before": (0, False), "between": (1, False), "after": (1, True)}
    for account, stored in killed.items():
        workshop.app.accounts.add(account, now=workshop.now, actor="test", contact_addresses=[])
        doomed = ServedApart(settings_file, kill_at=account)
        with pytest.raises(httpx.TransportError):
            send(doomed.port, account)
        assert doomed.wait() == -9
        assert (len(lake.events(account)), lake.profile(account, "identity", "ann") is not None) == stored
    survivor = ServedApart(settings_file)
    try:
        for account in (*killed, *killed):
            answer = send(survivor.port, account)
            assert (answer["processed"], [each["code"] for each in answer["unprocessed"]]) == (2, [512])
    finally:
        survivor.kill()
    for account in killed:
        assert len(lake.events(account)) == 1
        assert len(list(lake.folder(account, ImportType.PROFILE).glob("*.parquet"))) == 1
    workshop.app.close()

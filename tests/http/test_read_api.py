"""``/1/events.json`` by cursor and ``/1/profile.json``, before and after compaction."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from manifests.types import ImportType
from tests.http.data_desk import DataDesk, another, event, profile

NEW_YEAR = 1767225600


def at(seconds: int, name: str = "Charged", **properties: Any) -> dict[str, Any]:
    return event(name, **properties) | {"ts": NEW_YEAR + seconds}


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return sorted(each["event_props"]["Number"] for each in events)


def test_an_event_is_answered_as_in_the_guide(desk: DataDesk) -> None:
    sent = {"identity": "5555555555", "type": "event", "evtName": "Searched", "ts": 1705327456}
    desk.stored(
        sent | {"evtData": {"value": "pizza", "when": "$D_1457271567"}},
        at(0, Number=1),
        profile("5555555555", Email="a@example.com"),
    )
    assert desk.events("Searched") == [
        {
            "profile": {"identity": "5555555555", "email": "a@example.com"},
            "ts": 20240115140416,
            "event_props": {"value": "pizza", "when": "2016-03-06T13:39:27Z"},
        }
    ]


def test_the_address_beside_an_event_is_the_one_that_its_user_has_now(desk: DataDesk) -> None:
    by_object = {"objectId": "ann", "type": "profile", "profileData": {"Email": "object@x.de"}}
    desk.stored(event("E", "ann"), event("E", "bob", email="own"), event("E", "eve"), profile("ann", Email="old@x.de"))
    desk.stored(profile("eve", Email="eve@x.de"), profile("ann", Email="new@x.de"), profile("ann", City="Köln"))
    desk.stored(profile("eve", Email={"$delete": 1}), by_object)
    for _ in range(2):
        found = {each["profile"]["identity"]: each for each in desk.events("E")}
        assert found["ann"]["profile"] == {"identity": "ann", "email": "new@x.de"}
        assert (found["bob"]["profile"], found["bob"]["event_props"]) == ({"identity": "bob"}, {"email": "own"})
        assert found["eve"]["profile"] == {"identity": "eve"}
        desk.lake.compact(desk.account, keep_s=3600)


@pytest.mark.parametrize("size", [1, 7, 5000])
def test_pages_together_are_all_events_of_the_name_and_the_days(desk: DataDesk, size: int) -> None:
    """The measure is a full read by polars. Both days belong to the range, in UTC."""
    day = 86_400
    desk.stored(*(at(3600 * row, "Charged" if row % 3 else "Viewed", Number=row) for row in range(60)))
    desk.lake.compact(desk.account, keep_s=3600)
    desk.stored(at(-1, Number=100), at(day - 1, Number=101), at(day, Number=102), at(3 * day - 1, Number=103))
    rows = desk.lake.events(desk.account).filter(
        pl.col("evtName") == "Charged",
        pl.col("ts").is_between(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), closed="left"),
    )
    assert numbers(desk.events("Charged", 20260101, 20260101, size)) == sorted(rows["Number"])
    assert len(desk.events("Charged", 20251231, 20260103, size)) == 44
    assert desk.events("Nothing", size=size) == []
    assert desk.events("Charged", 20270101, 20270102, size) == []


def test_a_reader_sees_one_state_while_events_come_and_are_compacted(desk: DataDesk) -> None:
    desk.stored(*(at(row, Number=row) for row in range(10)))
    first = desk.page(desk.cursor("Charged", size=4)).json()
    desk.stored(*(at(row, Number=row) for row in range(10, 20)))
    desk.lake.compact(desk.account, keep_s=3600)
    second = desk.page(first["next_cursor"]).json()
    third = desk.page(second["next_cursor"]).json()
    assert "next_cursor" not in third
    assert numbers(first["records"] + second["records"] + third["records"]) == list(range(10))
    assert desk.page(first["next_cursor"]).json() == second
    desk.lake.compact(desk.account, keep_s=0)
    gone = desk.page(first["next_cursor"])
    assert (gone.status_code, gone.json()["code"]) == (410, "store.snapshot_gone")
    assert "new cursor" in gone.json()["error"]


def test_an_account_without_events_has_a_cursor_with_an_empty_page(desk: DataDesk) -> None:
    assert desk.events("Charged") == []


def refused(desk: DataDesk, cursor: str) -> None:
    answer = desk.page(cursor)
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor.invalid")
    assert answer.json()["status"] == "fail"


def test_a_cursor_that_was_changed_is_refused(desk: DataDesk) -> None:
    """Every bit of it counts."""
    desk.stored(at(0, Number=1))
    cursor = desk.cursor("Charged")
    sealed = base64.urlsafe_b64decode(cursor + "==")
    for place in range(0, len(sealed), 5):
        changed = bytearray(sealed)
        changed[place] ^= 1
        refused(desk, base64.urlsafe_b64encode(changed).decode().rstrip("="))
    for text in ("x", cursor[:-4], cursor + "AAAA", "ü" * 40, "A" * 5000, "!" + cursor[1:]):
        refused(desk, text)
    assert desk.page("").json()["code"] == "cursor.missing"


def test_a_cursor_of_another_account_is_refused(desk: DataDesk) -> None:
    desk.stored(at(0, Number=1))
    with another(desk) as stranger:
        stranger.stored(at(0, Number=2))
        refused(stranger, desk.cursor("Charged"))


def test_a_cursor_ends_in_its_time_and_each_page_gives_a_new_one(desk: DataDesk) -> None:
    desk.stored(*(at(row, Number=row) for row in range(3)))
    cursor = desk.cursor("Charged", size=1)
    desk.workshop.pass_time(minutes=50)
    following = desk.page(cursor).json()["next_cursor"]
    desk.workshop.pass_time(minutes=20)
    refused(desk, cursor)
    assert desk.page(following).status_code == 200


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ('{"event_name": "x", "from": 20260101}', "to"),
        ('{"event_name": "x", "from": 20260102, "to": 20260101}', "before"),
        ('{"event_name": "x", "from": 20260101, "to": 20260231}', "YYYYMMDD"),
        ('{"event_name": "", "from": 20260101, "to": 20260101}', "event_name"),
        ('{"event_name": 5, "from": 20260101, "to": 20260101}', "event_name"),
        ('{"event_name": "x", "from": 20260101, "to": 20260101, "limit": 5}', "limit"),
        ('{"event_name": "x", "event_name": "y"}', "twice"),
        ('{"event_name": NaN}', "JSON object"),
        ("[]", "JSON object"),
        ("", "JSON object"),
    ],
)
def test_a_query_that_is_none_is_refused_with_what_is_wrong(shared: DataDesk, body: str, word: str) -> None:
    answer = shared.send(body, "/1/events.json")
    assert answer.status_code == 400
    assert word in answer.json()["error"]


@pytest.mark.parametrize("size", ["0", "5001", "-1", "ten", "1e3", "", "٣"])
def test_a_page_has_1_to_5000_events(shared: DataDesk, size: str) -> None:
    query = {"event_name": "x", "from": 20260101, "to": 20260101}
    answer = shared.client.post("/1/events.json", params={"batch_size": size}, json=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "events.batch_size")


def test_a_profile_by_each_of_its_names_before_and_after_compaction(desk: DataDesk) -> None:
    desk.stored(
        profile("ann", Email="Ann@x.de", Score=3, Born="$D_1457271567"),
        {"objectId": "o-1", "type": "profile", "profileData": {"Email": "eve@x.de"}},
        at(10, Number=1), at(20, Number=2), at(5, "Viewed", Number=3),
    )  # fmt: skip
    expected = {
        "identity": "ann",
        "email": "Ann@x.de",
        "profileData": {"Score": 3, "Born": "2016-03-06T13:39:27Z"},
        "events": {
            "Charged": {"count": 2, "first_seen": NEW_YEAR + 10, "last_seen": NEW_YEAR + 20},
            "Viewed": {"count": 1, "first_seen": NEW_YEAR + 5, "last_seen": NEW_YEAR + 5},
        },
        "platformInfo": [],
    }
    for _ in range(2):
        assert desk.profile(identity="ann") == expected
        assert desk.profile(email="ann@X.de") == expected
        by_object = desk.profile(objectId="o-1")
        assert by_object is not None
        assert (by_object["objectId"], by_object["email"], by_object["events"]) == ("o-1", "eve@x.de", {})
        assert [done.type for done in desk.lake.compact(desk.account, keep_s=3600)] in (list(ImportType), [])
    desk.stored(at(30, Number=4), profile("ann", Email="new@x.de", Score=4))
    found = desk.profile(email="new@x.de")
    assert found is not None
    assert (found["profileData"]["Score"], found["events"]["Charged"]["count"]) == (4, 3)
    assert desk.profile(email="ann@x.de") is None


def test_a_user_of_whom_only_events_are_known_is_found(desk: DataDesk) -> None:
    desk.stored(at(0, Number=1))
    found = desk.profile(identity="ann")
    assert found is not None
    assert (found["email"], found["profileData"], list(found["events"])) == (None, {}, ["Charged"])


def test_nobody_is_found_by_what_nobody_has(desk: DataDesk) -> None:
    assert desk.profile(identity="ann") is None
    desk.stored(profile("ann", Email="ann@x.de"), at(0, Number=1))
    with another(desk) as stranger:
        assert stranger.profile(identity="ann") is None
        assert stranger.profile(email="ann@x.de") is None
    assert desk.profile(objectId="ann") is None
    assert desk.profile(email="nobody@x.de") is None


@pytest.mark.parametrize("query", [{}, {"identity": ""}, {"identity": "a", "email": "b"}, {"FBID": "a"}])
def test_a_profile_is_asked_for_by_one_name(shared: DataDesk, query: dict[str, str]) -> None:
    answer = shared.client.get("/1/profile.json", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "profile.query")

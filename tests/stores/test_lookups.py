"""Look-ups say the same before a compaction, after it, and in between; and the same as a plain full read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.types import USER_COLUMNS, DataType, ImportType
from stores.columns import POLARS
from stores.compact import Compaction
from stores.durable import sync_path
from stores.errors import SnapshotGone
from stores.event_pages import EventQuery, Place
from stores.fold import folded
from stores.lake import Lake
from stores.lookups import EventSummary, Lookups
from stores.table import Table

EVENT, PROFILE = ImportType.EVENT, ImportType.PROFILE
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
UPDATED = {
    "Email": DataType.STRING,
    "Score": DataType.INTEGER,
    "tags": DataType.STRING_LIST,
    "tags$operation": DataType.STRING,
}
Frame = Callable[..., pl.DataFrame]
Put = Callable[..., int]
User = tuple[str, str]

USERS = st.sampled_from([("identity", "ann"), ("identity", "bob"), ("objectId", "ann"), ("GPID", "0-eve")])
UPDATE = st.tuples(
    USERS,
    st.sampled_from([None, "a@x.de", "A@x.de", "b@x.de"]),
    st.none() | st.integers(-5, 5),
    st.none() | st.lists(st.sampled_from("abc"), min_size=1, unique=True),
    st.sampled_from([None, "$add", "$remove", "$delete"]),
)
# what an account sends: imports, each with its rows, and compactions
STEPS = st.lists(st.none() | st.lists(UPDATE, min_size=1, max_size=4), min_size=1, max_size=8)


def stored(lake: Lake, kind: ImportType, number: int, rows: dict[str, Any], properties: dict[str, DataType]) -> None:
    schema = {name: POLARS[type_] for name, type_ in properties.items()}
    frame = pl.DataFrame(rows, schema_overrides=schema | dict.fromkeys(USER_COLUMNS, pl.String()))
    lake.append(
        "acme",
        kind,
        f"import-{number}",
        sequence=number,
        received_at=NOON,
        properties=properties,
        frames=iter([frame.with_columns(pl.col("_row").cast(pl.Int64))]),
    )


def users(rows: list[User]) -> dict[str, list[str | None]]:
    return {name: [value if column == name else None for column, value in rows] for name in USER_COLUMNS}


def compacted(lake: Lake, kind: ImportType, rows_a_file: int = 3) -> None:
    where = Table(lake.folder("acme", kind), kind, sync_path)
    Compaction(where, kind, sync_path, keep_s=3600, rows_a_file=rows_a_file).run()


@given(STEPS)
@settings(max_examples=20, deadline=None)
def test_a_profile_reads_the_same_whenever_its_updates_were_compacted(steps: list[Any]) -> None:
    """Plain folding of all updates in their order is the measure, by user and by address."""
    with TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        lookups = Lookups(lake)
        updates: list[Any] = []
        for number, step in enumerate(steps, start=1):
            if step is None:
                compacted(lake, PROFILE)
                continue
            of_users = users([update[0] for update in step])
            values = {name: [update[place] for update in step] for place, name in enumerate(UPDATED, start=1)}
            # an operation stands beside a value, but $delete never does: so does the cast leave it
            lists = [
                None if operation == "$delete" else tags
                for tags, operation in zip(values["tags"], values["tags$operation"], strict=True)
            ]
            operations = [
                operation if tags or operation == "$delete" else None
                for tags, operation in zip(lists, values["tags$operation"], strict=True)
            ]
            values |= {"tags": lists, "tags$operation": operations}
            stored(lake, PROFILE, number, {"_row": range(1, len(step) + 1), **of_users, **values}, UPDATED)
            updates += [(user, {name: values[name][row] for name in UPDATED}) for row, (user, *_) in enumerate(step)]
            expected = {user: plainly_folded(user, updates) for user, _ in updates}
            for (column, value), profile in expected.items():
                assert lookups.profile("acme", column, value) == profile
                assert lake.profile("acme", column, value) == profile
            for address in ("a@x.de", "b@x.de"):
                found = lookups.profile_by_email("acme", address)
                assert found == last_with(address, updates, expected)


def plainly_folded(user: User, updates: list[Any]) -> dict[str, Any] | None:
    mine = [{**update, user[0]: user[1]} for whose, update in updates if whose == user]
    schema = {user[0]: pl.String(), **{name: POLARS[type_] for name, type_ in UPDATED.items()}}
    return folded(pl.DataFrame(mine, schema=schema))


def last_with(address: str, updates: list[Any], profiles: dict[User, Any]) -> dict[str, Any] | None:
    for user, update in reversed(updates):
        if (update["Email"] or "").lower() == address and profiles[user].get("Email", "").lower() == address:
            found: dict[str, Any] = profiles[user]
            return found
    return None


EVENTS = st.lists(
    st.none()
    | st.lists(
        st.tuples(USERS, st.sampled_from(["Charged", "Viewed", "App opened"]), st.integers(0, 6)),
        min_size=1,
        max_size=5,
    ),
    min_size=1,
    max_size=8,
)


@given(EVENTS, st.integers(1, 4), st.sampled_from(["Charged", "Viewed", "Nothing"]), st.integers(0, 6))
@settings(max_examples=20, deadline=None)
def test_summaries_and_pages_are_what_a_full_read_says(steps: list[Any], size: int, name: str, day: int) -> None:
    with TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        lookups = Lookups(lake)
        for number, step in enumerate(steps, start=1):
            if step is None:
                compacted(lake, EVENT)
                continue
            rows = {
                "_row": range(1, len(step) + 1),
                **users([user for user, _, _ in step]),
                "evtName": [event for _, event, _ in step],
                "ts": pl.Series([NOON + timedelta(hours=12 * at) for _, _, at in step], dtype=pl.Datetime("us", "UTC")),
                "Number": [number * 10 + row for row in range(len(step))],
            }
            stored(lake, EVENT, number, rows, {"Number": DataType.INTEGER})
        everything = lake.events("acme")
        for column, value in (("identity", "ann"), ("identity", "bob"), ("objectId", "ann"), ("GPID", "0-eve")):
            mine = everything.filter(pl.col(column) == value).group_by("evtName")
            expected = mine.agg(pl.len(), pl.col("ts").min(), last=pl.col("ts").max()).sort("evtName")
            assert lookups.event_summary("acme", column, value) == [EventSummary(*row) for row in expected.rows()]
        version = lookups.version("acme")
        if version is None:
            return
        query = EventQuery(name, NOON + timedelta(hours=6 * day), NOON + timedelta(hours=6 * day + 30))
        place: Place | None = Place()
        numbers: list[int] = []
        while place is not None:
            events, place = lookups.event_page("acme", version, query, place, size)
            assert events.height <= size
            assert events.height == size or place is None
            numbers += events["Number"].to_list() if events.height else []
        fits = everything.filter(pl.col("evtName") == name, pl.col("ts") >= query.since, pl.col("ts") < query.until)
        assert sorted(numbers) == sorted(fits["Number"])


def test_pages_stay_as_they_were_when_events_come_and_are_compacted(lake: Lake, put: Put, frame: Frame) -> None:
    lookups = Lookups(lake)
    put("one", [frame(0, 5, {})], {})
    put("two", [frame(5, 5, {})], {})
    version = lookups.version("acme")
    assert version is not None
    query = EventQuery("Charged", NOON, NOON + timedelta(days=1))
    first, place = lookups.event_page("acme", version, query, Place(), 4)
    assert place is not None
    put("three", [frame(10, 5, {})], {})
    compacted(lake, EVENT)
    rest, end = lookups.event_page("acme", version, query, place, 100)
    assert end is None
    assert [*first["identity"], *rest["identity"]] == [f"user-{row}" for row in range(10)]
    lake.compact("acme", keep_s=0)
    with pytest.raises(SnapshotGone):
        lookups.event_page("acme", version, query, place, 100)
    with pytest.raises(SnapshotGone):
        Lookups(lake).event_page("acme", 999, query, Place(), 100)


def test_an_account_without_data_has_nothing(lake: Lake) -> None:
    lookups = Lookups(lake)
    assert lookups.profile("acme", "identity", "ann") is None
    assert lookups.profile_by_email("acme", "a@x.de") is None
    assert lookups.event_summary("acme", "identity", "ann") == []
    assert lookups.version("acme") is None


def test_a_user_longer_than_the_statistics_is_found(lake: Lake) -> None:
    """Bounds of more than 64 characters are left out of the log."""
    long = "u" * 500
    rows = {"_row": [1, 2], **users([("identity", long), ("identity", "ann")]), "Score": [1, 2]}
    stored(lake, PROFILE, 1, rows, {"Score": DataType.INTEGER})
    for _ in range(2):
        assert Lookups(lake).profile("acme", "identity", long) == {"identity": long, "Score": 1}
        lake.compact("acme", keep_s=0)

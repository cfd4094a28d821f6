"""What comes back out: our own reads, and other engines on the same folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.fs
import pytest
from deltalake import DeltaTable

from manifests.types import DataType, ImportType
from stores.lake import Lake

EVENT, PROFILE = ImportType.EVENT, ImportType.PROFILE
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOTAL = {"Order Total": DataType.FLOAT}
Frame = Callable[..., pl.DataFrame]
Put = Callable[..., int]


@pytest.fixture
def orders(lake: Lake, put: Put, frame: Frame) -> Lake:
    """Ten orders in the first ten seconds after noon, and ten views in the same ten seconds."""
    put("orders", [frame(0, 10, TOTAL)], TOTAL, sequence=1)
    put("views", [frame(0, 10, {}, name="Viewed")], {}, sequence=2)
    return lake


def test_events_come_newest_first_and_by_order_of_receipt_within_a_second(orders: Lake) -> None:
    rows = orders.events("acme", limit=3)
    assert rows.select("_row", "evtName").rows() == [(9, "Viewed"), (9, "Charged"), (8, "Viewed")]


def test_events_are_filtered_by_name_and_time(orders: Lake) -> None:
    since, until = NOON + timedelta(seconds=3), NOON + timedelta(seconds=6)
    rows = orders.events("acme", name="Charged", since=since, until=until)
    assert rows["Order Total"].to_list() == [5.0, 4.0, 3.0]
    assert len(orders.events("acme", since=since, until=until)) == 6
    assert len(orders.events("acme", name="charged")) == 0


def test_events_of_an_unknown_account_are_none_with_the_fixed_columns(orders: Lake) -> None:
    rows = orders.events("nobody")
    assert rows.is_empty()
    assert rows.schema["ts"] == pl.Datetime("us", "UTC")


def test_another_account_sees_nothing(orders: Lake) -> None:
    assert orders.registry("other", EVENT) == {}
    assert orders.stored("other", EVENT, "orders") is None


def update(row: int, **values: object) -> pl.DataFrame:
    columns = ("identity", "objectId", "FBID", "GPID", "City", "Plan")
    schema = {"_row": pl.Int64(), **dict.fromkeys(columns, pl.String()), "Seen": pl.Datetime("us", "UTC")}
    return pl.DataFrame([{"_row": row, **values}], schema=schema)


CITY = {"City": DataType.STRING, "Plan": DataType.STRING, "Seen": DataType.DATE}


def test_a_profile_folds_updates_in_order_of_receipt_not_of_commit(lake: Lake, put: Put) -> None:
    """The last value that is not null wins, by sequence and then by row."""
    second = [update(2, identity="ann", City="Rome"), update(1, identity="ann", City="Oslo", Plan="gold")]
    first = [update(1, identity="ann", City="Pune", Seen=NOON), update(2, identity="bob", City="Nice", Plan="free")]
    put("second", second, CITY, kind=PROFILE, sequence=2)
    put("first", first, CITY, kind=PROFILE, sequence=1)
    assert lake.profile("acme", "identity", "ann") == {"identity": "ann", "City": "Rome", "Plan": "gold", "Seen": NOON}
    assert lake.profile("acme", "identity", "bob") == {"identity": "bob", "City": "Nice", "Plan": "free"}


def test_an_unknown_user_has_no_profile(lake: Lake, put: Put) -> None:
    assert lake.profile("acme", "identity", "ann") is None
    put("one", [update(1, objectId="ann")], CITY, kind=PROFILE)
    assert lake.profile("acme", "identity", "ann") is None
    assert lake.profile("acme", "objectId", "ann") == {"objectId": "ann"}
    with pytest.raises(ValueError, match="names a user"):
        lake.profile("acme", "City", "Rome")


def test_polars_reads_the_table(orders: Lake) -> None:
    rows = pl.scan_delta(str(orders.folder("acme", EVENT)))
    assert rows.filter(pl.col("evtName") == "Charged").select(pl.sum("Order Total")).collect().item() == 45.0


def test_duckdb_reads_the_table(orders: Lake) -> None:
    folder = str(orders.folder("acme", EVENT))
    files = pyarrow.fs.SubTreeFileSystem(folder, pyarrow.fs.LocalFileSystem())
    events = DeltaTable(folder).to_pyarrow_dataset(filesystem=files)
    with duckdb.connect() as connection:
        connection.register("events", events)
        query = 'SELECT evtName, count(*), sum("Order Total") FROM events GROUP BY ALL ORDER BY ALL'
        assert connection.sql(query).fetchall() == [("Charged", 10, 45.0), ("Viewed", 10, None)]


def test_time_filters_of_other_engines_use_our_statistics_rightly(orders: Lake) -> None:
    table = DeltaTable(orders.folder("acme", EVENT))
    at = (NOON + timedelta(seconds=9)).isoformat()
    assert len(table.file_uris(file_pruning_predicate=[("ts", ">=", at)])) == 2
    assert len(table.file_uris(file_pruning_predicate=[("_import", "=", "views")])) == 1


def test_table_that_was_made_anew_under_a_reader_is_read_anew(root: Path, lake: Lake, put: Put, frame: Frame) -> None:
    for number in range(3):
        put(f"old-{number}", [frame(number, 1, {})], {})
    assert len(lake.events("acme")) == 3
    shutil.rmtree(lake.folder("acme", EVENT))
    put("new", [frame(9, 1, {})], {}, into=Lake(root))
    assert len(lake.events("acme")) == 1
    assert put("newer", [frame(10, 1, {})], {}) == 1

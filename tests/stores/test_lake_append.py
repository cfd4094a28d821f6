"""What one writer may rely on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.types import DataType, ImportType
from stores.datafile import DataFile
from stores.durable import sync_path
from stores.errors import StoreConflict, StoreDamaged, StoreUnavailable
from stores.lake import Lake

EVENT = ImportType.EVENT
PRICE = {"Price": DataType.FLOAT}
Frame = Callable[..., pl.DataFrame]
Put = Callable[..., int]


def files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


def test_an_import_is_stored_with_its_system_columns(lake: Lake, put: Put, frame: Frame) -> None:
    assert put("one", [frame(0, 3, PRICE), frame(3, 2, PRICE)], sequence=7) == 5
    rows = lake.events("acme")
    assert rows.columns[:4] == ["_import", "_sequence", "_row", "_received_at"]
    assert rows["_row"].to_list() == [4, 3, 2, 1, 0]
    assert set(rows["_import"]) == {"one"}
    assert set(rows["_sequence"]) == {7}
    assert set(rows["_received_at"]) == {datetime(2026, 3, 1, 12, tzinfo=UTC)}


def test_the_same_id_twice_stores_rows_once(lake: Lake, put: Put, frame: Frame) -> None:
    """FAULTS W6: a repeat draws nothing and says what the first one stored."""

    assert lake.stored("acme", EVENT, "one") is None
    assert put("one", [frame(0, 3, PRICE)]) == 3
    assert put("two", [frame(0, 4, PRICE)]) == 4
    drawn = iter([frame(0, 3, PRICE)])
    assert put("one", drawn) == 3
    assert len(list(drawn)) == 1
    assert lake.stored("acme", EVENT, "one") == 3
    assert lake.stored("acme", ImportType.PROFILE, "one") is None
    assert len(lake.events("acme")) == 7


@pytest.mark.parametrize("table_exists", [False, True])
def test_an_error_of_the_pipeline_passes_unchanged_and_leaves_nothing(
    lake: Lake, put: Put, frame: Frame, root: Path, table_exists: bool
) -> None:
    """FAULTS P2, P3: the verdict on the message comes after its last row."""
    if table_exists:
        put("zero", [frame(0, 1, PRICE)])
    before = files(root)
    truncated = LookupError("the message ends early")

    def frames() -> Iterator[pl.DataFrame]:
        yield frame(0, 1000, PRICE | {"New": DataType.STRING})
        assert files(root) - before, "the file is being written by now"
        raise truncated

    with pytest.raises(LookupError) as caught:
        put("one", frames(), PRICE | {"New": DataType.STRING})
    assert caught.value is truncated
    assert caught.value.__context__ is None
    assert files(root) == before
    assert lake.stored("acme", EVENT, "one") is None
    assert "New" not in lake.registry("acme", EVENT)


def test_an_import_without_rows_commits_nothing_and_fixes_no_type(
    lake: Lake, put: Put, frame: Frame, root: Path
) -> None:
    assert put("none", []) == 0
    assert put("empty", [frame(0, 0, PRICE)]) == 0
    assert lake.stored("acme", EVENT, "empty") is None
    assert lake.registry("acme", EVENT) == {}
    assert files(root) == set()


def test_a_later_import_adds_columns(lake: Lake, put: Put, frame: Frame) -> None:
    more = {"Order Total": DataType.INTEGER, "Price": DataType.FLOAT, "Paid": DataType.BOOLEAN, "Due": DataType.DATE}
    put("one", [frame(0, 2, PRICE)])
    put("two", [frame(2, 2, more)], more)
    put("three", [frame(4, 1, {})], {})
    assert lake.registry("acme", EVENT) == PRICE | more
    assert list(lake.registry("acme", EVENT)) == ["Price", "Order Total", "Paid", "Due"]
    rows = lake.events("acme").sort("_row")
    assert rows["Price"].to_list() == [0.0, 1.0, 2.0, 3.0, None]
    assert rows["Order Total"].to_list() == [None, None, 2, 3, None]
    assert rows["Due"].to_list()[3] == datetime(2026, 3, 4, 12, tzinfo=UTC)


def test_an_integer_column_goes_into_a_stored_float_column_as_floats(lake: Lake, put: Put, frame: Frame) -> None:
    put("one", [frame(0, 2, PRICE)])
    whole = frame(2, 2, {"Price": DataType.INTEGER}).with_columns(pl.col("Price").cast(pl.Float64))
    put("two", [whole])
    assert lake.events("acme")["Price"].to_list() == [3.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "properties", [{"Price": DataType.STRING}, {"price": DataType.FLOAT}, {"_row": DataType.INTEGER}]
)
def test_a_column_that_contradicts_the_table_is_a_conflict(
    lake: Lake, put: Put, frame: Frame, root: Path, properties: dict[str, DataType]
) -> None:
    put("one", [frame(0, 1, PRICE)])
    before = files(root)
    with pytest.raises(StoreConflict):
        put("two", [], properties)
    assert files(root) == before


def test_a_column_that_somebody_else_adds_during_the_import_is_a_conflict(
    lake: Lake, put: Put, frame: Frame, root: Path
) -> None:
    text, number = {"Code": DataType.STRING}, {"Code": DataType.INTEGER}

    def frames() -> Iterator[pl.DataFrame]:
        yield frame(0, 3, text)
        put("faster", [frame(0, 2, number)], number, into=Lake(root))

    with pytest.raises(StoreConflict) as caught:
        put("slower", frames(), text)
    assert "Code" in caught.value.detail
    assert lake.registry("acme", EVENT) == number
    assert lake.stored("acme", EVENT, "slower") is None
    assert len(list(lake.folder("acme", EVENT).glob("*.parquet"))) == 1


def test_another_import_may_commit_and_add_the_same_columns_meanwhile(
    lake: Lake, put: Put, frame: Frame, root: Path
) -> None:
    code = {"Code": DataType.STRING}

    def frames() -> Iterator[pl.DataFrame]:
        yield frame(0, 3, code)
        put("faster", [frame(0, 2, code)], code, into=Lake(root))

    put("zero", [frame(0, 1, PRICE)])
    assert put("slower", frames(), code) == 3
    counts = lake.events("acme")["_import"].value_counts()
    assert dict(counts.iter_rows()) == {"zero": 1, "faster": 2, "slower": 3}


def test_a_worker_that_lost_its_lease_cannot_store_the_import_again(
    lake: Lake, put: Put, frame: Frame, root: Path
) -> None:
    """FAULTS W2: another worker finishes the same import while the first one is still reading."""

    def frames() -> Iterator[pl.DataFrame]:
        yield frame(0, 3, PRICE)
        put("one", [frame(0, 3, PRICE)], into=Lake(root))

    assert put("one", frames()) == 3
    assert len(lake.events("acme")) == 3
    assert len(list(lake.folder("acme", EVENT).glob("*.parquet"))) == 1


def test_a_frame_that_does_not_fit_is_refused_by_column_and_type(put: Put, frame: Frame, root: Path) -> None:
    with pytest.raises(ValueError, match=r"the column Price is Int64, not Float64"):
        put("one", [frame(0, 2, {"Price": DataType.INTEGER})])
    with pytest.raises(ValueError, match=r"the column Price is missing"):
        put("one", [frame(0, 2, {})])
    with pytest.raises(ValueError, match=r"the column Other is not among the properties"):
        put("one", [frame(0, 2, PRICE | {"Other": DataType.STRING})])
    assert files(root) == set()


def test_ids_and_columns_survive_checkpoints(lake: Lake, put: Put, frame: Frame) -> None:
    for number in range(45):
        put(f"import-{number}", [frame(number, 1, PRICE)])
    log = lake.folder("acme", EVENT) / "_delta_log"
    assert len(list(log.glob("*.checkpoint.parquet"))) == 2
    for entry in range(30):
        (log / f"{entry:020}.json").unlink()
    assert [lake.stored("acme", EVENT, f"import-{number}") for number in (0, 20, 44)] == [1, 1, 1]
    assert put("import-3", []) == 1
    assert lake.registry("acme", EVENT) == PRICE


def test_the_table_is_made_for_other_engines(lake: Lake, put: Put, frame: Frame) -> None:
    put("one", [frame(0, 1, PRICE)])
    table = DeltaTable(lake.folder("acme", EVENT))
    assert table.metadata().configuration["delta.setTransactionRetentionDuration"] == "interval 90 days"
    assert table.protocol().min_reader_version == 1
    assert table.transaction_version("one") == 1


def test_a_lake_that_cannot_be_written_is_unavailable(put: Put, frame: Frame, root: Path) -> None:
    root.write_text("a file where the lake's folder should be")
    with pytest.raises(StoreUnavailable) as caught:
        put("one", [frame(0, 1, PRICE)])
    assert "user-0" not in caught.value.detail + caught.value.public


def test_a_log_that_does_not_parse_is_damaged(lake: Lake, put: Put, frame: Frame) -> None:
    put("one", [frame(0, 1, PRICE)])
    entry = lake.folder("acme", EVENT) / "_delta_log" / f"{0:020}.json"
    entry.write_text(entry.read_text()[:100])
    with pytest.raises(StoreDamaged):
        lake.registry("acme", EVENT)


texts = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
dates = st.none() | st.datetimes(timezones=st.just(UTC))
groups = st.lists(st.lists(st.tuples(texts, numbers, dates), min_size=1, max_size=4), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=groups)
def test_statistics_count_rows_and_never_exclude_one(tmp_path: Path, groups: list[list[tuple[object, ...]]]) -> None:
    columns = {"text": DataType.STRING, "number": DataType.FLOAT, "date": DataType.DATE}
    schema = {"text": pl.String(), "number": pl.Float64(), "date": pl.Datetime("us", "UTC")}
    frames = [pl.DataFrame(rows, schema=schema, orient="row") for rows in groups]
    with DataFile(tmp_path, columns) as file:
        for rows in frames:
            file.write(rows)
        statistics = pl.read_json(file.finish(sync_path).stats.encode()).row(0, named=True)
    assert not file.path.exists()
    every = pl.concat(frames)
    assert statistics["numRecords"] == len(every)
    for name in columns:
        values = every[name].drop_nulls()
        assert statistics["nullCount"][name] == len(every) - len(values)
        low, high = ((statistics[bound] or {}).get(name) for bound in ("minValues", "maxValues"))
        if low is None or high is None:
            continue
        if name == "date":
            low, high = datetime.fromisoformat(low), datetime.fromisoformat(high)
        assert all(low <= value <= high for value in values)

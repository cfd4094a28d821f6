"""Updates of a profile, folded: lists, operations, and plain Python doing the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.types import DataType, ImportType
from stores.columns import POLARS
from stores.fold import folded
from stores.lake import Lake
from tests.stores.conftest import Put

TAGS = {"tags": DataType.STRING_LIST, "note": DataType.STRING, "tags$operation": DataType.STRING}
Update = tuple[list[str] | None, str | None, str | None]  # tags, note, operation on tags


def updates(rows: list[Update]) -> pl.DataFrame:
    users = {name: [None] * len(rows) for name in ("objectId", "FBID", "GPID")}
    return pl.DataFrame(
        {
            "_row": range(1, len(rows) + 1),
            "identity": ["ann"] * len(rows),
            **users,
            **{name: [row[index] for row in rows] for index, name in enumerate(TAGS)},
        },
        schema_overrides={
            "_row": pl.Int64,
            **dict.fromkeys(users, pl.String),
            **{name: POLARS[type_] for name, type_ in TAGS.items()},
        },
    )


def test_several_rows_for_one_user_add_up_in_order(lake: Lake, put: Put) -> None:
    """CONTRACT 3: operations fold in the order of receipt, then of the rows."""
    profile = ImportType.PROFILE
    second: list[Update] = [(["c", "a"], None, "$add"), (["b"], "two", "$remove")]
    put("two", [updates(second)], TAGS, kind=profile, sequence=2)
    put("one", [updates([(["a", "b"], "one", None)])], TAGS, kind=profile, sequence=1)
    assert lake.profile("acme", "identity", "ann") == {"identity": "ann", "tags": ["a", "c"], "note": "two"}
    put("three", [updates([(None, None, "$delete")])], TAGS, kind=profile, sequence=3)
    assert lake.profile("acme", "identity", "ann") == {"identity": "ann", "note": "two"}
    put("four", [updates([(["z"], None, "$add")])], TAGS, kind=profile, sequence=4)
    assert lake.profile("acme", "identity", "ann") == {"identity": "ann", "tags": ["z"], "note": "two"}


def test_operations_are_no_properties(lake: Lake, put: Put) -> None:
    put("one", [updates([(["a"], "x", None)])], TAGS, kind=ImportType.PROFILE)
    assert lake.registry("acme", ImportType.PROFILE) == {"tags": DataType.STRING_LIST, "note": DataType.STRING}


def test_operations_may_come_to_a_property_later(lake: Lake, put: Put) -> None:
    plain = {name: type_ for name, type_ in TAGS.items() if name != "tags$operation"}
    put("one", [updates([(["a"], "x", None)]).drop("tags$operation")], plain, kind=ImportType.PROFILE)
    put("two", [updates([(["b"], None, "$add")])], TAGS, kind=ImportType.PROFILE, sequence=2)
    assert lake.profile("acme", "identity", "ann") == {"identity": "ann", "tags": ["a", "b"], "note": "x"}


def test_other_engines_read_lists_and_operations(lake: Lake, put: Put, root: Path) -> None:
    put("one", [updates([(["a", "b"], "x", "$add"), (None, None, "$delete")])], TAGS, kind=ImportType.PROFILE)
    table = DeltaTable(lake.folder("acme", ImportType.PROFILE)).to_pyarrow_dataset().to_table()
    with duckdb.connect() as engine:
        found = engine.register("found", table).execute('SELECT tags, "tags$operation" FROM found ORDER BY _row')
        assert found.fetchall() == [(["a", "b"], "$add"), (None, "$delete")]
    entries = (root / "acme/profiles/_delta_log/00000000000000000001.json").read_text().splitlines()
    (add,) = [entry["add"] for entry in map(json.loads, entries) if "add" in entry]
    nulls = json.loads(add["stats"])["nullCount"]
    assert nulls["tags$operation"] == 0
    assert not any(name.startswith("tags.") for name in nulls)


WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)
UPDATES = st.lists(
    st.tuples(WORDS, st.none(), st.sampled_from([None, "$add", "$remove"]))
    | st.tuples(st.none(), st.none(), st.sampled_from([None, "$delete"])),
    min_size=1,
    max_size=12,
)


@given(UPDATES)
@settings(max_examples=200, deadline=None)
def test_folding_is_what_plain_python_does(rows: list[Update]) -> None:
    tags: dict[str, None] = {}
    for values, _, operation in rows:
        if operation == "$delete" or (values and operation is None):
            tags = {}
        for value in values or ():
            if operation == "$remove":
                tags.pop(value, None)
            else:
                tags[value] = None
    expected: dict[str, Any] = {"identity": "ann"} | ({"tags": list(tags)} if tags else {})
    assert folded(updates(rows).drop("_row")) == expected

"""Header, manifest and registry: what does not fit is refused before any row is read."""

from __future__ import annotations

import pytest

from manifests.errors import HeaderMismatch, LimitExceeded, TypeConflict
from manifests.model import Column, Manifest
from manifests.plan import MAX_EVENT_COLUMNS, Plan, build_plan
from manifests.types import DataType, ImportType

EVENT_HEADER = ["event_name", "time_stamp", "identity", "item_name", "item_price"]
EVENT_COLUMNS = {
    "event_name": Column("evtName"),
    "time_stamp": Column("ts", DataType.INTEGER),
    "item_name": Column("Name"),
    "item_price": Column(None, DataType.INTEGER),
}


def manifest(
    columns: dict[str, Column] | None = None,
    *,
    kind: ImportType = ImportType.EVENT,
    event_name: str | None = None,
) -> Manifest:
    return Manifest("a.csv.asc", kind, "a@b.de", columns=columns or {}, event_name=event_name)


def plan(
    header: list[str],
    columns: dict[str, Column] | None = None,
    registry: dict[str, DataType] | None = None,
    kind: ImportType = ImportType.EVENT,
) -> Plan:
    return build_plan(manifest(columns, kind=kind), header, registry or {})


def test_columns_become_user_event_time_and_properties() -> None:
    made = plan(EVENT_HEADER, EVENT_COLUMNS)
    assert made.user_columns == ("identity",)
    assert made.event is not None
    assert made.event.source == "event_name"
    assert made.properties == {"Name": DataType.STRING, "item_price": DataType.INTEGER}


def test_targets_have_one_spelling() -> None:
    made = plan(["ID", "fbid", "EVTNAME", "Ts"], {"ID": Column("OBJECTID")})
    assert made.user_columns == ("objectId", "FBID")
    assert made.timestamp is not None
    assert made.timestamp.asked is DataType.INTEGER
    profile = plan(["Identity", "EMAIL", "msg-dndsms"], kind=ImportType.PROFILE)
    assert list(profile.properties) == ["Email", "MSG-dndSMS"]


def test_all_missing_columns_are_named_with_the_closest() -> None:
    with pytest.raises(HeaderMismatch) as caught:
        plan(["identity", "evtName", "prise"], {"price": Column(), "colour": Column(), "gone": Column(ignore=True)})
    assert caught.value.column == "price"
    assert '"price"' in caught.value.public
    assert '"prise"' in caught.value.public
    assert '"colour"' in caught.value.public
    assert '"gone"' not in caught.value.public


@pytest.mark.parametrize(
    ("header", "column"),
    [
        (["identity", "evtName", "a", "a"], "a"),
        (["identity", "evtName", ""], None),
        (["identity", "evtName", "a", "A"], "A"),
        (["identity", "evtName", "Identity"], "Identity"),
        (["identity", "evtName", "a.b"], "a.b"),
        (["identity", "evtName", "x'; DROP TABLE y"], "x'; DROP TABLE y"),
        (["identity", "evtName", "__proto__"], "__proto__"),
        (["identity", "evtName", "_IMPORT"], "_IMPORT"),
        (["identity", "evtName", "_row"], "_row"),
        (["identity", "evtName", "*"], "*"),
        (["identity", "evtName", "_fault"], "_fault"),
        (["identity", "evtName", "x" * 121], "x" * 121),
        (["identity", "evtName", "a\x00b"], "a\x00b"),
        (["identity", "a"], None),
        (["evtName", "a"], None),
    ],
)
def test_headers_that_cannot_be_stored_are_refused(header: list[str], column: str | None) -> None:
    """FAULTS D2, D7: doubled, empty and reserved names, injections, two columns with one target."""
    with pytest.raises(HeaderMismatch) as caught:
        plan(header)
    assert caught.value.column == column


def test_a_bad_name_may_be_mapped_away_or_ignored() -> None:
    made = plan(["identity", "evtName", "a.b", "c.d", "_x"], {"a.b": Column("ab"), "c.d": Column(ignore=True)})
    assert list(made.properties) == ["ab", "_x"]


def test_two_columns_with_one_target_are_refused_through_the_registry_too() -> None:
    with pytest.raises(HeaderMismatch):
        plan(
            ["identity", "evtName", "x", "y"], {"x": Column("price"), "y": Column("PRICE")}, {"Price": DataType.STRING}
        )


def test_an_event_has_one_source_of_its_name() -> None:
    fixed = build_plan(manifest(event_name="Charged"), ["identity", "a"], {})
    assert (fixed.event, fixed.event_name) == (None, "Charged")
    with pytest.raises(HeaderMismatch, match="keep one"):
        build_plan(manifest(event_name="Charged"), ["identity", "evtName"], {})
    with pytest.raises(HeaderMismatch, match="reserved"):
        build_plan(manifest(event_name="app launched"), ["identity"], {})
    build_plan(manifest(event_name="app launched"), ["identity"], {}, allow_reserved_events=True)


@pytest.mark.parametrize("name", ["ts", "evtName"])
def test_profiles_have_neither_event_name_nor_time(name: str) -> None:
    with pytest.raises(HeaderMismatch, match="only events"):
        plan(["identity", name], kind=ImportType.PROFILE)


def test_a_stored_type_is_kept() -> None:
    registry = {"Price": DataType.INTEGER, "Rate": DataType.FLOAT}
    columns = {"PRICE": Column(None, DataType.INTEGER), "rate": Column(None, DataType.INTEGER)}
    made = plan(["identity", "evtName", "PRICE", "rate"], columns, registry)
    assert made.properties == {"Price": DataType.INTEGER, "Rate": DataType.FLOAT}
    assert [cell.asked for cell in made.cells] == [DataType.INTEGER, DataType.INTEGER]


@pytest.mark.parametrize(
    ("stored", "asked"),
    [(DataType.INTEGER, DataType.FLOAT), (DataType.INTEGER, DataType.STRING), (DataType.DATE, DataType.INTEGER)],
)
def test_another_type_than_the_stored_one_is_a_conflict(stored: DataType, asked: DataType) -> None:
    with pytest.raises(TypeConflict) as caught:
        plan(["identity", "evtName", "price"], {"price": Column(None, asked)}, {"Price": stored})
    assert caught.value.column == "price"
    assert stored in caught.value.public
    assert asked in caught.value.public


def test_properties_have_a_limit() -> None:
    """FAULTS D4: the custom ones of an account's profiles together, and those of all its events together."""
    names = [f"p{number}" for number in range(256)]
    columns = [f"p{number}" for number in range(MAX_EVENT_COLUMNS)]
    assert len(plan(["identity", "evtName", *columns]).properties) == MAX_EVENT_COLUMNS
    with pytest.raises(LimitExceeded):
        plan(["identity", "evtName", *columns, "more"])
    with pytest.raises(LimitExceeded):
        plan(["identity", "evtName", "more"], {}, dict.fromkeys(columns, DataType.STRING))
    stored = dict.fromkeys(names, DataType.STRING)
    assert plan(["identity", "Email"], {}, stored, kind=ImportType.PROFILE).properties == {"Email": DataType.STRING}
    with pytest.raises(LimitExceeded):
        plan(["identity", "more"], {}, stored, kind=ImportType.PROFILE)


def test_the_limit_of_properties_can_be_set() -> None:
    manifest_ = manifest(kind=ImportType.PROFILE)
    with pytest.raises(LimitExceeded, match="3 properties; 2 are allowed"):
        build_plan(manifest_, ["identity", "Email", "a", "b", "c"], {}, max_properties=2)


def test_a_companion_column_tells_the_operation() -> None:
    header = ["identity", "tags", "tags.operation", "note", "note.operation"]
    columns = {"note": Column("Remark"), "note.operation": Column("NoteOperation"), "tags": Column("Tags")}
    made = plan(header, columns, kind=ImportType.PROFILE)
    assert [(cell.target, cell.operation) for cell in made.cells] == [
        ("Tags", "tags.operation"),
        ("Remark", None),
        ("NoteOperation", None),
    ]
    assert list(made.properties) == ["Tags", "Remark", "NoteOperation", "Tags$operation"]


def test_the_companion_of_an_ignored_column_is_ignored() -> None:
    made = plan(["identity", "tags", "tags.operation"], {"tags": Column(ignore=True)}, kind=ImportType.PROFILE)
    assert made.properties == {}


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (["identity", "identity.operation"], ImportType.PROFILE),
        (["identity", "evtName", "tags", "tags.operation"], ImportType.EVENT),
        (["identity", "tags.operation"], ImportType.PROFILE),
    ],
)
def test_operations_that_mean_nothing_are_refused(header: list[str], kind: ImportType) -> None:
    with pytest.raises(HeaderMismatch) as caught:
        plan(header, kind=kind)
    assert caught.value.column == header[-1]


def test_only_the_first_missing_columns_are_named() -> None:
    """FAULTS D4: looking for the closest of many names to each of many takes long."""
    with pytest.raises(HeaderMismatch) as caught:
        plan(["identity", "evtName"], {f"missing {number}": Column() for number in range(100)})
    lines = caught.value.public.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "And 80 more columns of the manifest are not in the file."

"""A draft is a manifest that takes the rows it was made from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.cast import apply
from manifests.dates import DATE_FORMATS
from manifests.infer import Draft, as_text, draft, likely_delimiter
from manifests.names import name_problem
from manifests.parse import parse_manifest
from manifests.plan import build_plan
from manifests.types import USER_COLUMNS, ImportType
from tests.manifests.rows import RECEIVED, frame


def drafted(kind: ImportType | None = None, **columns: list[str | None]) -> Draft:
    return draft("data.csv.asc", ",", frame(**columns), kind)


def guessed(*cells: str | None) -> tuple[str | None, str | None, str | None]:
    """Type, format and note for a column with these cells."""
    made = drafted(identity=["someone"] * len(cells), x=list(cells)).columns[1]
    return made.data_type, made.form, made.note


@pytest.mark.parametrize(
    ("cells", "data_type", "form"),
    [
        (("1", "-2", None, ""), "Integer", None),
        (("1", "2.5"), "Float", None),
        (("1e5", ".5"), "Float", None),
        (("true", "FALSE"), "Boolean", None),
        (("a", "1"), None, None),
        (("00742", "1"), None, None),
        (("99999999999999999999",), None, None),
        (("+4915112345678",), "Integer", None),
        (('["a"]', "[]"), "StringList", None),
        (("2024-12-31", "2024-01-01"), "Date", "yyyy-MM-dd"),
        (("2024-12-31 10:00:00",), "Date", "yyyy-MM-dd HH:mm:ss"),
        (("2024-12-31T10:00:00+01:00",), "Date", "ISO 8601"),
        (("31/12/2024", "01/02/2024"), "Date", "dd/MM/yyyy"),
        (("12/31/2024", "01/02/2024"), "Date", "MM/dd/yyyy"),
        (("01 Feb 2024",), "Date", "dd MMM yyyy"),
        (("31.12.2024",), None, None),
        ((None, ""), None, None),
    ],
)
def test_types_are_guessed(cells: tuple[str | None, ...], data_type: str | None, form: str | None) -> None:
    assert guessed(*cells)[:2] == (data_type, form)


def test_a_day_that_may_be_a_month_is_said() -> None:
    _, form, note = guessed("01/02/2024", "11/12/2024")
    assert form == "dd/MM/yyyy"
    assert note == "ambiguous: every value fits dd/MM/yyyy and MM/dd/yyyy alike; please check"
    assert guessed("13/02/2024")[2] is None


def test_what_could_be_something_else_is_said() -> None:
    assert guessed("0", "1")[2] == "may be a Boolean"
    assert guessed("1700000000")[2] == 'may be a Date with the format "epoch seconds"'
    assert guessed("1700000000000")[2] == 'may be a Date with the format "epoch milliseconds"'


def test_targets_are_guessed_for_events() -> None:
    made = drafted(event_name=["Charged"], time_stamp=["1700000000"], user_id=["u1"], price=["5"])
    assert made.type is ImportType.EVENT
    assert [guess.keys for guess in made.columns] == [
        {"ctName": "evtName"},
        {"ctName": "ts", "dataType": "Integer"},
        {"ctName": "identity"},
        {"dataType": "Integer"},
    ]
    assert made.notes == ()
    dated = drafted(event=["Charged"], date=["31/12/2024"], id=["u1"]).columns[1]
    assert dated.keys == {"ctName": "ts", "dataType": "Date", "format": "dd/MM/yyyy"}
    assert drafted(event=["Charged"], ts=["1700000000000"], id=["u1"]).columns[1].form == "epoch milliseconds"


def test_targets_are_guessed_for_profiles() -> None:
    made = drafted(Email=["a@b.de"], age=["42"], customer_id=["u1"], timestamp=["1700000000"])
    assert made.type is ImportType.PROFILE
    assert [guess.target for guess in made.columns] == [None, "Age", "identity", None]
    assert drafted(Email=["a@b.de"], City=["Bonn"]).columns[0].target == "identity"
    assert "No column looks like the user" in drafted(City=["Bonn"]).notes[0]


def test_names_that_no_property_can_have_are_mapped() -> None:
    made = draft("x", ",", frame(**{name: ["1"] for name in ("identity", "a.b", "a b", "a#b", "$")}))
    assert [guess.target for guess in made.columns] == [None, "a b 2", None, "a b 3", "column"]


def test_a_companion_column_needs_no_word() -> None:
    made = draft("x", ",", frame(**{name: ["1"] for name in ("identity", "tags", "tags.operation", "x.operation")}))
    assert [(guess.column, guess.target) for guess in made.columns] == [
        ("identity", None),
        ("tags", None),
        ("x.operation", "x operation"),
    ]


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [("a,b", ","), ("a;b;c", ";"), ("a\tb", "\t"), ("a|b", "|"), ("a", ","), ('"a;b;c",d', ","), ("", ",")],
)
def test_delimiter_is_seen_from_the_header(line: str, delimiter: str) -> None:
    assert likely_delimiter(line) == delimiter


def test_draft_is_a_manifest_with_comments() -> None:
    made = draft("data.csv.asc", ";", frame(identity=["u1"], x=["01/02/2024"]))
    text = as_text(made, client_email=None, key_id=None)
    assert "// ambiguous" in text
    parsed = parse_manifest(text.encode())
    assert (parsed.file_name, parsed.delimiter, parsed.client_email) == ("data.csv.asc", ";", "you@example.com")
    key_id = "ec491319-9823-48cd-b6a1-6bb0bc666d75"
    assert parse_manifest(as_text(made, client_email="a@b.de", key_id=key_id).encode()).key_id == key_id


CELLS = (
    st.sampled_from(["1", "0", "true", "2.5", "01/02/2024", "2024-12-31", "1700000000", '["a"]', "007", "1e5", "", " "])
    | st.sampled_from(DATE_FORMATS)
    | st.text(max_size=5)
)
USERS = {name.lower() for name in USER_COLUMNS}  # a row names one
KNOWN = st.sampled_from(["ts", "evtName", "price", "a.b", "date", "event", "Tags", "x", "*", "^.*$"])
COLUMN = KNOWN | st.text(min_size=1, max_size=4)


@given(st.data(), st.sampled_from([None, *ImportType]))
@settings(max_examples=150, deadline=None)
def test_a_draft_takes_the_rows_it_was_made_from(data: st.DataObject, kind: ImportType | None) -> None:
    names = data.draw(st.lists(COLUMN.filter(lambda name: name.strip() == name and name not in ("_row", "_fault"))))
    names = list({name.lower(): name for name in names if name.isprintable() and name.lower() not in USERS}.values())
    rows = data.draw(st.integers(1, 4))
    good = st.lists(CELLS, min_size=rows, max_size=rows)
    source = frame(identity=["someone"] * rows, **{name: data.draw(good) for name in names})
    made = draft("data.csv.asc", ",", source, kind)
    manifest = parse_manifest(as_text(made, client_email=None, key_id=None).encode())
    for guess in made.columns:
        assert name_problem(guess.target or guess.column) is None
    if made.type is ImportType.EVENT and "evtName" not in [guess.target or guess.column for guess in made.columns]:
        return  # as the draft's note says, somebody must name the event first
    plan = build_plan(manifest, source.columns[:-2], {})
    rejects = apply(plan, source, received_at=RECEIVED).rejects
    assert set(rejects["code"]) <= {509, 513, 525, 603}  # no time at all, no name: nobody can guess these away

"""The published JSON Schema: a valid one, that takes good manifests and refuses what the parser refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from manifests.errors import ManifestInvalid
from manifests.parse import parse_manifest
from manifests.schema import manifest_schema

VALIDATOR = Draft202012Validator(manifest_schema())
NEEDED = {"fileName": "users.csv.asc", "type": "event", "clientEmail": "ops@example.com"}
UUID = "ec491319-9823-48cd-b6a1-6bb0bc666d75"

GOOD: dict[str, list[Any]] = {
    "fileName": ["users.csv.asc", "a", "x" * 128, "a b (1).csv"],
    "type": ["event", "PROFILE", " Event "],
    "clientEmail": ["ops@example.com", "a.b+c@d-e.example"],
    "keyId": [UUID, f" {UUID.upper()} ", None],
    "columns": [{}, {"x": {}}, {"x": {"ignore": True}, "y": {"ctName": "Price", "dataType": "Integer"}}, None],
    "delimiter": [";", "\t", " ", "|", None],
    "quote": ["'", '"', None],
    "encoding": ["utf-8", "UTF8", None],
    "header": [True, None],
    "nullValues": [[], ["NULL", ""], [str(number) for number in range(100)], None],
    "defaultTimezone": ["Europe/Berlin", None],
    "size": [1, 10**9, 5.0, None],
    "sha256": ["0a" * 32, f" {'AF' * 32} ", None],
    "dryRun": [True, False, None],
    "onError": ["skip", "abort", None],
    "maxErrors": [0, 17, 5.0, "5%", "0.5 %", "100%", None],
}
BAD: dict[str, list[Any]] = {
    "fileName": ["", "../x", ".x", "a/b", "x" * 129, "a ", "a\n", 5, None, ["a"]],
    "type": ["", "evnt", 1, None, True],
    "clientEmail": ["", "a@b", "a@b.de,c@d.de", "[a@b.de](mailto:a@b.de)", "a@b.de\n", "x" * 250 + "@b.de", None],
    "keyId": ["0123456789ABCDEF", f"0x{UUID}", 5],
    "columns": [[], "x", {"x": None}, {"x": "Integer"}, {"x": {"name": "y"}}],
    "delimiter": ["", ",,", "a", "\n", "ü", 5],
    "quote": ["", " ", "a", "\n", '""'],
    "encoding": ["", 5],
    "header": ["true", 1, "no"],
    "nullValues": ["NULL", {}, [1], [None], [str(number) for number in range(101)]],
    "eventName": ["", 5],
    "defaultTimezone": ["", 5],
    "size": [0, -1, 1.5, "5", True],
    "sha256": ["", "0a" * 31, "xy" * 32],
    "dryRun": ["yes", 0],
    "onError": ["stop", "SKIP", 1],
    "maxErrors": [-1, 1.5, "5", "101%", "100.1%", "%", "-1%", True, "5%\n"],
    "colums": [{}],
}
GOOD_COLUMN: dict[str, list[Any]] = {
    "ctName": ["Price", "identity", "x" * 120, None],
    "dataType": ["string", "LONG", "Date", " StringList ", None],
    "format": ["dd/MM/yyyy", "dd MMM yyyy  HH:mm:ss", "ISO 8601", "iso-8601", "Epoch Millis", "epoch_ms", None],
    "timezone": ["Asia/Kolkata", None],
    "ignore": [True, None],
    "separator": ["|", ", ", None],
}
BAD_COLUMN: dict[str, list[Any]] = {
    "ctName": ["", "x" * 121, 5],
    "dataType": ["", "Intger", 5],
    "format": ["", "dd-MM-yy", "DD/MM/YYYY", "epoch hours", 5],
    "timezone": ["", 5],
    "ignore": ["NO", 0],
    "separator": ["", "x" * 9, 5],
    "datatype": ["String"],
}


def is_taken(document: Any) -> bool:
    """Whether the parser takes the document."""
    try:
        parse_manifest(json.dumps(document).encode())
    except ManifestInvalid:
        return False
    return True


def test_the_schema_is_one_of_its_draft() -> None:
    Draft202012Validator.check_schema(manifest_schema())
    assert manifest_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in GOOD.items() for value in values])
def test_schema_and_parser_take_good_values(key: str, value: Any) -> None:
    document = NEEDED | {key: value}
    assert VALIDATOR.is_valid(document)
    assert is_taken(document)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_schema_and_parser_refuse_bad_values(key: str, value: Any) -> None:
    document = NEEDED | {key: value}
    assert not VALIDATOR.is_valid(document)
    assert not is_taken(document)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD_COLUMN.items() for value in values])
def test_schema_and_parser_refuse_bad_values_of_a_column(key: str, value: Any) -> None:
    document = NEEDED | {"columns": {"x": {key: value}}}
    assert not VALIDATOR.is_valid(document)
    assert not is_taken(document)


@pytest.mark.parametrize("key", NEEDED)
def test_schema_and_parser_miss_what_is_required(key: str) -> None:
    document = {name: value for name, value in NEEDED.items() if name != key}
    assert not VALIDATOR.is_valid(document)
    assert not is_taken(document)


def any_of(good: dict[str, list[Any]], bad: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    junk = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.lists(st.text(max_size=2))
    keys = {*good, *bad}
    values = {key: st.sampled_from([*good.get(key, []), *bad.get(key, [])]) | junk for key in keys}
    return st.fixed_dictionaries({}, optional=values)


COLUMNS = st.dictionaries(st.text(min_size=1, max_size=5), any_of(GOOD_COLUMN, BAD_COLUMN), max_size=3)


@given(any_of(GOOD, BAD), st.none() | COLUMNS)
@settings(max_examples=400, deadline=None)
def test_what_the_schema_refuses_the_parser_refuses(changes: dict[str, Any], columns: Any) -> None:
    document = NEEDED | changes | ({} if columns is None else {"columns": columns})
    if not VALIDATOR.is_valid(document):
        assert not is_taken(document)


def test_keys_of_the_guide_are_all_there() -> None:
    """CONTRACT 2."""
    schema = manifest_schema()
    assert {*GOOD, "eventName"} == set(schema["properties"])
    assert set(GOOD_COLUMN) == set(schema["$defs"]["ColumnDocument"]["properties"])
    assert schema["required"] == list(NEEDED)

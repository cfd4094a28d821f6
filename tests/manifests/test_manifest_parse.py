"""Manifests: every problem at once, each with its place."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests.errors import ManifestInvalid, Problem
from manifests.model import Column, Manifest
from manifests.parse import MAX_JSON_BYTES, MAX_YAML_BYTES, parse_manifest
from manifests.types import DataType, ImportType
from tests.support.guide import PRINTED

GOOD = {"fileName": "users.csv.asc", "type": "event", "clientEmail": "ops@example.com"}


def parsed(**changes: object) -> Manifest:
    return parse_manifest(json.dumps({**GOOD, **changes}).encode())


def problems(data: str | bytes | dict[str, object]) -> tuple[Problem, ...]:
    raw = json.dumps(data) if isinstance(data, dict) else data
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(raw.encode() if isinstance(raw, str) else raw)
    return caught.value.problems


def test_printed_sample_fails_only_for_its_mail_link() -> None:
    (problem,) = problems(PRINTED)
    assert (problem.path, problem.line, problem.column) == ("clientEmail", 12, 18)
    assert "Markdown link" in problem.message


def test_printed_sample_with_a_plain_address_is_a_manifest() -> None:
    text = PRINTED.replace("[[email\u00a0protected]](mailto:[email\u00a0protected])", "ops@example.com")
    manifest = parse_manifest(text.encode())
    assert manifest.type is ImportType.EVENT
    assert manifest.key_id == "ec491319-9823-48cd-b6a1-6bb0bc666d75"
    assert manifest.columns["time_stamp"] == Column("ts", DataType.INTEGER)
    assert next(iter(manifest.columns)) == "event_name"


def test_yaml_and_json_of_one_content_are_one_manifest() -> None:
    text = """
# a manifest
fileName: users.csv.asc
type: PROFILE
clientEmail: ops@example.com
columns:
  id: {ctName: identity}
  born:
    ctName: DOB
    dataType: date
    format: dd/MM/yyyy
    timezone: Asia/Kolkata
  noise: {ignore: true}
  plain:
nullValues: [NULL, "NO"]
maxErrors: 5%
size: 42
"""
    from_json = parsed(
        type="Profile",
        columns={
            "id": {"ctName": "identity"},
            "born": {"ctName": "DOB", "dataType": "DATE", "format": "dd/MM/yyyy", "timezone": "Asia/Kolkata"},
            "noise": {"ignore": True},
            "plain": {},
        },
        nullValues=["NULL", "NO"],
        maxErrors="5%",
        size=42,
    )
    assert parse_manifest(text.encode()) == from_json
    assert from_json.max_errors_percent == 5.0


def test_bom_comments_and_trailing_commas_are_accepted() -> None:
    text = (
        '\ufeff// first\n{"fileName": "a.gpg", /* two\nlines */ "type": "event",\n'
        '"clientEmail": "a@b.de", "nullValues": ["x",],}'
    )
    assert parse_manifest(text.encode()).null_values == ("x",)


def test_every_problem_is_told_with_its_place() -> None:
    text = """fileName: ../a.csv
type: evnt
clientEmail: a@x.com, b@y.com
columns:
  n: {dataType: Intger, ignore: NO}
  d: {dataType: Date, format: dd-MM-yy, timezone: Mars/Base}
keyid: x
header: NO
encoding: lattin-1
dryRun: maybe
"""
    found = {(problem.path, problem.line, problem.column) for problem in problems(text)}
    assert found == {
        ("fileName", 1, 11),
        ("type", 2, 7),
        ("clientEmail", 3, 14),
        ("columns.n.dataType", 5, 17),
        ("columns.n.ignore", 5, 33),
        ("columns.d.format", 6, 31),
        ("columns.d.timezone", 6, 51),
        ("keyid", 7, 1),
        ("header", 8, 9),
        ("encoding", 9, 11),
        ("dryRun", 10, 9),
    }


def test_unknown_keys_name_the_nearest_known_one() -> None:
    (problem,) = problems({**GOOD, "filename": "x"})
    assert "fileName" in problem.message
    (problem,) = problems({**GOOD, "columns": {"a": {"datatype": "String"}}})
    assert problem.path == "columns.a.datatype"
    assert "dataType" in problem.message


@pytest.mark.parametrize("key", ["fileName", "type", "clientEmail"])
def test_a_required_key_that_is_missing_is_a_problem(key: str) -> None:
    (problem,) = problems({name: value for name, value in GOOD.items() if name != key})
    assert problem.path == key


@pytest.mark.parametrize(
    "value",
    [
        "a@b",
        "a b@c.de",
        "a@x.com, b@y.com",
        "list: a@b.de;",
        "<a@b.de>",
        "a@[127.0.0.1]",
        '"q q"@b.de',
        "a@b.de\r\nBcc: c@d.de",
        "a..b@c.de",
        "x" * 65 + "@b.de",
        "a@" + "b" * 300 + ".de",
        "=?utf-8?q?x=0D=0ABcc:?=",
    ],
)
def test_only_one_plain_address_is_a_client_email(value: str) -> None:
    """FAULTS M2: lists, groups, quoted local parts and IP literals are refused."""
    assert [problem.path for problem in problems({**GOOD, "clientEmail": value})] == ["clientEmail"]


@pytest.mark.parametrize(
    "value", ["1A7849F996BFD78569533B2CF55DEEE68995217D", "0x8995217D", "F55DEEE68995217D", "1A78 49F9 96BF D785"]
)
def test_a_fingerprint_as_key_id_is_named_as_one(value: str) -> None:
    (problem,) = problems({**GOOD, "keyId": value})
    assert "not a fingerprint" in problem.message


@pytest.mark.parametrize("value", ["../x.csv", "a/b.csv", "a\\b.csv", ".hidden", "-rf", "a\n.csv", "x" * 129, "", "a."])
def test_a_file_name_has_no_folders_and_only_allowed_characters(value: str) -> None:
    """FAULTS W13, S10: a manifest names a file beside it and nothing else."""
    assert [problem.path for problem in problems({**GOOD, "fileName": value})] == ["fileName"]


@pytest.mark.parametrize("text", ['{"type": "event", "type": "profile"}', "type: event\ntype: profile\n"])
def test_doubled_keys_are_refused(text: str) -> None:
    """FAULTS D5, D6: the last one does not win."""
    assert any("twice" in problem.message for problem in problems(text))


# each name is nine of the one before
BOMB = "a: &a [x]\n" + "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefgh"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x", "anchors"),
        ("b: *x", "aliases"),
        (
            "a: &a [x]\n" + "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefgh")),
            "anchors",
        ),
        ("a: !!python/object:os.system x", "tags"),
        ("a: !local x", "tags"),
        ("a: b\n---\nc: d", "one YAML document"),
        ("a: " + "[" * 20_000, "deeper"),
        ("[" * 20_000, "deeper"),
        ('{"a":' * 20_000, "deeper"),
        ("? [a, b]\n: c", "plain string"),
        ("a: 'b", "not YAML"),
        ("a: \x07", "not allowed"),
    ],
)
def test_dangerous_documents_are_refused_at_once(text: str, words: str) -> None:
    """FAULTS D5, D6: no anchors, aliases, tags or deep nesting."""
    (problem,) = problems(text)
    assert words in problem.message
    assert problem.line is not None


def test_yaml_scalars_have_no_implicit_types() -> None:
    """FAULTS D6: NO, 12:30:45 and 0777 stay what the sender wrote."""
    text = "fileName: 0777\ntype: event\nclientEmail: a@b.de\nnullValues: [NO, 12:30:45, 0x1f, ~, 2024-01-01]\n"
    manifest = parse_manifest(text.encode())
    assert manifest.file_name == "0777"
    assert manifest.null_values == ("NO", "12:30:45", "0x1f", "~", "2024-01-01")


def test_json_scalars_keep_their_types() -> None:
    found = problems({**GOOD, "fileName": 1, "header": "true", "size": "42", "maxErrors": -1, "nullValues": [1]})
    assert [problem.path for problem in found] == ["fileName", "header", "size", "maxErrors", "nullValues[0]"]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": "\\ud800"}',
        '{"a": 01}',
        '{"a" 1}',
        "{",
        '{"a": "x\n"}',
        "{/* ",
    ],
)
def test_text_that_is_no_json_is_one_problem_with_a_place(text: str) -> None:
    """FAULTS D5: NaN, infinities, giant numbers and lone surrogates are refused."""
    (problem,) = problems(text)
    assert (problem.path, problem.line) == ("", 1)


@pytest.mark.parametrize("data", [b"", b"  \n", b"\xef\xbb\xbf", b"// only a comment", b"# only a comment"])
def test_a_manifest_without_content_says_that_it_is_empty(data: bytes) -> None:
    (problem,) = problems(data)
    assert "empty" in problem.message


def test_bytes_that_are_not_utf8_are_named_by_their_place() -> None:
    (problem,) = problems(b'{\n"a": "\xff"}')
    assert (problem.line, problem.column) == (2, 7)


def test_manifests_have_a_largest_size() -> None:
    """FAULTS D6."""
    assert "KiB" in problems(b" " * MAX_JSON_BYTES + b"{}")[0].message
    assert "YAML" in problems(b"a: " + b"b" * MAX_YAML_BYTES)[0].message


@pytest.mark.parametrize(
    "text",
    [
        '{"fileName": "a.csv.asc", "clientEmail": "a@b.de", "type": 1}',
        '{"fileName": "a.csv.asc", "clientEmail": "a@b.de" "type"}',
        "fileName: a.csv.asc\nclientEmail: 'a@b.de'\n: [",
    ],
)
def test_an_invalid_manifest_still_tells_file_and_address(text: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(text.encode())
    assert (caught.value.file_name, caught.value.client_email) == ("a.csv.asc", "a@b.de")


@pytest.mark.parametrize(
    ("column", "key"),
    [
        ({"ctName": "ts", "dataType": "String"}, "dataType"),
        ({"ctName": "EVTNAME", "dataType": "Integer"}, "dataType"),
        ({"ctName": "Identity", "dataType": "Date"}, "dataType"),
        ({"ctName": "a.b"}, "ctName"),
        ({"ctName": "_import"}, "ctName"),
        ({"dataType": "Integer", "format": "yyyy-MM-dd"}, "format"),
        ({"dataType": "Date", "format": "epoch", "timezone": "UTC"}, "timezone"),
        ({"separator": ";"}, "separator"),
        ({"dataType": "StringList", "separator": ""}, "separator"),
        ({"dataType": "StringList", "separator": " "}, "separator"),
        ({"dataType": "Integer", "separator": "|"}, "separator"),
    ],
)
def test_contradictions_of_a_column_are_problems(column: dict[str, str], key: str) -> None:
    (problem,) = problems({**GOOD, "columns": {"x": column}})
    assert problem.path == f"columns.x.{key}"


def test_ts_without_a_type_is_epoch_seconds_and_with_a_format_a_date() -> None:
    assert parsed(columns={"t": {"ctName": "TS"}}).columns["t"].data_type is DataType.INTEGER
    assert parsed(columns={"t": {"ctName": "ts", "format": "yyyy-MM-dd"}}).columns["t"].data_type is DataType.DATE


def test_errors_are_tolerated_as_the_manifest_says() -> None:
    assert parsed().tolerates(rejected=9, read=10)
    assert not parsed(onError="abort").tolerates(rejected=1, read=10)
    assert parsed(onError="abort").tolerates(rejected=0, read=10)
    assert parsed(maxErrors=1).tolerates(rejected=1, read=10)
    assert not parsed(maxErrors=1).tolerates(rejected=2, read=10)
    assert parsed(maxErrors="20%").tolerates(rejected=2, read=10)
    assert not parsed(maxErrors="20%").tolerates(rejected=3, read=10)


def test_delimiter_and_quote_must_differ() -> None:
    assert parsed(delimiter="\t", quote="'").delimiter == "\t"
    assert [problem.path for problem in problems({**GOOD, "delimiter": '"'})] == ["delimiter"]
    assert [problem.path for problem in problems({**GOOD, "delimiter": ",,"})] == ["delimiter"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "columns", "nullValues", "x"]), JSON_VALUES), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_json_is_a_manifest_or_has_problems_with_places(document: dict[str, object], pretty: bool) -> None:
    text = json.dumps(document, indent=2 if pretty else None, ensure_ascii=pretty)
    found: tuple[Problem, ...] = ()
    try:
        parse_manifest(text.encode("utf-8", "replace"))
    except ManifestInvalid as error:
        found = error.problems
    assert all(problem.line is not None and problem.column is not None for problem in found)


@given(st.binary(max_size=60) | st.text("{}[]:,\"'\\/*#&!|>-? \nab0", max_size=60).map(str.encode))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_a_manifest_or_invalid(data: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        parse_manifest(data)


@pytest.mark.parametrize(
    ("target", "data_type", "is_problem"),
    [
        ("Age", "Integer", False),
        ("Age", "String", True),
        ("Married", "String", False),
        ("employed", "Boolean", False),
        ("Employed", "Integer", True),
        ("Education", "Boolean", True),
        ("MSG-sms", "Boolean", False),
        ("msg-SMS", "String", True),
    ],
)
def test_profile_fields_have_types_of_their_own(target: str, data_type: str, *, is_problem: bool) -> None:
    columns = {"x": {"ctName": target, "dataType": data_type}}
    if is_problem:
        (problem,) = problems({**GOOD, "type": "profile", "columns": columns})
        assert problem.path == "columns.x.dataType"
        assert "can only be" in problem.message
    else:
        parsed(type="profile", columns=columns)
    parsed(type="event", columns=columns)

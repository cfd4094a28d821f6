"""``sealdrop manifest check``: needs no installation."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cli.conftest import EVENT_COLUMNS, EVENTS, Desk

BAD = """\
{
  "fileName": "../x.csv",
\t"type": "evnt",
  "clientEmail": "[a@b.c](mailto:a@b.c)",
  "colums": {}
}
"""


@pytest.fixture
def manifest(desk: Desk) -> Path:
    content = {"fileName": "e.csv", "type": "event", "clientEmail": "a@b.example", "columns": EVENT_COLUMNS}
    return desk.write("good.manifest", json.dumps(content))


def test_good_manifest(desk: Desk, manifest: Path) -> None:
    assert "nothing is wrong" in desk.bare("manifest", "check", manifest).out
    assert desk.bare("manifest", "check", manifest, "--json").json == {"ok": True, "problems": [], "remarks": []}


def test_every_problem_is_shown_at_once_with_its_place_and_a_caret(desk: Desk) -> None:
    file = desk.write("bad.manifest", BAD)
    lines = desk.bare("manifest", "check", file, code=1).err.splitlines()
    places = [line.split(": ")[0] for line in lines if line.startswith(str(file))]
    assert places == [f"{file}:2:15", f"{file}:3:10", f"{file}:4:18", f"{file}:5:3"]
    assert lines[-1] == "4 problems"
    for number, line in enumerate(lines):
        if line.strip() == "^":
            assert lines[number - 1][line.index("^")] == '"'


def test_problems_as_json_have_their_places(desk: Desk) -> None:
    said = desk.bare("manifest", "check", desk.write("bad.manifest", BAD), "--json", code=1).json
    assert said["ok"] is False
    assert all(set(problem) == {"path", "message", "line", "column"} for problem in said["problems"])
    assert [(problem["path"], problem["line"]) for problem in said["problems"]][:3] == [
        ("fileName", 2),
        ("type", 3),
        ("clientEmail", 4),
    ]


def test_problem_in_a_manifest_of_one_long_line_is_shown_with_what_is_around_it(desk: Desk) -> None:
    columns: dict[str, dict[str, str]] = {f"column{number}": {} for number in range(500)}
    columns["ä\x07"] = {"dataType": "Nonsense"}
    text = json.dumps({"fileName": "e.csv", "type": "event", "clientEmail": "a@b.example", "columns": columns})
    lines = desk.bare("manifest", "check", desk.write("long.manifest", text), code=1).err.splitlines()
    excerpt, caret = next((above, line) for above, line in pairwise(lines) if line.strip() == "^")
    assert len(excerpt) <= 80
    assert excerpt[caret.index("^") :].startswith('"Nonsense"')


def test_text_that_would_steer_the_terminal_is_not_printed(desk: Desk) -> None:
    file = desk.write("bad.manifest", '{"fileName": "\x1b]0;title\x07\x1b[2J", "type": 1}')
    ran = desk.bare("manifest", "check", file, code=1)
    assert "\x1b" not in ran.err
    assert "\x07" not in ran.err


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"a: &x 1\n", b"{" * 100_000, b" " * 300_000])
def test_what_is_no_manifest_is_told_without_a_traceback(desk: Desk, content: bytes) -> None:
    ran = desk.bare("manifest", "check", desk.write("bad.manifest", content), code=1)
    assert ran.err.endswith("1 problem\n")
    assert ran.out == ""


def test_file_that_is_not_there_is_named(desk: Desk, manifest: Path) -> None:
    assert "nowhere cannot be read" in desk.bare("manifest", "check", "nowhere", code=1).err
    assert "nowhere cannot be read" in desk.bare("manifest", "check", manifest, "nowhere", code=1).err


def test_rows_of_a_data_file_are_checked_and_no_value_is_shown(desk: Desk, manifest: Path) -> None:
    data = desk.write("events.csv", EVENTS)
    ran = desk.bare("manifest", "check", manifest, data, code=1)
    assert "3 rows read, 1 would be rejected" in ran.out
    assert "canary-cell" not in ran.out + ran.err
    said = desk.bare("manifest", "check", manifest, data, "--json", code=1).json
    assert set(said) == {"ok", "problems", "remarks", "code", "message", "rows_read", "rows_rejected", "rejects"}
    assert (said["rows_read"], said["rows_rejected"], said["code"]) == (3, 1, None)
    (reject,) = said["rejects"]
    assert set(reject) == {"row", "column", "code", "reason"}
    assert (reject["row"], reject["column"]) == (2, "Amount")


@pytest.mark.parametrize("name", ["e.json", "e.data"])
def test_rows_of_a_json_file_are_checked(desk: Desk, name: str) -> None:
    content = {"fileName": f"{name}.asc", "type": "event", "clientEmail": "a@b.example", "eventName": "Seen"}
    manifest = desk.write("json.manifest", json.dumps(content))
    data = desk.write(name, '[{"identity": "u1"},\n {"identity": "canary-cell", "identity": 2}, {"identity": 3}]')
    said = desk.bare("manifest", "check", manifest, data, "--json", code=1).json
    assert (said["rows_read"], [reject["code"] for reject in said["rejects"]]) == (3, [611])
    assert "canary-cell" not in json.dumps(said)


def test_file_without_a_header_and_in_another_encoding_is_checked(desk: Desk) -> None:
    columns: dict[str, dict[str, str]] = {"identity": {}, "city": {}}
    content = {"fileName": "e.csv", "type": "event", "clientEmail": "a@b.example", "eventName": "Seen"}
    content |= {"header": False, "encoding": "ISO-8859-1", "columns": columns}  # type: ignore[dict-item]
    manifest = desk.write("bare.manifest", json.dumps(content))
    data = desk.write("e.csv", "")
    data.write_bytes("u1,Köln\nu2,Bonn\n".encode("latin-1"))
    assert "2 rows read, 0 would be rejected" in desk.bare("manifest", "check", manifest, data).out


def test_good_rows_end_with_0(desk: Desk, manifest: Path) -> None:
    data = desk.write("events.csv", EVENTS.replace("canary-cell", "1"))
    assert "3 rows read, 0 would be rejected" in desk.bare("manifest", "check", manifest, data).out
    assert desk.bare("manifest", "check", manifest, data, "--json").json["ok"] is True


def test_header_that_does_not_fit_is_told_with_its_code(desk: Desk, manifest: Path) -> None:
    data = desk.write("events.csv", EVENTS.replace("Amount", "Amout"))
    ran = desk.bare("manifest", "check", manifest, data, code=1)
    assert "data.header" in ran.err
    assert "Amout" in ran.err
    assert desk.bare("manifest", "check", manifest, data, "--json", code=1).json["code"] == "data.header"


def test_what_other_programs_refuse_is_a_note(desk: Desk) -> None:
    text = '{\n  // mine\n  "fileName": "e.csv", "type": "event", "clientEmail": "a@b.example",\n}\n'
    file = desk.write("loose.manifest", text)
    ran = desk.bare("manifest", "check", file)
    assert f"{file}:2:3: note: a comment is accepted here, but it is not JSON" in ran.err
    assert f"{file}:3:" in ran.err
    remarks = desk.bare("manifest", "check", file, "--json").json["remarks"]
    assert [(remark["line"], remark["column"]) for remark in remarks] == [(2, 3), (3, 69)]


def test_schema_is_printed_as_it_is_published(desk: Desk) -> None:
    printed = desk.bare("manifest", "schema").out
    assert printed == (Path(__file__).parents[2] / "docs" / "manifest.schema.json").read_text()
    assert json.loads(printed)["required"] == ["fileName", "type", "clientEmail"]


def test_draft_of_a_manifest_takes_the_file_that_it_was_made_from(desk: Desk) -> None:
    data = desk.write("events.csv", "user;event;when;Amount;seen\nu1;Charged;31/12/2026;10;01/02/2026\n")
    ran = desk.bare("manifest", "init", data)
    assert '"fileName": "events.csv.asc"' in ran.out
    assert "// ambiguous" in ran.out
    manifest = desk.write("drafted.manifest", ran.out)
    assert "1 rows read, 0 would be rejected" in desk.bare("manifest", "check", manifest, data).out
    said = desk.bare("manifest", "init", data, "--email", "a@b.example", "--json").json
    assert (said["type"], said["notes"]) == ("event", [])
    assert said["columns"][3] == {"column": "Amount", "dataType": "Integer", "note": None}
    assert '"clientEmail": "a@b.example"' in said["manifest"]
    profile = desk.bare("manifest", "init", data, "--type", "profile").out
    assert '"type": "profile"' in profile


@pytest.mark.parametrize("content", [b"", b"a,a\n1,2\n", b"\xff\xfea\x00", b'a,"b\n1,2\n'])
def test_what_is_no_csv_is_told_when_a_draft_is_wanted(desk: Desk, content: bytes) -> None:
    ran = desk.bare("manifest", "init", desk.write("bad.csv", content), code=1)
    assert ran.err.startswith("error: ")
    assert ran.out == ""


def test_draft_of_a_file_with_a_header_only(desk: Desk) -> None:
    assert '"x": {}  // no value' in desk.bare("manifest", "init", desk.write("h.csv", "identity,x\n")).out

"""``POST /1/upload``: the rules, casts and codes of files, and answers that say which record and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from manifests import codes
from manifests.types import DataType, ImportType
from tests.http.data_desk import DataDesk, data_desk, event, profile

ALONE: dict[int, list[Any]] = {
    509: [event(""), {"identity": "ann", "type": "event"}],
    512: [
        5, "x", [1], profile() | {"profileData": "x"}, profile() | {"evtData": {}}, event() | {"color": 1},
        event() | {"ts": [1]},
    ],
    513: [event("App Launched"), event("app launched")],
    514: [profile(Gender="X")],
    515: [profile(Email="nobody")],
    516: [profile(Phone="0151 23")],
    517: [profile(Employed="perhaps")],
    518: [profile(Education="Kindergarten")],
    519: [profile(Married="perhaps")],
    520: [profile(Age=200), profile(Age="old")],
    522: [event(**{f"p{number}": 1 for number in range(257)}), profile(**{f"p{number}": 1 for number in range(257)})],
    523: [profile("nan"), profile(""), {"type": "profile"}, profile() | {"FBID": "1"}, profile("u" * 1024)],
    524: [{"identity": "ann"}, {"identity": "ann", "type": "user"}, {"identity": "ann", "type": 1}, {"type": None}],
    525: [event() | {"ts": "soon"}, event() | {"ts": 1.5}],
    526: [{"objectId": "a b", "type": "profile"}],
    600: [event(Price="dear"), event(Price=True), profile(Score=2**63), profile(tags="x")],
    601: [profile(Born="yesterday"), profile(Born="$D_999999999999"), profile(Born=5)],
    602: [profile(Note="n" * 513), event("n" * 513)],
    603: [
        event("50%"), event() | {"evtData": {"identity": 1}}, event(**{"": 1}), event(**{"n" * 121: 1}),
        profile(**{"a.b": 1}), profile(_row=1), profile(**{"x\u200b": 1}),
    ],
    605: [profile(Note="a\0b")],
    611: [profile(Note="x", note="y")],
    620: [profile(Score={"$incr": 1}), profile(Score={"$add": ["x"]}), profile(tags={"$add": ["a"], "$remove": ["b"]})],
    621: [profile(tags=[str(number) for number in range(101)])],
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataDesk]:
    """An account that has some properties; the tests only send what is refused, or look."""
    with data_desk(tmp_path_factory.mktemp("shared")) as desk:
        desk.stored(
            event(Price=9.5),
            profile(Score=5, tags=["a"], Born="$D_1457271567", Note="n", Age=7, Gender="f"),
        )
        yield desk


@pytest.fixture
def with_files(tmp_path: Path) -> Iterator[DataDesk]:
    with data_desk(tmp_path) as made:
        yield made


@pytest.mark.parametrize("code", ALONE)
def test_a_record_that_breaks_a_rule_is_told_with_its_code(shared: DataDesk, code: int) -> None:
    """CONTRACT 5."""
    answer = shared.upload(*ALONE[code])
    assert (answer["status"], answer["processed"]) == ("fail", 0)
    refused = answer["unprocessed"]
    assert [(each["status"], each["code"]) for each in refused] == [("fail", code)] * len(ALONE[code])
    sent = [json.dumps(record) if code == codes.BAD_ENCODING else record for record in ALONE[code]]
    assert [each["record"] for each in refused] == sent
    assert all(each["error"] for each in refused)


def test_codes_that_depend_on_what_came_before(desk: DataDesk) -> None:
    """CONTRACT 3: discarded names, and as many names as an account may have."""
    desk.app.history.set_discarded(desk.account, "Noise", discarded=True, now=desk.workshop.now, actor="test")
    assert desk.codes(event("Noise")) == [528]
    assert desk.codes(*(event(f"Event {number}") for number in range(515))) == [622] * 4


def test_every_code_of_a_record_is_tried_or_named_here() -> None:
    """Those of files only have no counterpart: ragged rows and quotes; a column cannot come too late here."""
    only_files = {codes.RAGGED, codes.BAD_QUOTE, codes.LATE_KEY}
    elsewhere = {codes.EVENT_DISCARDED, codes.TOO_MANY_EVENT_NAMES, codes.BAD_JSON, codes.OUR_FAULT}
    assert ALONE.keys() | only_files | elsewhere == codes.ROW_CODES.keys()


def test_good_records_are_stored_beside_bad_ones(desk: DataDesk) -> None:
    bad = profile("bob", Email="nobody")
    answer = desk.upload(event(Price=1), bad, profile(City="Köln"), {"type": "event"}, event(Price=2))
    assert (answer["status"], answer["processed"]) == ("partial", 3)
    assert [refused["code"] for refused in answer["unprocessed"]] == [515, 523]
    assert answer["unprocessed"][0]["record"] == bad
    assert "nobody" not in answer["unprocessed"][0]["error"]
    assert sorted(each["event_props"]["Price"] for each in desk.events("Charged")) == [1, 2]
    assert desk.profile(identity="bob") is None
    found = desk.profile(identity="ann")
    assert found is not None
    assert found["profileData"] == {"City": "Köln"}


def test_the_sample_of_the_guide_is_stored(desk: DataDesk) -> None:
    person = {
        "Name": "Test Name", "Email": "test@example.com", "Phone": "+14155551235", "Gender": "M",
        "Customer Type": "Gold", "KYC Document": "PAN", "Game Level": "Intermediate",
    }  # fmt: skip
    desk.stored(profile("18121994201671", **person))
    found = desk.profile(email="test@example.com")
    assert found is not None
    assert found["profileData"] | {"Email": found["email"]} == person


def test_a_dry_run_answers_the_same_and_stores_nothing(desk: DataDesk) -> None:
    records = [event(Price=1), profile(Email="nobody"), profile(Score=1)]
    for _ in range(2):
        tried = desk.post(records, "/1/upload?dryRun=1", Idempotency_Key="k")
        assert tried.json()["processed"] == 2
    assert desk.lake.registry(desk.account, ImportType.EVENT) == {}
    assert desk.app.history.event_names(desk.account) == []
    assert desk.profile(identity="ann") is None
    assert desk.post(records, Idempotency_Key="k").content == tried.content
    assert desk.send("{}", "/1/upload?dryRun=perhaps").json()["code"] == "query.invalid"


def test_the_first_value_decides_the_type_of_a_property(desk: DataDesk) -> None:
    when = datetime(2016, 3, 6, 13, 39, 27, tzinfo=UTC)
    desk.stored(
        event(whole=1, part=1, truth=True, when="$D_1457271567", words="01", list=["b", "a", "b"], nested={"a": 1.50}),
        event(part=1.5, words=7, truth=0, when="2016-03-06", whole=None, empty=None, nested=[1, {"b": "ü"}]),
    )
    assert desk.lake.registry(desk.account, ImportType.EVENT) == {
        "whole": DataType.INTEGER,
        "part": DataType.FLOAT,
        "truth": DataType.BOOLEAN,
        "when": DataType.DATE,
        "words": DataType.STRING,
        "list": DataType.STRING_LIST,
        "nested": DataType.STRING,
    }
    second, first = desk.lake.events(desk.account).to_dicts()
    assert (first["whole"], first["part"], first["truth"], first["when"]) == (1, 1.0, True, when)
    assert (first["words"], first["list"], first["nested"]) == ("01", ["b", "a"], '{"a": 1.5}')
    assert (second["words"], second["truth"], second["nested"]) == ("7", False, '[1, {"b": "ü"}]')


def test_what_is_not_stored_fixes_no_type_and_no_name(desk: DataDesk) -> None:
    assert desk.codes(event(New="x") | {"ts": "soon"}, event("Other", New="x") | {"identity": "nan"}) == [525, 523]
    assert desk.lake.registry(desk.account, ImportType.EVENT) == {}
    assert desk.app.history.event_names(desk.account) == []
    desk.stored(event(New=5))
    assert desk.lake.registry(desk.account, ImportType.EVENT) == {"New": DataType.INTEGER}


def test_the_spelling_and_the_type_that_files_have_stored_count(with_files: DataDesk) -> None:
    desk = with_files
    desk.workshop.received("identity,Score\nann,7.5\n", columns={"Score": {"dataType": "Float"}})
    assert desk.workshop.carried_out().rows_stored == 1
    desk.stored(profile("bob", score=3))
    assert desk.codes(profile("bob", SCORE="many")) == [600]
    found = desk.profile(identity="bob")
    assert found is not None
    assert found["profileData"] == {"Score": 3.0}


def test_operations_fold_in_the_order_of_receipt_files_and_uploads_alike(with_files: DataDesk) -> None:
    """CONTRACT 3: what was received later counts later, also when it was stored earlier."""
    desk = with_files
    desk.stored(profile(tags=["a", "b"], City="Bonn", Plan="free"))
    columns = {"tags": {"dataType": "StringList", "separator": "|"}}
    desk.workshop.received("identity,tags,tags.operation,City\nann,c,$add,Trier\n", columns=columns)
    desk.stored(profile(tags={"$remove": ["a", "c"]}, City="Köln", Plan={"$delete": 1}))
    desk.workshop.carried_out()
    found = desk.profile(identity="ann")
    assert found is not None
    assert found["profileData"] == {"tags": ["b"], "City": "Köln"}


def test_as_many_custom_properties_as_an_account_may_have(desk: DataDesk) -> None:
    desk.stored(profile(**{f"p{number}": 1 for number in range(250)}))
    more = profile(**{f"q{number}": 1 for number in range(5)})
    records = [profile(Email="a@x.de", q0=1), more, profile(q5=1), profile(q6=1)]
    assert desk.codes(*records) == [522]
    assert desk.codes(profile(q5=2, p3=4), profile(q7=1)) == [522]


def test_a_body_that_is_no_array_of_records_is_refused_whole(shared: DataDesk) -> None:
    for body, text in (
        ("", "empty"),
        ("[]", "under the one key d"),
        ('{"d": {}}', "under the one key d"),
        ('{"records": []}', "under the one key d"),
        ('{"d": [], "d": []}', "follows the array"),
        ('{"d": [{}', "does not end"),
        ('{"d": [{},]}', "comma"),
        ('{"e": nope}', "line 1, column 7"),
        (b'\xff\xfe{\x00"\x00', "no JSON"),
    ):
        answer = shared.send(body)
        assert answer.status_code == 400, body
        assert answer.json()["code"] == "body.malformed"
        assert text in answer.json()["error"]
    many = shared.post([{}] * 1001)
    assert (many.status_code, many.json()["code"]) == (413, "body.too_many_records")
    assert shared.send('{"d": []}').json() == {"status": "success", "processed": 0, "unprocessed": []}


STRICT = {
    '{"a": 1, "a": 2}': 611,
    '{"type": "profile", "identity": "x", "profileData": {"a": {"b": 1, "b": 2}}}': 611,
    '{"a": NaN}': 610,
    '{"a": -Infinity}': 610,
    '{"a": "\\ud800"}': 610,
    '{"a": 01}': 610,
    '{"a": "\t"}': 610,
    '{"a": }': 610,
    "[" * 100_000 + "]" * 100_000: 610,
    '{"a": ' * 65 + "1" + "}" * 65: 610,
    '{"a": "\\u0000"}': 605,
    '{"type": "profile", "identity": "x", "profileData": {"Score": 1e999}}': 600,
    f'{{"type": "profile", "identity": "x", "profileData": {{"Score": {"9" * 5000}}}}}': 600,
}


@pytest.mark.parametrize("code", [600, 605, 610, 611])
def test_json_is_read_strictly_and_one_bad_record_spoils_no_other(shared: DataDesk, code: int) -> None:
    """FAULTS.md D5."""
    bad = [text for text, expected in STRICT.items() if expected == code]
    answer = shared.send(f'{{"d": [{{"type": "profile", "identity": "ok"}}, {", ".join(bad)}]}}')
    assert answer.status_code == 200
    refused = answer.json(parse_constant=lambda _: pytest.fail("the answer is no JSON"), parse_int=str)
    assert [each["code"] for each in refused["unprocessed"]] == [str(code)] * len(bad)
    assert refused["processed"] == "1"


def test_bytes_that_are_no_text_are_told_for_their_record(shared: DataDesk) -> None:
    answer = shared.send(b'{"d": [{"type": "profile", "identity": "\xff"}, {"type": "profile", "identity": "ok"}]}')
    assert [each["code"] for each in answer.json()["unprocessed"]] == [605]


def test_a_value_that_looks_like_an_operation_is_none(desk: DataDesk) -> None:
    desk.stored(profile(Note="x"), profile(Note='{"$delete": 1}'))
    found = desk.profile(identity="ann")
    assert found is not None
    assert found["profileData"] == {"Note": '{"$delete": 1}'}


def test_a_closed_account_stores_nothing(desk: DataDesk) -> None:
    desk.app.accounts.set_state(desk.account, "disabled", now=desk.workshop.now, actor="test")
    answer = desk.post([event()])
    assert (answer.status_code, answer.json()["code"]) == (403, "account.disabled")

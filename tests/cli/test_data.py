"""``sealdrop profile``, ``sealdrop events`` and ``sealdrop lake``."""

from __future__ import annotations

import pytest

from tests.cli.conftest import EVENTS, Desk


@pytest.fixture
def acme(desk: Desk) -> Desk:
    key_id = desk.account_with_pair()
    desk.encrypted("events.csv.asc", EVENTS.replace("canary-cell", "9"), key_id)
    desk.run("import", "run", "acme", desk.event_manifest("events.manifest", key_id))
    return desk


def with_profiles(desk: Desk, content: str) -> None:
    key_id = desk.account_with_pair()
    desk.encrypted("users.csv.asc", content, key_id)
    columns = {"user": {"ctName": "identity"}, "object": {"ctName": "objectId"}}
    desk.run(
        "import", "run", "acme",
        desk.event_manifest("users.manifest", key_id, fileName="users.csv.asc", type="profile", columns=columns),
    )  # fmt: skip


def users(events: list[dict[str, object]]) -> list[object]:
    return [event["identity"] for event in events]


def test_events_are_listed_newest_first(acme: Desk) -> None:
    events = acme.json("events", "list", "acme")
    assert users(events) == ["u3", "u2", "u1"]
    assert events[0]["ts"] == "2026-01-05T00:00:00Z"
    assert events[0]["Amount"] == 7
    ran = acme.run("events", "list", "acme")
    assert ran.out.splitlines()[0].split() == ["identity", "evtName", "ts", "Amount"]
    assert "_import" not in ran.out


def test_events_are_filtered_by_name_day_and_number(acme: Desk) -> None:
    assert users(acme.json("events", "list", "acme", "--name", "Charged")) == ["u2", "u1"]
    assert users(acme.json("events", "list", "acme", "--from", "2026-01-03")) == ["u3", "u2"]
    assert users(acme.json("events", "list", "acme", "--to", "20260103")) == ["u2", "u1"]
    assert users(acme.json("events", "list", "acme", "--from", "2026-01-03", "--to", "2026-01-03")) == ["u2"]
    assert users(acme.json("events", "list", "acme", "--limit", 1)) == ["u3"]
    assert "--limit shows more" in acme.run("events", "list", "acme", "--limit", 1).err


def test_no_event_that_fits_is_no_failure(acme: Desk) -> None:
    acme.run("account", "add", "other")
    for words in (("acme", "--name", "Nothing"), ("other",)):
        assert acme.json("events", "list", *words) == []
        assert acme.run("events", "list", *words).err == "No event that fits.\n"


def test_profile_is_shown_by_identity_and_by_object_id(desk: Desk) -> None:
    with_profiles(desk, "user,object,City\nu1,,Köln\n,o2,Bonn\nu1,,Trier\n")
    assert desk.json("profile", "show", "acme", "--identity", "u1") == {"identity": "u1", "City": "Trier"}
    assert desk.json("profile", "show", "acme", "--object-id", "o2") == {"objectId": "o2", "City": "Bonn"}
    assert desk.run("profile", "show", "acme", "--identity", "u1").out == "identity  u1\nCity      Trier\n"


def test_unknown_user_ends_with_1_and_a_text(desk: Desk) -> None:
    desk.run("account", "add", "acme")
    assert "no profile with this identity" in desk.fails("profile", "show", "acme", "--identity", "nobody")
    assert "no profile with this objectId" in desk.fails("profile", "show", "acme", "--object-id", "nobody")


def test_values_of_customers_are_neither_markup_nor_commands_for_the_terminal(desk: Desk) -> None:
    with_profiles(desk, "user,object,City\nu1,,[/red][bold]x[link=y]\nu2,,a\x1b[2Jb\x9b\n")
    assert "[/red][bold]x[link=y]" in desk.run("profile", "show", "acme", "--identity", "u1").out
    shown = desk.run("profile", "show", "acme", "--identity", "u2").out
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "a�[2Jb�" in shown


def test_values_in_a_table_are_no_markup_either(desk: Desk) -> None:
    key_id = desk.account_with_pair()
    desk.encrypted("events.csv.asc", "user,event,when,Amount,Note\nu1,Viewed,2026-01-02,1,[/red]\x1b[2J\n", key_id)
    desk.run("import", "run", "acme", desk.event_manifest("events.manifest", key_id))
    table = desk.run("events", "list", "acme").out
    assert "[/red]�[2J" in table
    assert "\x1b" not in table


def test_event_names_are_listed_and_may_be_discarded(acme: Desk) -> None:
    """Code 528."""
    assert [name["name"] for name in acme.json("events", "names", "acme")] == ["Charged", "Viewed"]
    acme.run("events", "discard", "acme", "Charged")
    assert "discarded" in acme.run("events", "names", "acme").out
    again = acme.json("import", "run", "acme", acme.folder / "events.manifest")
    assert (again["rows_stored"], [reject["code"] for reject in again["rejects"]]) == (1, [528, 528])
    acme.run("events", "keep", "acme", "Charged")
    assert acme.json("import", "run", "acme", acme.folder / "events.manifest")["rows_stored"] == 3
    assert "1 to 512 characters" in acme.run("events", "keep", "acme", "", code=2).err


def test_profile_is_folded_from_its_operations(desk: Desk) -> None:
    key_id = desk.account_with_pair()
    content = "user,tags,tags.operation,Email\nu1,a|b,,x@y.de\nu1,c,$add,\nu1,b,$remove,\nu2,z,$set,\nu2,,$delete,\n"
    desk.encrypted("users.csv.asc", content, key_id)
    columns = {"user": {"ctName": "identity"}, "tags": {"dataType": "StringList", "separator": "|"}}
    keys = {"fileName": "users.csv.asc", "type": "profile", "columns": columns}
    desk.run("import", "run", "acme", desk.event_manifest("users.manifest", key_id, **keys))
    shown = desk.json("profile", "show", "acme", "--identity", "u1")
    assert shown == {"identity": "u1", "tags": ["a", "c"], "Email": "x@y.de"}
    assert desk.json("profile", "show", "acme", "--identity", "u2") == {"identity": "u2"}
    assert "$operation" not in desk.run("profile", "show", "acme", "--identity", "u1").out


def test_a_compacted_lake_says_the_same(desk: Desk) -> None:
    with_profiles(desk, "user,object,City\nu1,,Köln\nu1,,Trier\n")
    (done,) = desk.json("lake", "compact", "acme")
    assert (done["account"], done["type"], done["rows"], done["files_before"]) == ("acme", "profile", 2, 1)
    assert desk.json("profile", "show", "acme", "--identity", "u1") == {"identity": "u1", "City": "Trier"}
    assert desk.json("lake", "compact") == []
    assert "in order already" in desk.run("lake", "compact").err
    desk.run("import", "run", "acme", desk.folder / "users.manifest")
    shown = desk.run("lake", "compact").out.splitlines()
    assert shown[1].split() == ["acme", "profiles", "4", "2", "1"]

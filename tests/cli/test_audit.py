"""``sealdrop audit``: what is listed, and what a verification says."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.cli.conftest import EVENTS, Desk

LISTED = {"line", "at", "actor", "action", "account", "subject", "outcome", "hash"}


def change(desk: Desk, statement: str) -> None:
    with closing(sqlite3.connect(desk.folder / "data" / "ledger.db")) as ledger:
        ledger.execute(statement)
        ledger.commit()


def test_list_shows_the_newest_first_and_no_key(desk: Desk) -> None:
    """FAULTS H10, K5."""
    key_id = desk.account_with_pair()
    desk.run("account", "add", "other")
    lines = desk.json("audit", "list")
    assert all(set(line) == LISTED for line in lines)
    assert [(line["line"], line["action"], line["account"]) for line in lines] == [
        (4, "account.add", "other"),
        (3, "key.add", "acme"),
        (2, "account.add", "acme"),
        (1, "audit.key", None),
    ]
    assert lines[1]["subject"] == key_id
    assert lines[1]["actor"].startswith("cli")
    assert [line["line"] for line in desk.json("audit", "list", "--account", "acme", "--limit", "1")] == [3]
    shown = desk.run("audit", "list").out
    assert key_id in shown
    assert "PRIVATE" not in shown + str(lines)
    assert "data@acme.example" not in shown + str(lines)


def test_whole_audit_verifies_and_tells_its_last_line(desk: Desk) -> None:
    desk.run("account", "add", "acme")
    verdict = desk.json("audit", "verify")
    last = desk.json("audit", "list")[0]
    assert verdict == {
        "ok": True,
        "first_bad": None,
        "problem": None,
        "last_good": {"line": last["line"], "hash": last["hash"]},
        "keyed": True,
        "keyed_from": 1,
        "cut": 0,
    }
    noted = f"{last['line']}:{last['hash']}"
    assert noted in desk.run("audit", "verify").out
    desk.run("account", "add", "other")
    desk.run("audit", "verify", "--noted", noted)
    assert "its hash is not" in desk.run("audit", "verify", "--noted", "2:" + "0" * 64, code=1).err


@pytest.mark.parametrize("number", [1, 3])
def test_first_bad_line_is_named(desk: Desk, number: int) -> None:
    """FAULTS H10."""
    desk.run("account", "add", "acme")
    desk.run("account", "add", "other")
    change(desk, f"UPDATE audit SET outcome = 'other' WHERE id = {number}")
    assert f"line {number}: " in desk.run("audit", "verify", code=1).err
    assert desk.json("audit", "verify", code=1)["first_bad"] == number
    assert desk.json("audit", "verify", "--chain-only", code=1)["first_bad"] == number


def test_audit_without_a_key_is_not_called_whole(desk: Desk) -> None:
    change(desk, "UPDATE audit_tip SET next_key = NULL, keyed_from = NULL, sealed_first_key = NULL")
    verdict = desk.json("audit", "verify", code=1)
    assert (verdict["ok"], verdict["keyed"], verdict["first_bad"]) == (False, False, None)
    assert desk.json("audit", "verify", "--chain-only")["ok"]


def test_chain_is_verified_without_the_master_key(desk: Desk) -> None:
    (desk.folder / "master.key").unlink()
    assert "master key" in desk.fails("audit", "verify")
    assert desk.json("audit", "verify", "--chain-only")["keyed"] is False


@pytest.mark.parametrize("noted", ["x", "3", "3:abc", "x:" + "0" * 64])
def test_noted_line_that_is_none_is_refused(desk: Desk, noted: str) -> None:
    assert noted in desk.fails("audit", "verify", "--noted", noted)


@pytest.mark.parametrize(
    ("words", "action", "outcome"),
    [
        (("key", "import", "acme", "{garbage}"), "key.add", "refused: key.rejected"),
        (
            ("key", "import", "acme", "{private}", "--passphrase-file", "{garbage}"),
            "key.add",
            "refused: key.passphrase_wrong",
        ),
        (
            ("key", "import", "acme", "{private}", "--passphrase-file", "{passphrase}"),
            "key.add",
            "refused: already_there",
        ),
        (("signer", "add", "acme", "{garbage}"), "signer.add", "refused: key.rejected"),
    ],
)
def test_refused_key_is_recorded(desk: Desk, words: tuple[str, ...], action: str, outcome: str) -> None:
    key_id = desk.account_with_pair()
    files = {
        "garbage": desk.write("canary-garbage", "canary"),
        "private": desk.folder / "keys" / f"{key_id}.private.asc",
        "passphrase": desk.folder / "keys" / f"{key_id}.passphrase",
    }
    desk.fails(*(word.format(**files) for word in words))
    lines = desk.json("audit", "list", "--account", "acme")
    assert (lines[0]["action"], lines[0]["subject"], lines[0]["outcome"]) == (action, "acme", outcome)
    assert "canary" not in str(lines)
    assert desk.json("audit", "verify")["ok"]


def test_use_of_a_pair_is_recorded(desk: Desk) -> None:
    key_id = desk.account_with_pair()
    desk.encrypted("events.csv.asc", EVENTS, key_id)
    desk.json("import", "run", "acme", desk.event_manifest("events.manifest", key_id))
    used = [line for line in desk.json("audit", "list", "--account", "acme") if line["action"] == "key.use"]
    assert [(line["subject"], line["outcome"]) for line in used] == [(key_id, "done")]

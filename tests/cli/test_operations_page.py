"""What docs/operations.md says to do works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ingest.settings import Settings
from tests.cli.conftest import EVENTS, Desk

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
COMMANDS = re.findall(r"^    sealdrop (.+)$", PAGE, re.MULTILINE)


@pytest.fixture
def acme(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    key_id = desk.account_with_pair()
    desk.encrypted("events.csv.asc", EVENTS, key_id)
    desk.event_manifest("events.manifest", key_id)
    desk.event_manifest("corrected.manifest", key_id, nullValues=["canary-cell"])
    desk.event_manifest("wrong.manifest", key_id, columns={"nothing": {}})
    monkeypatch.chdir(desk.folder)
    return desk


def test_every_command_of_the_page_does_what_it_says(acme: Desk) -> None:
    stored = acme.json("import", "run", "acme", "events.manifest")
    failed = acme.json("import", "run", "acme", "wrong.manifest", code=1)
    assert stored["rows_rejected"] == 1
    said = {}
    for command in COMMANDS:
        import_id = failed["id"] if " retry " in command else stored["id"]
        said[command] = acme.run(*command.replace("IMPORT", import_id).split()).out
    shown = said["imports show IMPORT"]
    assert [word in shown for word in ("received", "claimed", "settled", "succeeded")] == [True] * 4
    assert "is ready again" in said["imports retry IMPORT"]
    assert "1 read, 1 stored, 0 rejected" in said["import run acme --replay IMPORT --manifest corrected.manifest"]
    assert f"replay of  {stored['id']}" in re.sub(r" {2,}", "  ", said[COMMANDS[3]])
    assert "would go" in said["sweep --dry-run"]
    assert len(acme.json("events", "list", "acme")) == stored["rows_read"]


def test_replay_that_would_store_nothing_is_refused_and_says_why(acme: Desk) -> None:
    stored = acme.json("import", "run", "acme", "events.manifest")["id"]
    acme.run("import", "run", "acme", "--replay", stored, "--manifest", "corrected.manifest")
    said = acme.fails("import", "run", "acme", "--replay", stored)
    assert "stored already" in said
    assert "new upload" in said
    acme.run("import", "run", "acme", "events.manifest", "--replay", stored, code=2)
    acme.run("import", "run", "acme", "--manifest", "corrected.manifest", code=2)
    assert len(acme.json("imports", "list")) == 2


def test_sweep_tells_what_it_did(acme: Desk) -> None:
    acme.run("import", "run", "acme", "events.manifest")
    acme.config.write_text(acme.config.read_text() + "\n[retention]\narchive_days = 0\n")
    kinds = ["files", "results", "unfinished uploads", "unfinished copies", "notices", "timelines"]
    would = acme.json("sweep", "--dry-run")
    assert [each["what"] for each in would["swept"]] == kinds
    assert (would["dry_run"], would["swept"][0]["count"], would["distrusted_until"]) == (True, 1, None)
    assert acme.json("sweep")["swept"] == would["swept"]
    assert acme.json("sweep")["swept"][0]["count"] == 0


def test_settings_that_the_page_names_exist() -> None:
    sections = Settings.model_fields
    named = set(re.findall(r"`([a-z]+)\.([a-z_]+)`", PAGE)) - {("manifest", "file_missing")}
    assert named
    for section, name in named:
        annotation = sections[section].annotation
        assert annotation is not None
        assert name in annotation.model_fields, f"{section}.{name}"

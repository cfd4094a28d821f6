"""``sealdrop import run`` and ``sealdrop imports``."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.app import App
from ingest.ledger.imports import new_import_id
from ingest.settings import load_settings
from ingest.states import State
from tests.cli.conftest import EVENTS, Desk
from tests.support.served import SEALDROP, WAIT_S, sealdrop, wait_for

KEYS = {
    "id", "account", "manifest", "data_file", "type", "state", "code", "message", "rows_read", "rows_stored",
    "rows_rejected", "rejects", "received_at", "finished_at", "seconds", "key_id", "bytes_encrypted", "bytes_plain",
    "sha256",
}  # fmt: skip  # as DESIGN.md 6 promises


@pytest.fixture
def acme(desk: Desk) -> Desk:
    key_id = desk.account_with_pair()
    desk.encrypted("events.csv.asc", EVENTS, key_id)
    desk.event_manifest("events.manifest", key_id)
    return desk


def test_import_is_carried_out_and_reported(acme: Desk) -> None:
    report = acme.json("import", "run", "acme", acme.folder / "events.manifest")
    assert set(report) >= KEYS
    assert (report["state"], report["rows_read"], report["rows_stored"]) == ("succeeded", 3, 2)
    assert report["rejects"] == [{"row": 2, "column": "Amount", "code": 600, "reason": report["rejects"][0]["reason"]}]
    assert {"decrypt", "parse", "map", "load", "total"} <= set(report["seconds"])
    assert (acme.folder / "events.manifest").exists()
    assert (acme.folder / "events.csv.asc").exists()


def test_json_is_imported_like_csv(desk: Desk) -> None:
    key_id = desk.account_with_pair()
    records = list(csv.DictReader(io.StringIO(EVENTS)))
    desk.encrypted("events.json.asc", json.dumps(records, indent=1), key_id)
    manifest = desk.event_manifest("events.manifest", key_id, fileName="events.json.asc")
    report = desk.json("import", "run", "acme", manifest)
    assert (report["state"], report["rows_read"], report["rows_stored"]) == ("succeeded", 3, 2)
    assert [(reject["row"], reject["column"], reject["code"]) for reject in report["rejects"]] == [(2, "Amount", 600)]


def test_report_for_people_has_no_value_of_a_row(acme: Desk) -> None:
    ran = acme.run("import", "run", "acme", acme.folder / "events.manifest")
    assert "3 read, 2 stored, 1 rejected" in ran.out
    assert "canary-cell" not in ran.out + ran.err
    assert "row  column  code  reason" in ran.out


def test_import_that_fails_ends_with_1_and_says_what_to_do(acme: Desk) -> None:
    bad = acme.write("bad.manifest", '{"fileName": "events.csv.asc"}')
    ran = acme.run("import", "run", "acme", bad, code=1)
    assert "manifest.invalid" in ran.out
    assert "remedy" in ran.out
    report = acme.json("import", "run", "acme", bad, code=1)
    assert (report["state"], report["code"], report["data_file"]) == ("failed", "manifest.invalid", "events.csv.asc")


def test_files_that_are_missing_are_named_and_nothing_is_recorded(acme: Desk) -> None:
    assert "nowhere cannot be read" in acme.fails("import", "run", "acme", "nowhere")
    (acme.folder / "events.csv.asc").unlink()
    assert "events.csv.asc" in acme.fails("import", "run", "acme", acme.folder / "events.manifest")
    assert acme.json("imports", "list") == []


def test_imports_are_listed_newest_first_and_filtered(acme: Desk) -> None:
    acme.run("account", "add", "other", "--contact", "data@other.example")
    bad = acme.write("bad.manifest", "{}")
    ids = [acme.json("import", "run", name, bad, code=1)["id"] for name in ("acme", "other", "acme")]
    listed = acme.json("imports", "list")
    assert [report["id"] for report in listed] == ids[::-1]
    assert [report["id"] for report in acme.json("imports", "list", "--limit", 1)] == ids[2:]
    assert [report["id"] for report in acme.json("imports", "list", "--account", "other")] == ids[1:2]
    assert set(listed[0]) >= KEYS
    table = acme.run("imports", "list").out
    assert all(import_id in table for import_id in ids)
    assert "other/bad.manifest" in table


def test_import_is_shown_with_its_notices(acme: Desk) -> None:
    done = acme.json("import", "run", "acme", acme.folder / "events.manifest")
    shown = acme.json("imports", "show", done["id"])
    notices = shown.pop("notices")
    assert shown.pop("files_kept")
    timeline = shown.pop("timeline")
    assert [entry["what"] for entry in timeline] == ["received", "taken", "claimed", "picked_up", "settled"]
    assert timeline[-1]["seconds"] == done["seconds"]
    assert shown == done
    assert [(notice["stage"], notice["recipient"], notice["state"]) for notice in notices] == [
        ("picked_up", "data@acme.example", "pending"),
        ("succeeded", "data@acme.example", "pending"),
    ]
    text = acme.run("imports", "show", done["id"]).out
    assert "picked up" in text
    assert "data@acme.example" in text


def test_duplicate_is_shown_as_one_and_replayed_on_demand(acme: Desk) -> None:
    """FAULTS.md W3: a job that runs twice by mistake is no failure."""
    acme.run("account", "change", "acme", "--skip-duplicates")
    first, second = (acme.json("import", "run", "acme", acme.folder / "events.manifest") for _ in range(2))
    assert (second["state"], second["duplicate_of"]) == ("skipped", first["id"])
    assert second["first_received_at"] == first["received_at"]
    assert acme.json("imports", "list")[0] == second
    assert f"same as {first['id']}" in acme.run("imports", "list").out
    shown = acme.run("imports", "watch", second["id"]).out + acme.run("imports", "show", second["id"]).out
    assert "skipped" in shown
    assert f"same as        {first['id']}" in shown
    assert "Its rows are stored already (2 stored, 1 rejected)" in shown
    assert [notice["stage"] for notice in acme.json("imports", "show", second["id"])["notices"]] == ["skipped"]
    hint = f"sealdrop import run acme --replay {second['id']}"
    assert hint in acme.fails("imports", "retry", second["id"])
    again = acme.json(*hint.split()[1:])
    assert (again["state"], again["rows_stored"], again["replay_of"]) == ("succeeded", 2, second["id"])


@pytest.mark.parametrize("command", ["show", "watch", "retry"])
def test_unknown_import_is_named_with_the_way_to_the_known_ones(acme: Desk, command: str) -> None:
    ran = acme.run("imports", command, "nothing", code=1)
    assert "no import nothing" in ran.err
    assert "sealdrop imports list" in ran.err


def test_watching_an_import_that_is_over_ends_as_it_did(acme: Desk) -> None:
    done = acme.json("import", "run", "acme", acme.folder / "events.manifest")["id"]
    assert done in acme.run("imports", "watch", done).out
    failed = acme.json("import", "run", "acme", acme.write("bad.manifest", "{}"), code=1)["id"]
    assert "failed" in acme.run("imports", "watch", failed, code=1).out


def test_watching_an_import_lasts_until_it_is_over(acme: Desk) -> None:
    """Another process carries it out meanwhile."""
    import_id = received(acme)
    command = [str(SEALDROP), "--config", str(acme.config)]
    watching = subprocess.Popen([*command, "imports", "watch", import_id], stdout=subprocess.PIPE, text=True)
    serving = subprocess.Popen([*command, "serve", "--only", "worker"], stderr=subprocess.DEVNULL)
    try:
        shown, _ = watching.communicate(timeout=WAIT_S)
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(WAIT_S) == 0
    finally:
        for process in (watching, serving):
            process.kill()
            process.wait()
    assert watching.returncode == 0
    assert "succeeded" in shown


def test_import_that_was_held_is_tried_again(acme: Desk) -> None:
    """Its files are kept; what kept it from being carried out is gone."""
    import_id = received(acme)
    with closing(App(load_settings(acme.config))) as app:
        lease = app.queue.claim(app.now())
        assert lease is not None
        app.queue.settle(lease, replace(lease.report, state=State.HELD, code="vault.record_tampered"), (), app.now())
    ran = acme.run("imports", "retry", import_id)
    assert ran.out == f"import {import_id} is ready again\n"
    assert f"sealdrop imports watch {import_id}" in ran.err
    assert acme.json("imports", "show", import_id)["state"] == "ready"
    assert "only one that is over" in acme.fails("imports", "retry", import_id)


def test_import_whose_files_are_gone_is_not_tried_again(acme: Desk) -> None:
    done = acme.json("import", "run", "acme", acme.folder / "events.manifest")["id"]
    assert "only one that is over, and not stored" in acme.fails("imports", "retry", done)
    failed = acme.json("import", "run", "acme", acme.write("bad.manifest", "{}"), code=1)["id"]
    shutil.rmtree(acme.folder / "data" / "spool" / "taken" / failed)
    assert "sent again" in acme.fails("imports", "retry", failed)


def test_ctrl_c_ends_watching_without_a_traceback(acme: Desk) -> None:
    watching = subprocess.Popen(
        [str(SEALDROP), "--config", str(acme.config), "imports", "watch", received(acme)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: True if catches_sigint(watching.pid) else None)
    watching.send_signal(signal.SIGINT)
    shown, said = watching.communicate(timeout=WAIT_S)
    assert watching.returncode == 130
    assert "Traceback" not in shown + said


def test_import_that_must_wait_says_why_and_ctrl_c_leaves_it_to_the_service(acme: Desk) -> None:
    """FAULTS W12, W14: no room on the disk."""
    running = subprocess.Popen(
        [str(SEALDROP), "--config", str(acme.config), "import", "run", "acme", str(acme.folder / "events.manifest")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SEALDROP_DISK__MIN_FREE_BYTES": str(10**15)},
    )
    assert running.stderr is not None
    said = next(line for line in running.stderr if line.startswith("disk.full"))
    assert said == "disk.full: There is no room for the file on our side at the moment.\n"
    assert next(running.stderr).startswith("It is tried again by itself.")
    running.send_signal(signal.SIGINT)
    assert "Traceback" not in running.communicate(timeout=WAIT_S)[1]
    assert running.returncode == 130
    assert [each["state"] for each in acme.json("imports", "list")] == ["deferred"]


def test_real_command_prints_json_to_standard_output_only(acme: Desk) -> None:
    manifest = acme.folder / "events.manifest"
    report = json.loads(sealdrop("--config", acme.config, "import", "run", "acme", manifest, "--json"))
    assert report["state"] == "succeeded"


def received(desk: Desk) -> str:
    """An import that waits for a worker."""
    with closing(App(load_settings(desk.config))) as app:
        import_id = new_import_id(app.now())
        app.imports.receive(import_id, "acme", "events.manifest", "events.csv.asc", app.now())
        for which, name in (("manifest", "events.manifest"), ("data", "events.csv.asc")):
            os.link(desk.folder / name, app.spool.drop("acme") / name)
            assert app.spool.take("acme", name, import_id, "manifest" if which == "manifest" else "data")
        app.imports.ready(import_id, app.now())
    return import_id


def catches_sigint(pid: int) -> bool:
    """Whether the process is an interpreter that has run long enough to look into the ledger."""
    with contextlib.suppress(FileNotFoundError):  # a file that was just closed
        return any(link.readlink().name == "ledger.db" for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_dry_run_and_drift_are_shown(acme: Desk) -> None:
    key_id = json.loads((acme.folder / "events.manifest").read_text())["keyId"]
    tried = acme.event_manifest("tried.manifest", key_id, dryRun=True)
    report = acme.json("import", "run", "acme", tried)
    assert (report["state"], report["dry_run"], report["rows_stored"]) == ("succeeded", True, 0)
    (preview,) = report["preview"]
    assert (preview["name"], preview["filled"], preview["rejected"]) == ("Amount", 2, 1)
    shown = acme.run("imports", "show", report["id"]).out
    assert "nothing was stored" in shown
    assert ["Amount", "Integer", "2", "2", "1"] in [line.split() for line in shown.splitlines()]
    assert "dry run" in acme.run("imports", "list").out
    assert acme.json("events", "list", "acme") == []

    acme.run("import", "run", "acme", acme.folder / "events.manifest")
    acme.encrypted("events.csv.asc", "user,event,when,Amount,Shop\nu1,Charged,2026-01-02,10,x\n", key_id)
    changed = acme.json("import", "run", "acme", acme.folder / "events.manifest")
    assert [(drift["kind"], drift["column"]) for drift in changed["drift"]] == [("column.new", "Shop")]
    assert 'The column "Shop" is new.' in acme.run("imports", "show", changed["id"]).out

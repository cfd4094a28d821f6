"""``sealdrop init``, ``serve`` and ``check``."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from ingest.settings import load_settings
from tests.cli.conftest import Desk
from tests.support.served import SEALDROP, WAIT_S


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def other_master_key(desk: Desk) -> None:
    (desk.folder / "master.key").write_text(secrets.token_hex(32) + "\n")


def serve(desk: Desk, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SEALDROP), "--config", str(desk.config), "serve", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def test_init_makes_an_installation_and_says_what_is_next(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "place"
    ran = desk.bare("init", folder, "--port", "2022", "--mail-host", "relay.example", "--mail-port", "25")
    settings = load_settings(folder / "sealdrop.toml")
    assert (settings.door.port, settings.mail.host, settings.mail.port) == (2022, "relay.example", 25)
    assert "known_hosts  [127.0.0.1]:2022 ssh-ed25519 " in ran.out
    for words in ("account add", "key generate", "serve"):
        assert f"--config {folder}/sealdrop.toml {words}" in ran.err
    for secret in ("master.key", "ssh_host_ed25519_key"):
        assert stat.S_IMODE((folder / secret).stat().st_mode) == 0o600
        assert (folder / secret).read_text().strip() not in ran.out + ran.err
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert desk.bare("--config", folder / "sealdrop.toml", "account", "list", "--json").json == []


def test_init_refuses_an_existing_installation_and_changes_nothing(desk: Desk) -> None:
    before = everything_in(desk.folder)
    said = desk.bare("init", desk.folder, "--port", "2022", code=1).err
    assert "installation here already" in said
    assert everything_in(desk.folder) == before


def test_init_finishes_what_was_interrupted(desk: Desk) -> None:
    key = (desk.folder / "master.key").read_bytes()
    desk.config.unlink()  # written last
    desk.bare("init", desk.folder)
    assert (desk.folder / "master.key").read_bytes() == key
    desk.account_with_pair()


@pytest.mark.parametrize("lost", ["missing", "other"])
def test_init_makes_no_new_master_key_for_a_ledger_that_has_one(desk: Desk, lost: str) -> None:
    """FAULTS K2: never re-created; the old one must be put back."""
    key = desk.folder / "master.key"
    right = key.read_bytes()
    if lost == "missing":
        key.unlink()
    else:
        other_master_key(desk)
    desk.config.unlink()
    said = desk.bare("init", desk.folder, code=1).err
    assert "master key" in said.lower()
    assert key.exists() == (lost == "other")
    assert not desk.config.exists()
    key.write_bytes(right)
    key.chmod(0o600)
    desk.bare("init", desk.folder)


def test_init_takes_host_names_as_they_are(desk: Desk, tmp_path: Path) -> None:
    host = 'relay"\nport = 1 # ü'
    desk.bare("init", tmp_path / "new", "--mail-host", host)
    assert load_settings(tmp_path / "new" / "sealdrop.toml").mail.host == host


@pytest.mark.parametrize("lost", ["missing", "other", "readable by others", "damaged"])
def test_serve_refuses_a_master_key_that_is_not_the_right_one(desk: Desk, lost: str) -> None:
    """FAULTS K2."""
    key = desk.folder / "master.key"
    match lost:
        case "missing":
            key.unlink()
        case "other":
            other_master_key(desk)
        case "readable by others":
            key.chmod(0o644)
        case "damaged":
            key.write_text("abc\n")
    before = everything_in(desk.folder)
    ran = serve(desk, "--only", "door", SEALDROP_DOOR__PORT="0")
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    assert "master key" in ran.stderr.lower()
    assert "Traceback" not in ran.stderr
    assert everything_in(desk.folder) == before


@pytest.mark.parametrize("lost", ["missing", "other"])
def test_import_refuses_a_wrong_master_key_and_records_nothing(desk: Desk, lost: str) -> None:
    """FAULTS K2."""
    key_id = desk.account_with_pair()
    desk.encrypted("events.csv.asc", "user,event\nu1,Viewed\n", key_id)
    manifest = desk.event_manifest("events.manifest", key_id)
    if lost == "missing":
        (desk.folder / "master.key").unlink()
    else:
        other_master_key(desk)
    assert "master key" in desk.fails("import", "run", "acme", manifest).lower()
    assert desk.json("imports", "list") == []
    assert (desk.folder / "master.key").exists() == (lost == "other")


def test_serve_says_when_its_port_is_taken(desk: Desk) -> None:
    first = subprocess.Popen(
        [str(SEALDROP), "--config", str(desk.config), "serve", "--only", "door"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SEALDROP_DOOR__PORT": "0"},
    )
    try:
        assert first.stderr is not None
        port = next(line.split()[-1].rstrip(".") for line in first.stderr if line.startswith("The door is open"))
        ran = serve(desk, "--only", "door", SEALDROP_DOOR__PORT=port)
        first.send_signal(signal.SIGTERM)
        assert first.wait(WAIT_S) == 0
    finally:
        first.kill()
        first.communicate()
    assert ran.returncode == 1
    assert port in ran.stderr
    assert "Traceback" not in ran.stderr


def test_check_is_satisfied_with_a_fresh_installation(desk: Desk) -> None:
    findings = desk.json("check")
    assert all(set(finding) == {"check", "verdict", "text"} for finding in findings)
    verdicts = {finding["check"]: finding["verdict"] for finding in findings}
    assert verdicts["master key"] == verdicts["host key"] == verdicts["data folder"] == "ok"
    assert verdicts["accounts"] == verdicts["mail"] == "warn"
    assert "fail" not in verdicts.values()


def test_check_fails_with_a_wrong_master_key(desk: Desk) -> None:
    """FAULTS K2."""
    other_master_key(desk)
    ran = desk.run("check", code=1)
    line = next(line for line in ran.out.splitlines() if "master key" in line)
    assert line.startswith("fail")
    verdicts = {finding["check"]: finding["verdict"] for finding in desk.json("check", code=1)}
    assert verdicts["master key"] == "fail"


def test_check_says_what_an_account_lacks(desk: Desk) -> None:
    desk.run("account", "add", "bare")
    texts = {finding["check"]: finding["text"] for finding in desk.json("check")}
    assert texts["account bare"] == "no SSH key, no address for notices, no key pair"
    desk.run("account", "add", "full", "--ssh-key", desk.ssh_key(), "--contact", "data@full.example")
    desk.json("key", "generate", "full", "--type", "cv25519", "--out", desk.folder / "keys")
    verdicts = {finding["check"]: finding["verdict"] for finding in desk.json("check")}
    assert verdicts["account full"] == "ok"

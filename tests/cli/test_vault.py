"""``sealdrop vault``, and which master key a service starts with."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keystore.master_key import master_key_id
from keystore.secret import Secret
from tests.cli.conftest import Desk
from tests.cli.test_setup import everything_in, serve

SHOWN = {
    "master_key",
    "since",
    "source",
    "secrets",
    "rotation_unfinished",
    "old_key_files",
    "to_do",
    "problem",
}


def key_of(file: Path) -> str:
    return master_key_id(Secret(bytes.fromhex(file.read_text().strip())))


def test_show_names_the_key_and_never_shows_it(desk: Desk) -> None:
    """FAULTS K5."""
    desk.account_with_pair()
    file = desk.folder / "master.key"
    shown = desk.json("vault", "show")
    assert set(shown) == SHOWN
    assert shown["master_key"] == key_of(file)
    assert shown["secrets"] == {key_of(file): 3}
    assert shown["source"] == f"the file {file}"
    assert (shown["to_do"], shown["problem"], shown["rotation_unfinished"]) == (None, None, False)
    ran = desk.run("vault", "show")
    assert f"3 under {key_of(file)}" in ran.out
    assert file.read_text().strip() not in ran.out + ran.err


def test_rotate_goes_over_to_a_new_key_and_says_where_the_old_one_is(desk: Desk) -> None:
    key_id = desk.account_with_pair()
    file = desk.folder / "master.key"
    old, old_text = key_of(file), file.read_text()
    rotated = desk.json("vault", "rotate")
    assert rotated == {
        "master_key": key_of(file),
        "old_master_key": old,
        "secrets": 3,
        "damaged": [],
        "old_key_file": str(desk.folder / f"master.key.old-{old}"),
        "to_do": None,
    }
    assert Path(rotated["old_key_file"]).read_text() == old_text
    assert desk.json("vault", "show")["old_key_files"] == [rotated["old_key_file"]]
    Path(rotated["old_key_file"]).unlink()
    desk.encrypted("events.csv.asc", "user,event,when,Amount\nu1,Charged,2026-01-02,10\n", key_id)
    manifest = desk.event_manifest("events.manifest", key_id)
    assert desk.json("import", "run", "acme", manifest)["state"] == "succeeded"


def test_rotate_says_what_to_do_with_both_keys(desk: Desk) -> None:
    given = desk.write("given", secrets.token_hex(32))
    given.chmod(0o600)
    ran = desk.run("vault", "rotate", "--new-key-file", given)
    assert key_of(desk.folder / "master.key") == key_of(given)
    assert f"Remove {given}" in ran.err
    assert "Keep a copy" in ran.err
    assert "destroy it" in ran.err
    assert given.read_text() not in ran.out + ran.err


@pytest.mark.parametrize("content", [None, "abc", "readable"])
def test_new_key_file_without_a_usable_key_changes_nothing(desk: Desk, content: str | None) -> None:
    if content is not None:
        desk.write("given", secrets.token_hex(32) if content == "readable" else content).chmod(
            0o644 if content == "readable" else 0o600
        )
    before = everything_in(desk.folder)
    assert "given" in desk.fails("vault", "rotate", "--new-key-file", desk.folder / "given")
    assert everything_in(desk.folder) == before


def test_show_says_what_is_wrong_with_a_wrong_key(desk: Desk) -> None:
    """FAULTS K2."""
    file = desk.folder / "master.key"
    right = key_of(file)
    file.write_text(secrets.token_hex(32))
    shown = desk.json("vault", "show", code=1)
    assert shown["master_key"] == right
    assert right in shown["problem"]
    assert key_of(file) in shown["problem"]
    assert right in desk.run("vault", "show", code=1).err
    before = everything_in(desk.folder)
    assert "master key" in desk.fails("vault", "rotate").lower()
    assert everything_in(desk.folder) == before


def test_unfinished_rotation_is_told_by_show_and_check(desk: Desk) -> None:
    desk.account_with_pair()
    with closing(sqlite3.connect(desk.folder / "data" / "ledger.db")) as ledger:
        ledger.execute("UPDATE pgp_keys SET sealed_passphrase = sealed_private_key")  # a secret of another record
        ledger.commit()
    rotated = desk.json("vault", "rotate", code=1)
    assert [record["kind"] for record in rotated["damaged"]] == ["pgp.passphrase"]
    shown = desk.json("vault", "show")
    assert shown["rotation_unfinished"]
    assert shown["secrets"] == {rotated["old_master_key"]: 1, rotated["master_key"]: 2}
    assert "vault rotate" in shown["to_do"]
    assert {f["check"]: f["verdict"] for f in desk.json("check")}["master key"] == "warn"
    assert "Damaged: pgp.passphrase" in desk.run("vault", "rotate", code=1).err


@pytest.fixture
def sources(desk: Desk, tmp_path: Path) -> dict[str, dict[str, str]]:
    """The installation without its key file: what to add to the environment for each way of giving the key back."""
    (tmp_path / "credentials").mkdir()
    return {
        "credential": {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")},
        "environment": {"SEALDROP_VAULT__ALLOW_ENVIRONMENT": "true"},
    }


@pytest.mark.parametrize("source", ["credential", "environment"])
@pytest.mark.parametrize("lost", ["missing", "other", "damaged"])
def test_serve_starts_with_the_right_key_only(
    desk: Desk, sources: dict[str, dict[str, str]], source: str, lost: str
) -> None:
    """FAULTS K2: the sources that are no file; `test_setup` has those of the file."""
    file, environment = desk.folder / "master.key", sources[source]
    right = file.read_text()
    file.unlink()
    content = {"missing": None, "other": secrets.token_hex(32), "damaged": right[:-3]}[lost]
    if content is not None and source == "credential":
        (Path(environment["CREDENTIALS_DIRECTORY"]) / "master-key").write_text(content)
    elif content is not None:
        environment["SEALDROP_MASTER_KEY"] = content
    before = everything_in(desk.folder)
    ran = serve(desk, "--only", "notices", **environment)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: ")
    assert "master key" in ran.stderr.lower()
    assert "Traceback" not in ran.stderr
    assert right.strip() not in ran.stderr
    assert everything_in(desk.folder) == before


def test_environment_is_not_looked_at_unless_allowed(desk: Desk) -> None:
    """FAULTS K2."""
    file = desk.folder / "master.key"
    right = file.read_text()
    file.unlink()
    assert serve(desk, "--only", "notices", SEALDROP_MASTER_KEY=right).returncode == 1


@pytest.mark.parametrize("source", ["credential", "environment"])
def test_init_makes_no_key_file_when_the_key_comes_from_elsewhere(
    desk: Desk, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS K2."""
    digits = secrets.token_hex(32)
    if source == "credential":
        (tmp_path / "master-key").write_text(digits)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    else:
        monkeypatch.setenv("SEALDROP_VAULT__ALLOW_ENVIRONMENT", "true")
        monkeypatch.setenv("SEALDROP_MASTER_KEY", digits)
    desk.bare("init", tmp_path / "new")
    assert not (tmp_path / "new" / "master.key").exists()
    monkeypatch.setenv("SEALDROP_MASTER_KEY", digits)  # it was wiped
    shown = desk.bare("--config", tmp_path / "new" / "sealdrop.toml", "vault", "show", "--json").json
    assert shown["master_key"] == master_key_id(Secret(bytes.fromhex(digits)))

"""``sealdrop key rotate``, ``retire``, ``activate``, ``destroy``, ``show``, ``export`` and ``drill``."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keystore.pgp_encrypt import encrypt_to
from tests.cli.conftest import EVENTS, Desk
from tests.openpgp.sender import PASSPHRASE, Gpg

TOMORROW = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    sender = Gpg()
    sender.make_key("Acme <acme@example.com>", "ed25519", "cv25519", expires="2y")
    yield sender
    sender.close()


@pytest.fixture
def key_id(desk: Desk) -> str:
    """The key ID of a pair of acme."""
    return desk.account_with_pair()


def on_disk(desk: Desk) -> bytes:
    return b"".join(path.read_bytes() for path in (desk.folder / "data").rglob("*") if path.is_file())


def states(desk: Desk, key_id: str) -> list[str]:
    """Of the pairs of a key ID, newest first."""
    return [pair["state"] for pair in desk.json("key", "show", key_id)["pairs"]]


def imported(desk: Desk, key_id: str, data_of: str | None = None) -> Any:
    """What becomes of an import whose manifest names the key ID; ``data_of`` names the public key's file."""
    public_key = (desk.folder / "keys" / f"{data_of or key_id}.public.asc").read_bytes()
    desk.write("events.csv.asc", encrypt_to(public_key, EVENTS.encode()))
    ran = desk.bare(
        "--config", desk.config, "import", "run", "acme", desk.event_manifest("events.manifest", key_id), "--json",
        code=None,
    )  # fmt: skip
    return ran.json


def test_show_tells_all_about_a_pair_and_the_imports_that_used_it(desk: Desk, key_id: str) -> None:
    report = imported(desk, key_id)
    assert report["state"] == "succeeded"
    shown = desk.json("key", "show", key_id)
    assert set(shown) == {"key_id", "account", "signatures", "pairs", "imports"}
    (pair,) = shown["pairs"]
    assert (pair["state"], pair["imports"], pair["version"]) == ("active", 1, 1)
    assert pair["last_used_at"] is not None
    (subkey,) = pair["subkeys"]
    assert (subkey["algorithm"], subkey["usage"], subkey["expires_at"]) == ("Curve25519", ["encrypt"], None)
    assert [(one["id"], one["pair"]) for one in shown["imports"]] == [(report["id"], pair["fingerprint"])]
    text = desk.run("key", "show", key_id).out
    for word in (key_id, pair["fingerprint"], subkey["fingerprint"], pair["user_ids"][0], "active", report["id"]):
        assert word in text
    listed = desk.json("key", "list", "acme")
    assert listed == [pair]
    assert " 1" in desk.run("key", "list").out.splitlines()[1]


def test_imports_are_shown_newest_first_and_no_more_than_asked_for(desk: Desk, key_id: str) -> None:
    ids = [imported(desk, key_id)["id"] for _ in range(3)]
    shown = desk.json("key", "show", key_id, "--limit", "2")
    assert [one["id"] for one in shown["imports"]] == [ids[2], ids[1]]
    assert shown["pairs"][0]["imports"] == 3


def test_unknown_key_id_is_named_with_the_way_to_the_known_ones(desk: Desk) -> None:
    for words in (["show"], ["export"], ["retire"], ["activate"], ["destroy", "--yes"], ["drill"], ["rotate"]):
        command, *options = words
        more = ["--generate"] if command == "rotate" else options
        said = desk.fails("key", command, "ec491319-9823-48cd-b6a1-6bb0bc666d75", *more)
        assert "sealdrop key list" in said


def test_retired_key_id_opens_nothing_until_it_is_taken_back(desk: Desk, key_id: str) -> None:
    """FAULTS P16, K8."""
    desk.run("key", "retire", key_id)
    assert states(desk, key_id) == ["retired"]
    report = imported(desk, key_id)
    assert (report["state"], report["code"]) == ("failed", "key.retired")
    assert "retired" in report["message"]
    assert "no pair that opens files" in desk.fails("key", "retire", key_id)
    desk.run("key", "activate", key_id)
    assert imported(desk, key_id)["state"] == "succeeded"


def test_retiring_key_id_opens_files_until_its_day(desk: Desk, key_id: str) -> None:
    said = desk.run("key", "retire", key_id, "--on", TOMORROW).err
    assert "30, 7 and 1 days before" in said
    (pair,) = desk.json("key", "show", key_id)["pairs"]
    assert (pair["state"], pair["retires_at"]) == ("retiring", f"{TOMORROW}T00:00:00Z")
    assert imported(desk, key_id)["state"] == "succeeded"
    assert "day to come" in desk.run("key", "retire", key_id, "--on", "2020-01-01", code=2).err


def test_destroyed_pair_is_gone_from_the_disk_and_its_row_stays(desk: Desk, key_id: str) -> None:
    """FAULTS K8: the secret bytes are gone for good."""
    ledger = desk.folder / "data" / "ledger.db"
    with closing(sqlite3.connect(ledger)) as connection:
        sealed = connection.execute("SELECT sealed_private_key, sealed_passphrase FROM pgp_keys").fetchone()
    pieces = [secret[at : at + 32] for secret in sealed for at in range(0, len(secret) - 32, 32)]
    assert len(pieces) > 10
    assert sum(piece in on_disk(desk) for piece in pieces) >= len(pieces) - 3, "but for those on a border of two pages"
    desk.run("key", "destroy", key_id, "--yes")
    assert not any(piece in on_disk(desk) for piece in pieces)
    assert states(desk, key_id) == ["destroyed"]
    assert desk.json("key", "list") == []
    assert [key["state"] for key in desk.json("key", "list", "--all")] == ["destroyed"]
    report = imported(desk, key_id)
    assert (report["state"], report["code"]) == ("failed", "key.retired")
    assert "destroyed" in report["message"]
    assert "is destroyed" in desk.fails("key", "activate", key_id)


def test_destroying_asks_and_without_a_terminal_does_nothing(desk: Desk, key_id: str) -> None:
    assert "--yes" in desk.fails("key", "destroy", key_id)
    assert states(desk, key_id) == ["active"]


def test_rotation_to_a_key_that_the_customer_made_keeps_the_key_id(desk: Desk, key_id: str, gpg: Gpg) -> None:
    private = desk.write("new.asc", gpg.secret_key("Acme <acme@example.com>"))
    passphrase = desk.write("passphrase", PASSPHRASE)
    ran = desk.run("key", "rotate", key_id, private, "--passphrase-file", passphrase)
    assert gpg.fingerprint("Acme <acme@example.com>") in ran.out
    assert "Manifests keep their keyId" in ran.err
    new, former = desk.json("key", "show", key_id)["pairs"]
    assert (new["state"], new["version"], former["state"]) == ("active", 2, "retiring")
    left = datetime.fromisoformat(former["retires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    assert imported(desk, key_id)["state"] == "succeeded", "a file for the former pair"
    desk.write(f"keys/{key_id}.new.public.asc", gpg.run("--armor", "--export", "=Acme <acme@example.com>"))
    report = imported(desk, key_id, data_of=f"{key_id}.new")
    assert (report["state"], report["key_id"], report["pair"]) == ("succeeded", key_id, new["fingerprint"])
    again = desk.fails("key", "rotate", key_id, "--generate", "--out", desk.folder / "keys")
    assert f"sealdrop key retire {key_id} --previous" in again
    assert len(list((desk.folder / "keys").glob("*.passphrase"))) == 1


def test_rotation_to_a_key_that_is_made_here(desk: Desk, key_id: str) -> None:
    keys = desk.folder / "keys"
    made = desk.json("key", "rotate", key_id, "--generate", "--type", "cv25519", "--until", TOMORROW, "--out", keys)
    assert (made["key_id"], made["version"]) == (key_id, 2)
    assert made["private_key_file"] == str(keys / f"{key_id}.2.private.asc")
    assert {stat.S_IMODE(Path(made[f"{name}_file"]).stat().st_mode) for name in ("private_key", "passphrase")} == {
        0o600
    }
    assert desk.json("key", "show", key_id)["pairs"][1]["retires_at"] == f"{TOMORROW}T00:00:00Z"
    assert imported(desk, key_id, data_of=f"{key_id}.2")["state"] == "succeeded"
    desk.run("key", "retire", key_id, "--previous")
    assert states(desk, key_id) == ["active", "retired"]
    desk.run("key", "destroy", key_id, "--previous", "--yes")
    assert states(desk, key_id) == ["active", "destroyed"]
    assert "no previous pair" in desk.fails("key", "destroy", key_id, "--previous", "--yes")


def test_pair_that_its_owner_has_extended_takes_its_own_place(desk: Desk, gpg: Gpg) -> None:
    desk.run("account", "add", "acme")
    fingerprint = gpg.make_key("extended", "ed25519", "cv25519", expires="10d")
    passphrase = desk.write("passphrase", PASSPHRASE)
    private = desk.write("private.asc", gpg.secret_key("extended"))
    first = desk.json("key", "import", "acme", private, "--passphrase-file", passphrase)
    desk.run("key", "retire", first["key_id"], "--on", TOMORROW)
    gpg.run("--quick-set-expire", fingerprint, "2y")
    gpg.run("--quick-set-expire", fingerprint, "2y", "*")
    longer = desk.write("longer.asc", gpg.secret_key("extended"))
    ran = desk.run("key", "rotate", first["key_id"], longer, "--passphrase-file", passphrase)
    assert "same pair" in ran.err
    (pair,) = desk.json("key", "show", first["key_id"])["pairs"]
    assert (pair["fingerprint"], pair["version"], pair["state"]) == (fingerprint, 1, "retiring")
    assert datetime.fromisoformat(pair["expires_at"]) - datetime.now(UTC) > timedelta(days=700)
    assert desk.json("key", "drill", first["key_id"])[0]["passed"]


def test_rotation_that_is_refused_changes_nothing(desk: Desk, key_id: str, gpg: Gpg) -> None:
    """FAULTS K7."""
    public = desk.write("public.asc", gpg.run("--armor", "--export", "=Acme <acme@example.com>"))
    assert "public key only" in desk.fails("key", "rotate", key_id, public)
    assert states(desk, key_id) == ["active"]


def test_export_writes_the_public_key_and_never_a_private_one(desk: Desk, key_id: str) -> None:
    handed_out = (desk.folder / "keys" / f"{key_id}.public.asc").read_text()
    assert desk.run("key", "export", key_id).out == handed_out
    file = desk.folder / "exported.asc"
    desk.run("key", "export", key_id, "--out", file)
    assert file.read_text() == handed_out
    assert "exported.asc" in desk.fails("key", "export", key_id, "--out", file)
    assert "PRIVATE" not in handed_out


@pytest.mark.parametrize("kind", ["rsa3072", "cv25519"])
def test_generated_pair_that_expires_is_believed_by_gpg(desk: Desk, gpg: Gpg, kind: str) -> None:
    desk.run("account", "add", "acme")
    made = desk.json("key", "generate", "acme", "--type", kind, "--expires", "30", "--out", desk.folder / "keys")
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    gpg.run("--import", str(made["public_key_file"]))
    lines = gpg.run("--list-keys", "--with-colons", made["fingerprint"]).decode().splitlines()
    (ends,) = [line.split(":")[6] for line in lines if line.startswith("pub")]
    assert int(ends) == datetime.fromisoformat(made["expires_at"]).timestamp()
    late = ("--faked-system-time", f"{int(ends) + 1}!", "--recipient", made["fingerprint"], "--encrypt")
    assert gpg.run(*late[2:], stdin=b"x")
    gpg.run(*late, stdin=b"x", ok=(2,))


def test_drill_opens_a_test_message_with_the_stored_pair(desk: Desk, key_id: str) -> None:
    (drill,) = desk.json("key", "drill", key_id)
    assert (drill["passed"], drill["code"], drill["key_id"]) == (True, None, key_id)
    text = desk.run("key", "drill", "--all").out
    assert "passed" in text
    assert "never" in text
    desk.run("key", "change", key_id, "--signatures", "require")
    assert desk.json("key", "drill", key_id)[0]["passed"], "what files need, a test message need not have"
    assert desk.json("key", "show", key_id)["pairs"][0]["last_used_at"] is None


def test_drill_that_fails_says_what_an_import_would_meet(desk: Desk, key_id: str) -> None:
    with closing(sqlite3.connect(desk.folder / "data" / "ledger.db")) as connection:
        connection.execute("UPDATE pgp_keys SET sealed_passphrase = sealed_private_key")
        connection.commit()
    drills = desk.json("key", "drill", "--all", code=1)
    assert [(drill["passed"], drill["code"]) for drill in drills] == [(False, "vault.record_tampered")]
    assert "vault.record_tampered" in desk.run("key", "drill", key_id, code=1).out
    desk.run("key", "retire", key_id)
    assert desk.json("key", "drill", "--all") == []
    assert desk.json("key", "drill", key_id, code=1)[0]["code"] == "key.retired"

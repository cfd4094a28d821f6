"""``sealdrop keyset``: both directions, from upload or making to removal."""

from __future__ import annotations

import json
import subprocess

import pytest

from keystore.hpke import Kem
from keystore.tink_keyset import OutputPrefix
from tests.cli.conftest import Desk
from tests.hpke import oracle
from tests.support.served import SEALDROP, WAIT_S

KEYS = {"keyset_id", "account", "direction", "state", "created_at", "until", "keys"}
TINK = oracle.TEMPLATES[Kem.X25519, OutputPrefix.TINK]


@pytest.fixture
def acme(desk: Desk) -> Desk:
    desk.run("account", "add", "acme")
    return desk


def test_first_upload_and_rotation_are_told_apart(acme: Desk) -> None:
    file = acme.write("public.json", oracle.public_json(oracle.new(TINK)))
    first = acme.json("keyset", "add", "acme", file)
    assert set(first) == KEYS | {"former"}
    assert (first["direction"], first["state"], first["until"]) == ("response", "primary", None)
    assert first["former"] is None
    assert acme.json("keyset", "list", "acme") == [{name: first[name] for name in KEYS}]
    assert first["keyset_id"] in acme.fails("keyset", "add", "acme", file)
    second = acme.run("keyset", "add", "acme", acme.write("public.bin", oracle.public_binary(oracle.new(TINK))))
    assert f"takes the place of {first['keyset_id']}, which is the previous one until" in second.err
    primary, previous = acme.json("keyset", "list")
    assert (primary["state"], previous["state"], previous["keyset_id"]) == ("primary", "previous", first["keyset_id"])
    assert primary["keyset_id"] in second.out
    third = acme.json("keyset", "add", "acme", acme.write("3", oracle.public_json(oracle.new(TINK))), "--days", "0")
    assert (third["former"]["keyset_id"], third["former"]["state"]) == (primary["keyset_id"], "ended")
    assert [one["keyset_id"] for one in acme.json("keyset", "list")] == [third["keyset_id"]]


def test_first_upload_says_so(acme: Desk) -> None:
    ran = acme.run("keyset", "add", "acme", acme.write("public.json", oracle.public_json(oracle.new(TINK))))
    assert "first response keyset of acme" in ran.err


def test_private_keyset_is_refused_with_what_to_do_and_not_echoed(acme: Desk) -> None:
    content = oracle.private_json(oracle.new(TINK))
    said = acme.fails("keyset", "add", "acme", acme.write("private.json", content))
    assert "tinkey create-public-keyset" in said
    assert json.loads(content)["key"][0]["keyData"]["value"][:20] not in said
    assert acme.json("keyset", "list") == []


@pytest.mark.parametrize("content", [b"", b"hello", b"{}", b"x" * ((1 << 20) + 1), b"\x00" * 100])
def test_file_that_is_no_keyset_is_refused(acme: Desk, content: bytes) -> None:
    acme.fails("keyset", "add", "acme", acme.write("file", content))
    acme.fails("keyset", "add", "acme", "nowhere")
    assert acme.json("keyset", "list") == []


@pytest.mark.parametrize("kem", Kem)
def test_keyset_that_we_make_is_exported_for_tink(acme: Desk, kem: Kem) -> None:
    """FAULTS H1."""
    assert "sealdrop keyset generate acme" in acme.fails("keyset", "export", "acme")
    made = acme.json("keyset", "generate", "acme", "--kem", kem.value)
    assert (made["direction"], made["keys"][0]["kem"]) == ("request", kem.value)
    file = acme.folder / "sealdrop-public.json"
    assert str(file) in acme.run("keyset", "export", "acme", "--out", file).out
    shown = acme.run("keyset", "export", "acme").json
    assert json.loads(file.read_bytes()) == shown == acme.json("keyset", "show", made["keyset_id"])["public_keyset"]
    assert shown["primaryKeyId"] == made["keys"][0]["tink_key_id"]
    assert oracle.seal(oracle.read_public(file.read_bytes()), b"plain", "acme")
    assert str(file) in acme.fails("keyset", "export", "acme", "--out", file)


def test_rotation_has_to_be_asked_for_and_waits_for_the_previous_keyset(acme: Desk) -> None:
    """FAULTS H7."""
    first = acme.json("keyset", "generate", "acme")["keyset_id"]
    assert "--rotate" in acme.fails("keyset", "generate", "acme")
    second = acme.json("keyset", "generate", "acme", "--rotate", "--days", "7")
    assert (second["former"]["keyset_id"], second["former"]["state"]) == (first, "previous")
    said = acme.fails("keyset", "generate", "acme", "--rotate")
    assert f"sealdrop keyset remove {first}" in said
    assert "previous request keyset" in acme.run("keyset", "remove", first).out
    assert acme.json("keyset", "generate", "acme", "--rotate", "--days", "0")["former"]["state"] == "ended"
    assert len(acme.json("keyset", "list")) == 1


def test_keyset_is_shown_and_removed_by_its_id(acme: Desk) -> None:
    added = acme.json("keyset", "add", "acme", acme.write("public", oracle.public_json(oracle.new(TINK))))
    keyset_id = added["keyset_id"]
    shown = acme.run("keyset", "show", keyset_id.upper())
    assert keyset_id in shown.out
    assert f"{added['keys'][0]['tink_key_id']} x25519 TINK" in shown.out
    assert keyset_id in acme.run("keyset", "list").out
    assert "cannot be encrypted any more" in acme.run("keyset", "remove", keyset_id).err
    for command in ("show", "remove"):
        assert "sealdrop keyset list" in acme.fails("keyset", command, keyset_id)


def test_primary_request_keyset_is_not_removed(acme: Desk) -> None:
    made = acme.json("keyset", "generate", "acme")["keyset_id"]
    assert "--rotate" in acme.fails("keyset", "remove", made)
    assert [one["keyset_id"] for one in acme.json("keyset", "list")] == [made]


def test_keysets_are_audited_and_no_private_half_is_shown(acme: Desk) -> None:
    """FAULTS H10, K5."""
    ran = acme.run("keyset", "generate", "acme")
    keyset_id = acme.json("keyset", "list")[0]["keyset_id"]
    shown = ran.out + ran.err
    for words in (
        ("export", "acme"),
        ("list",),
        ("list", "--json"),
        ("show", keyset_id),
        ("show", keyset_id, "--json"),
    ):
        shown += acme.run("keyset", *words).out
    assert "PRIVATE" not in shown
    assert "HpkePrivateKey" not in shown
    actions = [line["action"] for line in acme.json("audit", "list", "--account", "acme")]
    assert sorted(actions) == ["account.add", "request_keyset.add", "request_keyset.export"]


def test_export_in_a_process_of_its_own_is_tink_s_json_and_nothing_else(acme: Desk) -> None:
    acme.run("keyset", "generate", "acme")
    ran = subprocess.run(
        [str(SEALDROP), "--config", str(acme.config), "keyset", "export", "acme"],
        capture_output=True,
        timeout=WAIT_S,
        check=True,
    )
    assert oracle.seal(oracle.read_public(ran.stdout), b"plain", "acme")
    assert ran.stderr == b""

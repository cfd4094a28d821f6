"""``sealdrop signer`` and ``key change``: whose signatures count, and what a file without one means."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.conftest import EVENTS, Desk
from tests.openpgp.sender import Gpg


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    sender = Gpg()
    for user_id in ("ann", "bob"):
        sender.make_key(user_id, "ed25519", "cv25519")
    yield sender
    sender.close()


@pytest.fixture
def acme(desk: Desk) -> Desk:
    desk.run("account", "add", "acme", "--contact", "data@acme.example")
    return desk


def public_key(desk: Desk, gpg: Gpg, user_id: str) -> object:
    return desk.write(f"{user_id}.asc", gpg.run("--armor", "--export", f"={user_id}"))


def test_signer_is_added_listed_replaced_and_removed(acme: Desk, gpg: Gpg) -> None:
    file = public_key(acme, gpg, "ann")
    added = acme.json("signer", "add", "acme", file)
    assert added["fingerprint"] == gpg.fingerprint("ann")
    assert set(added) == {"account", "fingerprint", "algorithm", "user_ids", "created_at", "expires_at"}
    assert acme.json("signer", "list", "acme") == [added]
    assert acme.json("account", "show", "acme")["signers"] == [added["fingerprint"]]
    again = acme.run("signer", "add", "acme", file)
    assert "takes the place" in again.err
    assert len(acme.json("signer", "list", "acme")) == 1
    acme.run("signer", "add", "acme", public_key(acme, gpg, "bob"))
    assert added["fingerprint"] in acme.run("signer", "list", "acme").out
    acme.run("signer", "remove", "acme", "0x" + added["fingerprint"][-16:].lower())
    (left,) = acme.json("signer", "list", "acme")
    assert left["fingerprint"] == gpg.fingerprint("bob")


@pytest.mark.parametrize("given", ["", "AB", "0000000000000000"])
def test_signer_to_remove_must_be_named_clearly(acme: Desk, gpg: Gpg, given: str) -> None:
    acme.run("signer", "add", "acme", public_key(acme, gpg, "ann"))
    assert "signer list acme" in acme.fails("signer", "remove", "acme", given)
    assert len(acme.json("signer", "list", "acme")) == 1


def test_private_key_is_no_signer(acme: Desk, gpg: Gpg) -> None:
    """FAULTS K7."""
    said = acme.fails("signer", "add", "acme", acme.write("private.asc", gpg.secret_key("ann")))
    assert "private key" in said
    assert "gpg --armor --export KEY" in said
    assert acme.json("signer", "list", "acme") == []


def test_signers_belong_to_one_account(acme: Desk, gpg: Gpg) -> None:
    acme.run("account", "add", "other")
    acme.run("signer", "add", "acme", public_key(acme, gpg, "ann"))
    assert acme.json("signer", "list", "other") == []
    acme.fails("signer", "remove", "other", gpg.fingerprint("ann"))
    assert len(acme.json("signer", "list", "acme")) == 1


def signed(desk: Desk, gpg: Gpg, key_id: str, *, by: str) -> None:
    """Write events.csv.asc, signed and encrypted to the pair of ours."""
    gpg.run("--import", stdin=(desk.folder / "keys" / f"{key_id}.public.asc").read_bytes())
    recipient = desk.json("key", "list", "acme")[0]["fingerprint"]
    options = ("--trust-model", "always", "--armor", "--sign", "--local-user", f"={by}", "--recipient", recipient)
    desk.write("events.csv.asc", gpg.run(*options, "--encrypt", stdin=EVENTS.encode()))


def test_pair_that_requires_signatures_takes_none_without_a_good_one(acme: Desk, gpg: Gpg) -> None:
    """FAULTS P21: the state of the signature is recorded, and refuses a file only where the pair says so."""
    made = acme.json("key", "generate", "acme", "--type", "cv25519", "--out", acme.folder / "keys")
    key_id = made["key_id"]
    assert made["signatures"] == "verify"
    manifest = acme.event_manifest("events.manifest", key_id)

    signed(acme, gpg, key_id, by="bob")
    unknown = acme.json("import", "run", "acme", manifest)
    assert (unknown["state"], unknown["signature"]) == ("succeeded", "unknown_signer")
    assert unknown["pair"] == made["fingerprint"]

    changed = acme.run("key", "change", key_id, "--signatures", "require")
    assert "no signer yet" in changed.err
    acme.run("signer", "add", "acme", public_key(acme, gpg, "ann"))
    refused = acme.json("import", "run", "acme", manifest, code=1)
    assert (refused["state"], refused["code"], refused["rows_stored"]) == ("failed", "pgp.signature_required", 0)
    acme.encrypted("events.csv.asc", EVENTS, key_id)
    assert acme.json("import", "run", "acme", manifest, code=1)["signature"] == "none"

    signed(acme, gpg, key_id, by="ann")
    good = acme.json("import", "run", "acme", manifest)
    assert (good["state"], good["signature"], good["signer"]) == ("succeeded", "good", gpg.fingerprint("ann"))
    assert f"good by {gpg.fingerprint('ann')}" in acme.run("imports", "show", good["id"]).out

    acme.run("key", "change", key_id, "--signatures", "ignore")
    ignored = acme.json("import", "run", "acme", manifest)
    assert (ignored["state"], ignored["signature"], ignored["signer"]) == ("succeeded", "unchecked", None)


def test_key_to_change_must_be_there(acme: Desk) -> None:
    said = acme.fails("key", "change", "ec491319-9823-48cd-b6a1-6bb0bc666d75", "--signatures", "require")
    assert "key list" in said
    assert "require" in acme.run("key", "change", "x", "--signatures", "maybe", code=2).err

"""``sealdrop account``."""

from __future__ import annotations

import re

import pytest

from tests.cli.conftest import Desk

KEYS = {
    "id",
    "state",
    "created_at",
    "require_encryption",
    "allow_legacy_ciphers",
    "allow_gnupg",
    "allow_reserved_events",
    "skip_duplicates",
    "webhook",
    "contacts",
    "allowed_domains",
    "sources",
    "ssh_keys",
}


def test_account_is_added_listed_and_shown(desk: Desk) -> None:
    key = desk.ssh_key()
    notices = ("--contact", "a@acme.example", "--allow-domain", "B.Example")
    ran = desk.run("account", "add", "acme", "--ssh-key", key, *notices)
    assert ran.out == "account acme added\n"
    assert "sealdrop key generate acme" in ran.err
    (listed,) = desk.json("account", "list")
    assert set(listed) == KEYS
    assert listed["state"] == "active"
    assert listed["require_encryption"] is True
    assert (listed["contacts"], listed["allowed_domains"]) == (["a@acme.example"], ["b.example"])
    assert listed["ssh_keys"][0].startswith("SHA256:")
    assert desk.json("account", "show", "acme") == listed | {"pgp_keys": [], "signers": []}
    shown = desk.run("account", "show", "acme").out
    assert listed["ssh_keys"][0] in shown
    assert "acme" in desk.run("account", "list").out
    assert (desk.folder / "data" / "spool" / "drops" / "acme" / "results").is_dir()


def test_account_that_lacks_something_is_told_so(desk: Desk) -> None:
    said = desk.run("account", "add", "acme").err
    assert "no SSH key yet" in said
    assert "its notices go nowhere" in said


def test_account_is_added_once(desk: Desk) -> None:
    desk.run("account", "add", "acme", "--contact", "a@acme.example")
    assert "sealdrop account show acme" in desk.fails("account", "add", "acme", "--contact", "other@acme.example")
    assert desk.json("account", "show", "acme")["contacts"] == ["a@acme.example"]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a b", "-a", "_a", ".a", "ä", "a\n", "a" * 65, "a\x1b[31m", "a\\b", "a.b", "a:b"],
)
def test_names_that_no_account_can_have(desk: Desk, name: str) -> None:
    ran = desk.run("account", "add", "--", name, code=1)
    assert "no account ID" in ran.err
    assert "\x1b" not in ran.err
    assert desk.json("account", "list") == []


@pytest.mark.parametrize("name", ["a", "A1", "0", "a" * 64, "customer-1_x"])
def test_names_that_an_account_can_have(desk: Desk, name: str) -> None:
    desk.run("account", "add", name)
    assert desk.json("account", "show", name)["id"] == name


def test_private_ssh_key_is_refused_and_not_echoed(desk: Desk) -> None:
    desk.ssh_key("mine")
    private = desk.folder / "mine"
    said = desk.fails("account", "add", "acme", "--ssh-key", private)
    assert "private key" in said
    assert ".pub" in said
    assert private.read_text().splitlines()[1] not in said
    assert desk.json("account", "list") == []


def test_weak_rsa_key_is_refused(desk: Desk) -> None:
    said = desk.fails("account", "add", "acme", "--ssh-key", desk.ssh_key("weak", "ssh-rsa", key_size=1024))
    assert "2048 bits" in said
    desk.run("account", "add", "acme", "--ssh-key", desk.ssh_key("strong", "ssh-rsa", key_size=2048))


def test_ssh_key_file_may_hold_several_keys_and_comments(desk: Desk) -> None:
    one, two = desk.ssh_key("one").read_text(), desk.ssh_key("two", "ecdsa-sha2-nistp256").read_text()
    file = desk.write("both.pub", f"# laptop\n{one}\n\n  # server\n{two}")
    desk.run("account", "add", "acme", "--ssh-key", file)
    assert len(desk.json("account", "show", "acme")["ssh_keys"]) == 2


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"ssh-ed25519 AAAA\n", b"hello\n", b"\xff\xfe\x00"])
def test_file_without_an_ssh_key_is_named(desk: Desk, content: bytes) -> None:
    file = desk.write("some.pub", content)
    assert str(file) in desk.fails("account", "add", "acme", "--ssh-key", file)
    assert desk.json("account", "list") == []


def test_ssh_key_file_that_is_not_there_is_named(desk: Desk) -> None:
    assert "nowhere.pub" in desk.fails("account", "add", "acme", "--ssh-key", "nowhere.pub")


def test_ssh_key_belongs_to_one_account(desk: Desk) -> None:
    key = desk.ssh_key()
    desk.run("account", "add", "one", "--ssh-key", key)
    assert "one account" in desk.fails("account", "add", "two", "--ssh-key", key)
    assert [account["id"] for account in desk.json("account", "list")] == ["one"]


@pytest.mark.parametrize(
    "address", ["", "a", "a@b, c@d.example", "A <a@b.example>", "a@[1.2.3.4]", "a@b.example\nBcc: x@y"]
)
def test_contact_is_one_plain_address(desk: Desk, address: str) -> None:
    """FAULTS M2: two recipients in one field are none."""
    assert "mail address" in desk.fails("account", "add", "acme", "--contact", address)
    assert desk.json("account", "list") == []


@pytest.mark.parametrize("domain", ["", "a", "@a.example", "a@b.example", "*.example", "-a.example", "a..example"])
def test_allowed_domain_is_a_domain(desk: Desk, domain: str) -> None:
    assert "domain" in desk.fails("account", "add", "acme", "--allow-domain", domain)


def test_account_is_changed_and_the_rest_stays(desk: Desk) -> None:
    """FAULTS P23: old ciphers are an account's own switch."""
    desk.run("account", "add", "acme", "--contact", "a@acme.example")
    before = desk.json("account", "show", "acme")
    assert (before["allow_legacy_ciphers"], before["allow_gnupg"]) == (False, True)
    desk.run("account", "change", "acme", "--allow-legacy-ciphers")
    assert desk.json("account", "show", "acme") == before | {"allow_legacy_ciphers": True}
    desk.run("account", "change", "acme", "--no-legacy-ciphers", "--no-gnupg")
    assert desk.json("account", "show", "acme") == before | {"allow_gnupg": False}
    desk.run("account", "change", "acme", "--allow-gnupg", "--allow-reserved-events")
    assert desk.json("account", "show", "acme") == before | {"allow_reserved_events": True}
    desk.run("account", "change", "acme", "--no-reserved-events", "--no-gnupg")
    desk.run("account", "change", "acme", "--allow-gnupg", "--skip-duplicates")
    assert desk.json("account", "show", "acme") == before | {"skip_duplicates": True}
    assert re.search(r"duplicates +skipped", desk.run("account", "show", "acme").out)
    desk.run("account", "change", "acme", "--no-skip-duplicates")
    assert desk.json("account", "show", "acme") == before
    assert "--help" in desk.fails("account", "change", "acme")
    assert "no account nobody" in desk.fails("account", "change", "nobody", "--no-gnupg")


def test_account_may_be_added_with_its_switches(desk: Desk) -> None:
    desk.run("account", "add", "acme", "--allow-legacy-ciphers", "--no-gnupg", "--skip-duplicates")
    shown = desk.json("account", "show", "acme")
    assert (shown["allow_legacy_ciphers"], shown["allow_gnupg"], shown["skip_duplicates"]) == (True, False, True)


def test_disabled_account_is_enabled_again(desk: Desk) -> None:
    desk.run("account", "add", "acme", "--contact", "a@acme.example")
    before = desk.json("account", "show", "acme")
    desk.run("account", "disable", "acme")
    assert desk.json("account", "show", "acme") == before | {"state": "disabled"}
    (checked,) = [one for one in desk.json("check") if one["check"] == "account acme"]
    assert (checked["verdict"], checked["text"]) == ("ok", "disabled")
    desk.run("account", "enable", "acme")
    assert desk.json("account", "show", "acme") == before


def test_removed_account_is_asked_for_first_and_is_shown_as_what_it_was(desk: Desk) -> None:
    key_id = desk.account_with_pair()
    key = desk.ssh_key()
    desk.run("account", "add", "other", "--ssh-key", key)
    assert "--yes" in desk.fails("account", "remove", "other")
    ran = desk.run("account", "remove", "other", "--yes")
    assert str(desk.folder / "data" / "lake" / "other") in ran.err
    assert [account["id"] for account in desk.json("account", "list")] == ["acme"]
    assert desk.json("account", "show", "other")["state"] == "removed"
    assert "was removed" in desk.fails("key", "generate", "other")
    assert "was removed" in desk.fails("account", "enable", "other")
    assert "already" in desk.fails("account", "add", "other")
    assert desk.json("events", "list", "other") == []
    desk.run("account", "add", "third", "--ssh-key", key)
    assert desk.json("key", "show", key_id)["pairs"][0]["state"] == "active"
    desk.run("account", "remove", "acme", "--yes")
    assert desk.json("key", "show", key_id)["pairs"][0]["state"] == "destroyed"
    assert "was removed" in desk.fails("key", "rotate", key_id, "--generate", "--out", desk.folder / "keys")

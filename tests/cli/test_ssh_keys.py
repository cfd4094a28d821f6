"""``sealdrop ssh-key``."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Desk

FACTS = {"fingerprint", "public_key", "expires_at", "sources", "cert_authority", "created_at"}


@pytest.fixture
def acme(desk: Desk) -> Desk:
    desk.run("account", "add", "acme", "--contact", "data@acme.example")
    return desk


def test_ssh_key_is_added_listed_and_removed(acme: Desk) -> None:
    (added,) = acme.json("ssh-key", "add", "acme", acme.ssh_key())
    assert set(added) == FACTS
    assert (added["expires_at"], added["sources"], added["cert_authority"]) == (None, None, False)
    assert acme.json("ssh-key", "list", "acme") == [added]
    assert acme.json("account", "show", "acme")["ssh_keys"] == [added["fingerprint"]]
    assert added["fingerprint"] in acme.run("ssh-key", "list", "acme").out
    said = acme.run("ssh-key", "remove", "acme", added["fingerprint"][:15])
    assert added["fingerprint"] in said.out
    assert "nobody can log in as acme" in said.err
    assert acme.json("ssh-key", "list", "acme") == []


def test_restrictions_of_the_command_line_win_over_those_of_the_file(acme: Desk) -> None:
    file = acme.ssh_key()
    line = acme.write("line", f'from="10.0.0.0/8",expiry-time="20200101Z" {file.read_text()}')
    (added,) = acme.json("ssh-key", "add", "acme", line, "--expires", "2199-12-31", "--from", "192.0.2.0/24, ::1")
    assert added["expires_at"] == "2199-12-31T00:00:00Z"
    assert added["sources"] == "192.0.2.0/24,::1"
    shown = acme.run("ssh-key", "list", "acme").out
    assert "2199-12-31" in shown
    assert "192.0.2.0/24" in shown


def test_expired_key_is_shown_as_such(acme: Desk) -> None:
    acme.run("ssh-key", "add", "acme", acme.ssh_key(), "--expires", "2020-01-01")
    assert "expired" in acme.run("ssh-key", "list", "acme").out


def test_authority_is_listed_and_told_how_to_sign(acme: Desk) -> None:
    ran = acme.run("ssh-key", "add", "acme", acme.ssh_key(), "--cert-authority")
    assert "-n acme" in ran.err
    assert "authority" in acme.run("ssh-key", "list", "acme").out


def test_keys_of_a_file_are_added_all_or_none(acme: Desk) -> None:
    """FAULTS S8: at most ten, and one key for one account."""
    keys = [acme.ssh_key(str(number)).read_text() for number in range(11)]
    assert "10 SSH keys" in acme.fails("ssh-key", "add", "acme", acme.write("all", "".join(keys)))
    assert acme.json("ssh-key", "list", "acme") == []
    acme.run("ssh-key", "add", "acme", acme.write("ten", "".join(keys[:10])))
    acme.run("account", "add", "globex")
    assert "one account" in acme.fails("ssh-key", "add", "globex", acme.write("one", keys[0]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--expires", "tomorrow"), "no date"),
        (("--from", "acme.example"), "not looked up"),
        (("--from", ""), "nobody could log in"),
    ],
)
def test_restriction_that_cannot_be_meant_is_refused(acme: Desk, options: tuple[str, ...], said: str) -> None:
    assert said in acme.fails("ssh-key", "add", "acme", acme.ssh_key(), *options)
    assert acme.json("ssh-key", "list", "acme") == []


def test_key_file_with_an_option_that_is_not_honoured_is_refused(acme: Desk) -> None:
    file = acme.write("line", f'command="id" {acme.ssh_key().read_text()}')
    assert "the option command cannot be honoured" in acme.fails("ssh-key", "add", "acme", file)


@pytest.mark.parametrize("given", ["", "SHA256:", "SHA256:abc", "0000000000"])
def test_key_to_remove_must_be_named_clearly(acme: Desk, given: str) -> None:
    acme.run("ssh-key", "add", "acme", acme.ssh_key())
    assert "names no single SSH key" in acme.fails("ssh-key", "remove", "acme", given)


def test_account_may_be_bound_to_addresses(acme: Desk) -> None:
    acme.run("account", "change", "acme", "--from", "192.0.2.0/24, 2001:db8::/32")
    assert acme.json("account", "show", "acme")["sources"] == "192.0.2.0/24,2001:db8::/32"
    assert "192.0.2.0/24" in acme.run("account", "show", "acme").out
    assert "not looked up" in acme.fails("account", "change", "acme", "--from", "acme.example")
    acme.run("account", "change", "acme", "--from", "")
    assert acme.json("account", "show", "acme")["sources"] is None

"""``sealdrop api``: credentials, HPKE, and CAs for client certificates."""

from __future__ import annotations

import pytest

from ingest.ledger.api_tables import MAX_CREDENTIALS
from keystore.passcode import fits
from tests.cli.conftest import Desk
from tests.http.certificates import Authority


@pytest.fixture
def acme(desk: Desk) -> Desk:
    desk.run("account", "add", "acme")
    return desk


def test_passcode_is_shown_once_and_never_again(acme: Desk) -> None:
    """FAULTS K5."""
    made = acme.json("api", "credential", "add", "acme", "--scope", "upload", "--scope", "keys", "--scope", "upload")
    assert set(made) == {"credential_id", "account", "scopes", "created_at", "passcode"}
    assert made["scopes"] == ["upload", "keys"]
    assert made["passcode"].startswith(made["credential_id"] + ".")
    secret = made["passcode"].partition(".")[2].encode()
    content = b"".join(path.read_bytes() for path in acme.folder.rglob("*") if path.is_file())
    assert made["credential_id"].encode() in content
    assert secret not in content
    assert acme.json("api", "credential", "list", "acme") == [{k: v for k, v in made.items() if k != "passcode"}]
    assert made["credential_id"] in acme.run("api", "credential", "list", "acme").out


def test_two_credentials_stand_side_by_side_until_one_is_retired(acme: Desk) -> None:
    first, second = (acme.json("api", "credential", "add", "acme", "--scope", "upload") for _ in range(2))
    assert not fits(first["passcode"], None)
    acme.run("api", "credential", "retire", "acme", first["credential_id"])
    left = acme.json("api", "credential", "list", "acme")
    assert [one["credential_id"] for one in left] == [second["credential_id"]]
    assert "api credential list" in acme.fails("api", "credential", "retire", "acme", first["credential_id"])


def test_credentials_have_a_limit(acme: Desk) -> None:
    for _ in range(MAX_CREDENTIALS):
        acme.run("api", "credential", "add", "acme", "--scope", "keys")
    assert "which is the limit" in acme.fails("api", "credential", "add", "acme", "--scope", "keys")


def test_hpke_works_once_it_is_enabled_and_entitled_and_then_has_a_keyset(acme: Desk) -> None:
    assert acme.json("api", "hpke", "acme") == {
        "account": "acme",
        "enabled": False,
        "entitled": False,
        "enforced": False,
        "works": False,
    }
    assert acme.json("api", "hpke", "acme", "--enable")["works"] is False
    assert acme.json("keyset", "list", "acme") == []
    assert acme.json("api", "hpke", "acme", "--entitle")["works"] is True
    assert [one["direction"] for one in acme.json("keyset", "list", "acme")] == ["request"]
    assert acme.json("api", "hpke", "acme", "--enforce")["enforced"] is True
    assert len(acme.json("keyset", "list", "acme")) == 1


def test_hpke_is_not_enforced_where_it_does_not_work(acme: Desk) -> None:
    assert "--no-enforce" in acme.fails("api", "hpke", "acme", "--enforce")
    acme.run("api", "hpke", "acme", "--enable", "--entitle", "--enforce")
    assert "--no-enforce" in acme.fails("api", "hpke", "acme", "--no-entitle")
    assert acme.json("api", "hpke", "acme")["works"] is True
    assert acme.json("api", "hpke", "acme", "--disable", "--no-enforce")["works"] is False


def test_ca_is_added_listed_and_removed(acme: Desk) -> None:
    authority = Authority("acme CA")
    file = acme.write("ca.pem", authority.pem)
    assert "client_certificates" in acme.run("api", "ca", "add", "acme", file).err
    assert "already" in acme.fails("api", "ca", "add", "acme", file)
    listed = acme.json("api", "ca", "list", "acme")
    assert [one["subject"] for one in listed] == ["acme CA"]
    assert listed[0]["fingerprint"] in acme.run("api", "ca", "list", "acme").out
    acme.run("api", "ca", "remove", "acme", listed[0]["fingerprint"])
    assert acme.json("api", "ca", "list", "acme") == []
    assert "api ca list" in acme.fails("api", "ca", "remove", "acme", listed[0]["fingerprint"])
    assert "no certificate" in acme.fails("api", "ca", "add", "acme", acme.write("junk", "junk"))


def test_account_that_is_removed_takes_its_credentials_along(acme: Desk) -> None:
    """FAULTS K8."""
    acme.run("api", "credential", "add", "acme", "--scope", "upload")
    acme.run("api", "ca", "add", "acme", acme.write("ca.pem", Authority("acme CA").pem))
    acme.run("account", "remove", "acme", "--yes")
    assert "was removed" in acme.fails("api", "credential", "list", "acme")
    actions = [line["action"] for line in acme.json("audit", "list")]
    assert {"credential.add", "client_ca.add", "account.remove"} <= set(actions)

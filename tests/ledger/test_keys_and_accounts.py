"""Accounts, SSH keys and PGP pairs in the ledger: limits are the database's."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import update

from ingest.errors import AlreadyThere, LimitReached
from ingest.ledger.accounts import Accounts
from ingest.ledger.database import Database
from ingest.ledger.pgp_keys import PgpKey, PgpKeys, SealedPair
from ingest.ledger.ssh_keys import Access, SshKey, SshKeys
from ingest.ledger.tables import MAX_PGP_KEYS, MAX_SSH_KEYS, accounts, audit
from ingest.states import PairState
from tests.ledger.conftest import NOW, sealed

SEALED = SealedPair(sealed(b"private"), None)


def pair(number: int, account: str = "acme") -> PgpKey:
    return PgpKey(
        key_id=str(uuid.uuid4()),
        account=account,
        state=PairState.ACTIVE,
        fingerprint=f"{number:040X}",
        algorithm="RSA 3072",
        user_ids=("someone",),
        created_at=NOW,
        expires_at=None,
        last_used_at=None,
        signatures="verify",
        public_key=b"public",
    )


def ssh_key(number: int) -> SshKey:
    return SshKey(f"SHA256:{number}", f"ssh-ed25519 {number}")


def test_twenty_pairs_and_no_more_also_in_a_race(database: Database) -> None:
    """FAULTS K4: parallel adds are refused by a constraint, not by counting."""
    outcomes: list[str] = []

    def add(number: int) -> None:
        try:
            PgpKeys(database).add(pair(number), SEALED, actor="test")
            outcomes.append("added")
        except LimitReached:
            outcomes.append("refused")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("added") == MAX_PGP_KEYS
    assert outcomes.count("refused") == 50 - MAX_PGP_KEYS
    assert len(PgpKeys(database).of_account("acme")) == MAX_PGP_KEYS


def test_pair_is_found_through_its_account_only(database: Database) -> None:
    """FAULTS P19: a key of another account is never tried."""
    Accounts(database).add("other", now=NOW, actor="test")
    keys = PgpKeys(database)
    stored = pair(1)
    keys.add(stored, SEALED, actor="test")
    assert keys.of_key_id(stored.key_id) == keys.of_account("acme") == [stored]
    assert keys.sealed("acme", stored.key_id, 1) == SEALED
    assert keys.of_account("other") == []
    assert keys.sealed("other", stored.key_id, 1) is None


def test_same_pair_twice_names_its_key_id(database: Database) -> None:
    keys = PgpKeys(database)
    stored = pair(1)
    keys.add(stored, SEALED, actor="test")
    with pytest.raises(AlreadyThere, match=stored.key_id):
        keys.add(pair(1), SEALED, actor="test")


def test_use_of_a_pair_is_remembered(database: Database) -> None:
    keys = PgpKeys(database)
    stored = pair(1)
    keys.add(stored, SEALED, actor="test")
    keys.mark_used("acme", stored.fingerprint, NOW)
    assert keys.of_account("acme")[0].last_used_at == NOW


def test_account_is_added_whole_or_not_at_all(database: Database) -> None:
    adder = Accounts(database)
    too_many = [ssh_key(number) for number in range(MAX_SSH_KEYS + 1)]
    with pytest.raises(LimitReached):
        adder.add("big", now=NOW, actor="test", ssh_public_keys=too_many)
    assert adder.get("big") is None


def test_ssh_key_belongs_to_one_account(database: Database) -> None:
    """FAULTS S8: a key listed for two accounts."""
    adder = Accounts(database)
    adder.add("one", now=NOW, actor="test", ssh_public_keys=[ssh_key(1)])
    with pytest.raises(AlreadyThere):
        adder.add("two", now=NOW, actor="test", ssh_public_keys=[ssh_key(1)])


def test_additions_are_audited_without_secrets(database: Database) -> None:
    PgpKeys(database).add(pair(1), SealedPair(sealed(b"private-canary"), sealed(b"passphrase-canary")), actor="cli:ann")
    with database.read() as connection:
        rows = connection.execute(audit.select().order_by(audit.c.id)).all()
    assert [(row.actor, row.action) for row in rows] == [("test", "account.add"), ("cli:ann", "key.add")]
    assert "canary" not in str(rows)


def test_sealed_pair_does_not_print() -> None:
    assert "secret-bytes" not in repr(SealedPair(b"secret-bytes", b"secret-bytes"))


def test_ssh_keys_added_and_removed_are_audited(database: Database) -> None:
    keys = SshKeys(database)
    keys.add("acme", [ssh_key(1), ssh_key(2)], now=NOW, actor="cli:ann")
    keys.remove("acme", "SHA256:1", now=NOW, actor="cli:bob")
    keys.remove("acme", "SHA256:1", now=NOW, actor="cli:bob")  # gone already: nothing happens
    with database.read() as connection:
        rows = connection.execute(audit.select().where(audit.c.action != "account.add").order_by(audit.c.id)).all()
    assert [(row.actor, row.action, row.account, row.subject) for row in rows] == [
        ("cli:ann", "ssh_key.add", "acme", "SHA256:1"),
        ("cli:ann", "ssh_key.add", "acme", "SHA256:2"),
        ("cli:bob", "ssh_key.remove", "acme", "SHA256:1"),
    ]


def test_access_is_that_of_an_active_account(database: Database) -> None:
    """FAULTS S7: what decides about a login comes by one statement, whoever is asked for."""
    keys = SshKeys(database)
    assert keys.access("acme") == Access(())
    assert keys.access("nobody") is None
    expiring = replace(ssh_key(1), expires_at=NOW, sources="192.0.2.7", cert_authority=True, created_at=NOW)
    keys.add("acme", [expiring], now=NOW, actor="test")
    Accounts(database).change("acme", now=NOW, actor="test", sources="192.0.2.0/24")
    assert keys.access("acme") == Access((expiring,), "192.0.2.0/24")
    Accounts(database).add("globex", now=NOW, actor="test")
    assert keys.accesses(["nobody", "acme", *map(str, range(2500)), "globex"]) == {
        "acme": Access((expiring,), "192.0.2.0/24"),
        "globex": Access(()),
    }
    with database.write() as connection:
        connection.execute(update(accounts).values(state="disabled"))
    assert keys.access("acme") is None
    assert keys.accesses(["acme", "globex"]) == keys.accesses([]) == {}


def test_ten_ssh_keys_and_no_more_also_in_a_race(database: Database) -> None:
    """FAULTS S8: parallel adds are refused by the database, not by counting."""
    outcomes: list[str] = []

    def add(number: int) -> None:
        try:
            SshKeys(database).add("acme", [ssh_key(number)], now=NOW, actor="test")
            outcomes.append("added")
        except LimitReached:
            outcomes.append("refused")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("added") == MAX_SSH_KEYS
    assert outcomes.count("refused") == 25 - MAX_SSH_KEYS

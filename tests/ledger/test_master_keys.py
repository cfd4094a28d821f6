"""Master keys in the ledger: no secret without a key that the ledger names, held by its own constraints."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Column, LargeBinary, String, text

from ingest.errors import LedgerConflict
from ingest.ledger.audit_verify import verify_audit
from ingest.ledger.database import Database
from ingest.ledger.master_keys import MasterKeys
from ingest.ledger.pgp_keys import PgpKeys, SealedPair
from ingest.ledger.sealed import AUDIT_KEY, PGP_PASSPHRASE, PGP_PRIVATE_KEY, REQUEST_KEYSET, SEALED_COLUMNS
from ingest.ledger.tables import master_keys, metadata, pgp_keys
from keystore.errors import MasterKeyWrong
from keystore.secret import Secret
from keystore.vault import RecordId, Vault
from tests.ledger.conftest import NOW, VAULT, sealed
from tests.ledger.test_keys_and_accounts import pair

NEW = Secret(b"n" * 32)
BOTH = Vault(NEW, Secret(b"k" * 32))


def add(database: Database, vault: Vault, number: int) -> str:
    key = pair(number)
    private = vault.seal(b"private", PGP_PRIVATE_KEY.record_id("acme", key.key_id))
    passphrase = vault.seal(b"passphrase", PGP_PASSPHRASE.record_id("acme", key.key_id))
    PgpKeys(database).add(key, SealedPair(private, passphrase), actor="test")
    return key.key_id


def test_every_column_of_secrets_is_known_to_a_rotation() -> None:
    """FAULTS K3: whoever adds one and forgets to name it is told here."""
    found = {
        column
        for table in metadata.sorted_tables
        if table is not master_keys
        for column in table.columns
        if isinstance(column.type, LargeBinary) and column.name.startswith("sealed") and column.computed is None
    }
    assert found == {sealed.column for sealed in SEALED_COLUMNS}
    for one in SEALED_COLUMNS:
        assert one.under.computed is not None
        assert [key.column for key in one.under.foreign_keys] == [master_keys.c.id]
    assert len({one.kind for one in SEALED_COLUMNS}) == len(SEALED_COLUMNS)


@pytest.mark.parametrize("column", ["sealed_private_key", "sealed_passphrase"])
def test_secret_under_a_key_that_the_ledger_does_not_name_is_refused(database: Database, column: str) -> None:
    """FAULTS K3."""
    key_id = add(database, VAULT, 1)
    content = Vault(NEW).seal(b"x", PGP_PRIVATE_KEY.record_id("acme", key_id))
    with pytest.raises(LedgerConflict), database.write() as connection:
        connection.execute(pgp_keys.update().values({column: content}))
    with pytest.raises(LedgerConflict):
        add(database, Vault(NEW), 2)


def test_key_with_secrets_does_not_leave_the_ledger(database: Database) -> None:
    """FAULTS K3: whatever the code that counts them believes."""
    add(database, VAULT, 1)
    with pytest.raises(LedgerConflict), database.write() as connection:
        connection.execute(master_keys.delete())


def test_keys_are_named_oldest_first_and_the_old_one_goes_last(database: Database) -> None:
    keys = MasterKeys(database)
    old = add(database, VAULT, 1)
    keys.begin(BOTH, at=NOW, actor="test")
    keys.begin(BOTH, at=NOW, actor="test")
    assert [key.id for key in keys.all()] == [VAULT.master_key_id, BOTH.master_key_id]
    late = add(database, VAULT, 2)  # by a process that had opened its vault before
    add(database, BOTH, 3)
    assert keys.finish(BOTH, at=NOW, actor="test") == 4
    assert keys.counts() == {VAULT.master_key_id: 4, BOTH.master_key_id: 2}
    assert keys.rewrap(BOTH).count == 4
    assert keys.rewrap(BOTH).count == 0
    assert keys.finish(BOTH, at=NOW, actor="test") == 0
    assert keys.counts() == {BOTH.master_key_id: 6}
    for key_id in (old, late):
        found = PgpKeys(database).sealed("acme", key_id, 1)
        assert found is not None
        assert found.passphrase is not None
        record = PGP_PASSPHRASE.record_id("acme", key_id)
        assert Vault(NEW).open(found.passphrase, record).expose() == b"passphrase"


def test_constant_of_another_key_does_not_verify(database: Database) -> None:
    """FAULTS K2."""
    keys = MasterKeys(database)
    keys.verify(VAULT, keys.all())
    with pytest.raises(MasterKeyWrong):
        keys.verify(Vault(NEW), keys.all())


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_row_from_before_a_rotation_does_not_open_after_it(database: Database) -> None:
    """FAULTS K1: a rollback of the whole row, which its version cannot show; also past the constraints."""
    keys = MasterKeys(database)
    key_id = add(database, VAULT, 1)
    before = PgpKeys(database).sealed("acme", key_id, 1)
    assert before is not None
    keys.begin(BOTH, at=NOW, actor="test")
    keys.rewrap(BOTH)
    keys.finish(BOTH, at=NOW, actor="test")
    with pytest.raises(LedgerConflict), database.write() as connection:
        connection.execute(pgp_keys.update().values(sealed_private_key=before.private_key))
    with closing(sqlite3.connect(str(database.engine.url.database))) as thief:  # without `foreign_keys=ON`
        thief.execute("UPDATE pgp_keys SET sealed_private_key = ?", (before.private_key,))
        thief.commit()
    after = PgpKeys(database).sealed("acme", key_id, 1)
    assert after is not None
    with pytest.raises(MasterKeyWrong):
        Vault(NEW).open(after.private_key, PGP_PRIVATE_KEY.record_id("acme", key_id))
    assert keys.counts() == {BOTH.master_key_id: 1, VAULT.master_key_id: 1}
    assert len(keys.rewrap(Vault(NEW)).damaged) == 1


def test_ledger_of_the_version_before_keeps_its_secrets_and_its_audit(tmp_path: Path) -> None:
    """FAULTS W16: the one master key is named, lines get their chain; what is sealed opens as before."""
    path = tmp_path / "ledger.db"
    database = Database(f"sqlite:///{path}")
    database.migrate("0002")
    with closing(sqlite3.connect(path)) as older:
        older.execute("INSERT INTO vault_check (id, sealed) VALUES (1, ?)", (VAULT.seal(*check()),))
        older.execute("INSERT INTO accounts VALUES ('acme', 'active', 1, 0, '[]', ?, 0, 1)", (str(NOW),))
        values = ("key", "acme", 1, "active", "F", "RSA", "[]", str(NOW), None, None, b"public", sealed(b"x"), None)
        older.execute("INSERT INTO pgp_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'verify')", values)
        for line, subject in ((1, "one"), (3, "three")):  # a gap: nobody promised that there is none
            row = (line, f"2026-01-0{line}T00:00:00.000000Z", "ann", "key.add", None, subject, "done")
            older.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        older.commit()
    with closing(database):
        database.migrate()
        (named,) = MasterKeys(database).all()
        assert (named.id, named.since.isoformat()) == (VAULT.master_key_id, "2026-01-01T00:00:00+00:00")
        MasterKeys(database).verify(VAULT, [named])
        assert MasterKeys(database).counts() == {VAULT.master_key_id: 1}
        found = verify_audit(database, None)
        assert (found.first_bad, found.tip.number, found.keyed_from) == (None, 2, None)
        with database.read() as connection:
            assert connection.execute(text("SELECT id, subject FROM audit")).all() == [(1, "one"), (2, "three")]
            assert connection.scalar(text("SELECT sealed_private_key FROM pgp_keys")) == sealed(b"x")
    with closing(sqlite3.connect(path)) as thief:
        thief.execute("UPDATE audit SET subject = 'other' WHERE id = 1")
        thief.commit()
    assert verify_audit(database, None).first_bad == 1
    database.close()


def check() -> tuple[bytes, RecordId]:
    """The constant of the first versions: it must open for ever."""
    return b"sealdrop vault check", RecordId("", "vault_check", "vault.check", 1)


def test_kind_of_a_secret_is_for_ever() -> None:
    """Records that are sealed already would not open under another name."""
    kinds = {PGP_PRIVATE_KEY.kind, PGP_PASSPHRASE.kind, AUDIT_KEY.kind, REQUEST_KEYSET.kind}
    assert kinds == {"pgp.private_key", "pgp.passphrase", "audit.first_key", "hpke.request_keyset"}


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_table_with_secrets_can_be_rebuilt_by_a_later_migration(database: Database) -> None:
    """SQLite alters most things by a copy of the table, and a derived column cannot be copied."""
    key_id = add(database, VAULT, 1)
    with database.write() as connection:
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("pgp_keys", recreate="always") as batch:
            batch.add_column(Column("later", String(8)))
    assert MasterKeys(database).counts() == {VAULT.master_key_id: 2}
    assert PgpKeys(database).sealed("acme", key_id, 1) is not None
    with pytest.raises(LedgerConflict):
        add(database, Vault(NEW), 2)

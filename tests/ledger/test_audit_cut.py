"""Old lines of the audit are cut off, and what nobody but the sweeper removed is still found."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ingest.errors import AuditBroken
from ingest.ledger.audit import lines, record, start_key
from ingest.ledger.audit_cut import count_old, cut_audit
from ingest.ledger.audit_verify import AuditFinding, Noted, verify_audit
from ingest.ledger.database import Database
from ingest.ledger.master_keys import MasterKeys
from keystore.audit_chain import mac_of, next_hash, next_key
from keystore.errors import KeystoreError, RecordTampered
from keystore.secret import Secret
from keystore.vault import Vault
from tests.ledger.conftest import NOW, VAULT

DAYS = 12
Thief = sqlite3.Connection


def add(database: Database, subject: str, at: datetime) -> None:
    with database.write() as connection:
        record(connection, at=at, actor="test", action="some.action", subject=subject)


def filled(database: Database) -> None:
    """Lines 1 to 3 (one or two of them from before the audit had a key) on the first day, then one on each day."""
    start_key(database, VAULT, at=NOW)
    for day in range(1, DAYS + 1):
        add(database, f"day {day}", NOW + timedelta(days=day))


def cut(database: Database, day: int, *, vault: Vault = VAULT) -> int:
    """Cut off what is older than that day."""
    return cut_audit(database, vault, before=NOW + timedelta(days=day), at=NOW + timedelta(days=DAYS))


def numbers(database: Database) -> list[int]:
    with database.read() as connection:
        return [line.number for line in lines(connection)]


def found(database: Database, vault: Vault | None = VAULT, noted: Noted | None = None) -> AuditFinding:
    return verify_audit(database, vault, noted=noted)


def test_cut_audit_verifies_and_goes_on(database: Database) -> None:
    """Cut before there are MACs, then in the midst of them, then nearly all; on both engines."""
    filled(database)
    last = numbers(database)[-1]
    before = found(database).tip
    assert count_old(database, before=NOW + timedelta(days=2)) == last - DAYS + 1
    assert cut(database, 2) == last - DAYS + 1
    assert numbers(database)[0] == last - DAYS + 2
    assert cut(database, 5) == 3
    assert cut(database, 5) == 0
    for vault in (VAULT, None):
        verified = found(database, vault, before)
        assert (verified.first_bad, verified.problem) == (None, None)
        assert (verified.tip.number, verified.cut) == (last + 2, last - DAYS + 4)
    add(database, "later", NOW + timedelta(days=DAYS))
    assert cut(database, 1000) == 11
    assert len(numbers(database)) == 1  # that of the cut
    assert found(database).first_bad is found(database, None).first_bad is None


def test_a_cut_waits_until_it_is_worth_its_line(database: Database) -> None:
    """Else a cut an hour would add a line an hour."""
    filled(database)
    assert cut(database, 4) > 0
    assert cut(database, 5) == 0
    assert count_old(database, before=NOW + timedelta(days=5)) == 0
    assert cut(database, 6) == 2


def test_audit_without_a_key_is_not_cut(database: Database) -> None:
    add(database, "another", NOW + timedelta(days=1))
    assert cut(database, 1000) == 0
    assert found(database).first_bad is None


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, ledger_file: Path) -> Path:
    """A ledger whose audit was cut, and is whole."""
    path = tmp_path_factory.mktemp("audit") / "ledger.db"
    shutil.copy(ledger_file, path)
    with closing(Database(f"sqlite:///{path}")) as database:
        MasterKeys(database).begin(VAULT, at=NOW, actor="test")
        filled(database)
        assert cut(database, 5) > 0
    return path


@pytest.fixture
def was_cut(original: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(original, tmp_path / "ledger.db")
    with closing(Database(f"sqlite:///{tmp_path / 'ledger.db'}")) as database:
        assert found(database).first_bad is None
        yield database


@pytest.fixture
def thief(was_cut: Database) -> Iterator[Thief]:
    """Somebody who writes into the file of the ledger with a program of his own."""
    with closing(sqlite3.connect(str(was_cut.engine.url.database), isolation_level=None)) as connection:
        yield connection


def test_line_that_was_removed_after_a_cut_is_found(was_cut: Database, thief: Thief) -> None:
    first, second, *_ = numbers(was_cut)
    thief.execute("DELETE FROM audit WHERE id = ?", (first,))
    assert found(was_cut).first_bad == found(was_cut, None).first_bad == first
    thief.execute("DELETE FROM audit WHERE id = ?", (second,))
    assert found(was_cut).first_bad == first


def test_cut_that_a_thief_makes_up_is_found(was_cut: Database, thief: Thief) -> None:
    """He can write the next line with its MAC, since the ledger holds that key; he cannot make an anchor."""
    last, key = thief.execute("SELECT line, next_key FROM audit_tip").fetchone()
    victim = numbers(was_cut)[2]
    (victim_hash,) = thief.execute("SELECT hash FROM audit WHERE id = ?", (victim,)).fetchone()
    (tip,) = thief.execute("SELECT hash FROM audit_tip").fetchone()
    (at,) = thief.execute("SELECT at FROM audit WHERE id = ?", (last,)).fetchone()
    parts = ("sealdrop", "audit.cut", None, f"{victim}:{victim_hash.hex()}", "done")
    forged = next_hash(tip, (str(last + 1), at, *parts))
    thief.execute(
        "INSERT INTO audit (id, at, actor, action, account, subject, outcome, hash, mac) VALUES (?,?,?,?,?,?,?,?,?)",
        (last + 1, at, *parts, forged, mac_of(key, forged)),
    )
    thief.execute("UPDATE audit_tip SET line = ?, hash = ?, next_key = ?", (last + 1, forged, next_key(key)))
    assert found(was_cut).first_bad is None  # an empty deed so far, as anybody's who can write to the ledger
    thief.execute("DELETE FROM audit WHERE id <= ?", (victim,))
    assert found(was_cut).first_bad == victim - 2
    assert found(was_cut, None).first_bad is None  # what the chain alone does not show


def test_anchor_that_was_changed_does_not_open(was_cut: Database, thief: Thief) -> None:
    (sealed,) = thief.execute("SELECT sealed_first_key FROM audit_tip").fetchone()
    thief.execute("UPDATE audit_tip SET sealed_first_key = ?", (sealed[:-1] + bytes([sealed[-1] ^ 1]),))
    with pytest.raises(RecordTampered):
        found(was_cut)


@pytest.mark.parametrize("statement", ["DELETE FROM audit WHERE id = ?", "UPDATE audit SET actor = 'x' WHERE id = ?"])
def test_cut_hides_no_line_that_was_removed_or_changed(was_cut: Database, thief: Thief, statement: str) -> None:
    first, second, *_ = numbers(was_cut)
    thief.execute(statement, (second,))
    left = numbers(was_cut)
    with pytest.raises(AuditBroken, match=f"line {second}"):
        cut(was_cut, 10)
    assert numbers(was_cut) == left
    assert found(was_cut).first_bad == second
    assert first in left


def test_line_that_was_written_anew_with_its_hashes_is_not_cut(was_cut: Database, thief: Thief) -> None:
    """Its hash fits, its MAC does not."""
    first = numbers(was_cut)[0]
    thief.execute("UPDATE audit SET mac = ? WHERE id = ?", (b"x" * 32, first))
    with pytest.raises(AuditBroken, match=f"line {first}"):
        cut(was_cut, 10)


def test_noted_line_that_was_cut_off_says_so(was_cut: Database) -> None:
    verified = found(was_cut)
    with was_cut.read() as connection:
        told = next(line.subject for line in lines(connection) if line.action == "audit.cut")
    number, _, line_hash = told.partition(":")
    assert found(was_cut, noted=Noted(int(number), line_hash)).first_bad is None
    assert found(was_cut, noted=Noted(int(number), "0" * 64)).first_bad == int(number)
    gone = found(was_cut, noted=Noted(2, "0" * 64))
    assert (gone.first_bad, "cut off" in (gone.problem or "")) == (2, True)
    assert verified.cut == int(number)


def test_cut_needs_the_master_key(was_cut: Database) -> None:
    with pytest.raises(KeystoreError):
        cut(was_cut, 10, vault=Vault(Secret(b"x" * 32)))
    assert found(was_cut).first_bad is None

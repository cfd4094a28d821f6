"""The audit: what is recorded, and that nothing of it can be taken back unseen."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.errors import AlreadyThere, LedgerUnavailable, LimitReached
from ingest.ledger.accounts import Accounts
from ingest.ledger.audit import Line, lines, record, refusals, start_key
from ingest.ledger.audit_verify import AuditFinding, Noted, verify_audit
from ingest.ledger.database import Database
from ingest.ledger.master_keys import MasterKeys
from ingest.ledger.pgp_keys import PgpKeys, SealedPair
from keystore.audit_chain import mac_of, next_hash, next_key
from keystore.errors import KeyRejected
from keystore.secret import Secret
from keystore.vault import Vault
from tests.ledger.conftest import NOW, VAULT, sealed
from tests.ledger.test_keys_and_accounts import pair

Thief = sqlite3.Connection
LINES = 12


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with twelve lines; two were there before the audit had a key, the third says that it got one."""
    path = tmp_path_factory.mktemp("audit") / "ledger.db"
    with closing(Database(f"sqlite:///{path}")) as database:
        database.migrate()
        MasterKeys(database).begin(VAULT, at=NOW, actor="test")
        Accounts(database).add("acme", now=NOW, actor="test")
        add(database, "subject 2")
        start_key(database, VAULT, at=NOW)
        for number in range(4, LINES + 1):
            add(database, f"subject {number}")
    return path


@pytest.fixture
def keyed(original: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(original, tmp_path / "ledger.db")
    with closing(Database(f"sqlite:///{tmp_path / 'ledger.db'}")) as database:
        assert verified(database) == (None, LINES)
        yield database


def add(database: Database, subject: str, **values: str) -> None:
    with database.write() as connection:
        record(connection, at=NOW, actor="test", action="some.action", subject=subject, **values)


def all_lines(database: Database) -> list[Line]:
    with database.read() as connection:
        return list(lines(connection))


def verified(database: Database, *, noted: Noted | None = None) -> tuple[int | None, int]:
    found = verify_audit(database, VAULT, noted=noted)
    return found.first_bad, found.tip.number


@pytest.fixture
def thief(keyed: Database) -> Iterator[Thief]:
    """Somebody who writes into the file of the ledger with a program of his own."""
    with closing(sqlite3.connect(str(keyed.engine.url.database), isolation_level=None)) as connection:
        yield connection


def rewritten(thief: Thief, number: int, *, with_macs: bool) -> None:
    """Compute the chain anew from a line on, as far as that can be done with what the ledger holds."""
    (previous,) = thief.execute("SELECT hash FROM audit WHERE id = ?", (number - 1,)).fetchone()
    (key,) = thief.execute("SELECT next_key FROM audit_tip").fetchone()
    query = "SELECT id, at, actor, action, account, subject, outcome FROM audit WHERE id >= ? ORDER BY id"
    for line, *parts in thief.execute(query, (number,)).fetchall():
        previous = next_hash(previous, (str(line), *parts))
        thief.execute("UPDATE audit SET hash = ? WHERE id = ?", (previous, line))
        if with_macs:
            thief.execute("UPDATE audit SET mac = ? WHERE id = ?", (mac_of(key, previous), line))
            key = next_key(key)
    (last,) = thief.execute("SELECT max(id) FROM audit").fetchone()
    thief.execute("UPDATE audit_tip SET hash = ?, line = ?, next_key = ?", (previous, last, key))


@pytest.mark.parametrize("column", ["at", "actor", "action", "account", "subject", "outcome", "hash", "mac"])
@pytest.mark.parametrize("number", [2, 7, LINES])
def test_changed_line_is_found(keyed: Database, thief: Thief, column: str, number: int) -> None:
    """FAULTS H10: also a time that only is written in another way."""
    value: object = {"at": "2026-11-22T08:15:00.000000+00:00", "hash": bytes(32), "mac": bytes(32)}.get(column, "other")
    thief.execute(f"UPDATE audit SET {column} = ? WHERE id = ?", (value, number))
    found = verify_audit(keyed, VAULT)
    if (column, number) == ("mac", 2):  # a line from before the audit had a key
        assert found.first_bad is None
    else:
        assert (found.first_bad, found.tip.number) == (number, number - 1)


@pytest.mark.parametrize("number", [1, 2, 7, LINES])
def test_removed_line_is_found(keyed: Database, thief: Thief, number: int) -> None:
    thief.execute("DELETE FROM audit WHERE id = ?", (number,))
    assert verified(keyed) == (number, number - 1)


def test_removed_line_is_found_when_the_rest_is_numbered_anew(keyed: Database, thief: Thief) -> None:
    thief.execute("DELETE FROM audit WHERE id = 7")
    for number in range(8, LINES + 1):
        thief.execute("UPDATE audit SET id = ? WHERE id = ?", (number - 1, number))
    assert verified(keyed) == (7, 6)


@pytest.mark.parametrize("number", [0, 7, LINES + 1])
def test_line_that_was_put_in_is_found(keyed: Database, thief: Thief, number: int) -> None:
    for line in range(LINES, number - 1, -1):
        thief.execute("UPDATE audit SET id = ? WHERE id = ?", (line + 1, line))
    columns = "at, actor, action, account, subject, outcome, hash, mac"
    thief.execute(f"INSERT INTO audit (id, {columns}) SELECT {number}, {columns} FROM audit WHERE id = 5")
    assert verified(keyed)[0] == number


def test_swapped_lines_are_found(keyed: Database, thief: Thief) -> None:
    for old, new in ((6, 99), (7, 6), (99, 7)):
        thief.execute("UPDATE audit SET id = ? WHERE id = ?", (new, old))
    assert verified(keyed) == (6, 5)


@pytest.mark.parametrize("with_macs", [False, True])
def test_line_that_was_changed_with_all_hashes_after_it_is_found(
    keyed: Database, thief: Thief, with_macs: bool
) -> None:
    """The keys that belong to earlier lines are in nobody's hands, so the MACs do not fit."""
    thief.execute("UPDATE audit SET subject = 'other' WHERE id = 7")
    rewritten(thief, 7, with_macs=with_macs)
    found = verify_audit(keyed, VAULT)
    assert (found.first_bad, found.keyed) == (7, True)
    assert "MAC" in str(found.problem)
    assert verify_audit(keyed, None).first_bad is None  # what the chain alone does not show


def test_end_that_was_cut_off_is_found(keyed: Database, thief: Thief) -> None:
    thief.execute("DELETE FROM audit WHERE id > 9")
    assert verified(keyed) == (10, 9)
    rewritten(thief, 9, with_macs=False)
    assert verified(keyed) == (10, 9)


def test_audit_whose_key_was_taken_away_is_not_whole(keyed: Database, thief: Thief) -> None:
    thief.execute("UPDATE audit_tip SET next_key = NULL, keyed_from = NULL")
    assert verified(keyed) == (1, 0)
    thief.execute("UPDATE audit_tip SET sealed_first_key = NULL")
    assert not verify_audit(keyed, VAULT).keyed


def test_key_that_was_started_again_begins_where_it_was_started(keyed: Database, thief: Thief) -> None:
    """It cannot be hidden that lines before have no MAC."""
    thief.execute("UPDATE audit_tip SET next_key = NULL, keyed_from = NULL, sealed_first_key = NULL")
    start_key(keyed, VAULT, at=NOW)
    found = verify_audit(keyed, VAULT)
    assert (found.first_bad, found.keyed_from) == (None, LINES + 1)


def test_noted_line_shows_that_an_older_ledger_was_put_back(keyed: Database, tmp_path: Path) -> None:
    """FAULTS W17: a whole copy of the ledger proves itself; only what was noted elsewhere shows that it is old."""
    path = Path(str(keyed.engine.url.database))
    older = path.read_bytes()
    add(keyed, "what should not have happened")
    tip = verify_audit(keyed, VAULT).tip
    assert verified(keyed, noted=tip) == (None, LINES + 1)
    keyed.close()
    path.write_bytes(older)
    assert verified(keyed) == (None, LINES)
    assert verified(keyed, noted=tip) == (LINES + 1, LINES)
    add(keyed, "something else")
    assert verified(keyed) == (None, LINES + 1)
    assert verified(keyed, noted=tip) == (LINES + 1, LINES)


def test_first_key_of_another_vault_does_not_open(keyed: Database) -> None:
    with pytest.raises(Exception, match="master key"):
        verify_audit(keyed, Vault(Secret(b"x" * 32)))


def test_audit_has_one_first_key(keyed: Database) -> None:
    start_key(keyed, VAULT, at=NOW)
    assert len(all_lines(keyed)) == LINES
    assert verify_audit(keyed, VAULT).keyed_from == 3


SHORT = st.lists(st.none() | st.text("ab", max_size=2), max_size=4).map(tuple)


@given(one=SHORT, other=SHORT)
@settings(max_examples=300)
def test_no_two_lines_have_the_same_hash(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> None:
    """Where one part ends and the next begins counts, and nothing is not the empty text."""
    assert (next_hash(bytes(32), one) == next_hash(bytes(32), other)) == (one == other)


@given(text=st.text(min_size=1, max_size=300))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_one_line_of_what_can_be_shown(keyed: Database, text: str) -> None:
    """FAULTS H10: newline-safe; a name that an attacker chose makes no second line and steers no terminal."""
    add(keyed, text, outcome=text, account=text)
    line = all_lines(keyed)[-1]
    for shown, length in ((line.subject, 256), (line.outcome, 64), (str(line.account), 64)):
        assert shown.isprintable()
        assert len(shown) == min(len(text), length)
    assert verified(keyed)[0] is None


def test_line_that_cannot_be_written_undoes_its_deed(keyed: Database) -> None:
    """FAULTS H10, W5: a full disk (SQLITE_FULL) fails closed."""
    keys, stored = PgpKeys(keyed), pair(1)
    keys.add(stored, SealedPair(sealed(b"x"), None), actor="test")
    with keyed.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    done = 0
    with suppress(LedgerUnavailable):
        while done < 1000:
            keys.change_policy(stored, "ignore" if done % 2 else "require", actor="a" * 128, now=NOW)
            done += 1
    assert 0 < done < 1000
    assert keys.of_account("acme")[0].signatures == ("require" if done % 2 else "ignore")
    assert verified(keyed) == (None, LINES + 1 + done)


def test_writers_at_once_make_one_chain(keyed: Database) -> None:
    """FAULTS W18."""

    def write(writer: int) -> None:
        with closing(Database(str(keyed.engine.url))) as own:
            for number in range(10):
                add(own, f"{writer} {number}")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verified(keyed) == (None, LINES + 40)
    assert {line.subject for line in all_lines(keyed)[LINES:]} == {f"{w} {n}" for w in range(4) for n in range(10)}


def refused_deed(database: Database, error: Exception) -> None:
    with (
        refusals(database, now=lambda: NOW, actor="ann", action="key.add", subject="acme", account="acme"),
        database.write() as connection,
    ):
        record(connection, at=NOW, actor="ann", action="key.add", subject="what is undone")
        raise error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (KeyRejected("no key", detail="canary"), "refused: key.rejected"),
        (AlreadyThere("canary is there"), "refused: already_there"),
        (LimitReached("canary"), "refused: limit_reached"),
    ],
)
def test_refused_deed_is_recorded_by_itself(keyed: Database, error: Exception, outcome: str) -> None:
    with pytest.raises(type(error)):
        refused_deed(keyed, error)
    line = all_lines(keyed)[-1]
    assert (line.number, line.actor, line.action, line.account, line.subject, line.outcome) == (
        LINES + 1,
        "ann",
        "key.add",
        "acme",
        "acme",
        outcome,
    )
    assert verified(keyed)[0] is None


@pytest.mark.parametrize("error", [ZeroDivisionError(), LedgerUnavailable("gone")])
def test_fault_is_no_refusal(keyed: Database, error: Exception) -> None:
    with pytest.raises(type(error)):
        refused_deed(keyed, error)
    assert len(all_lines(keyed)) == LINES


def test_deed_that_is_done_records_no_refusal(keyed: Database) -> None:
    with refusals(keyed, now=lambda: NOW, actor="ann", action="x", subject="y"):
        pass
    assert len(all_lines(keyed)) == LINES


def test_lines_are_read_by_account_and_from_the_end(keyed: Database) -> None:
    add(keyed, "theirs", account="other")
    with keyed.read() as connection:
        assert [line.number for line in lines(connection, limit=2, newest_first=True)] == [LINES + 1, LINES]
        assert [line.subject for line in lines(connection, account="other")] == ["theirs"]
        assert [line.action for line in lines(connection, account="acme")] == ["account.add"]


def test_finding_without_a_vault_says_that_it_saw_no_mac(keyed: Database) -> None:
    found = verify_audit(keyed, None)
    assert found == AuditFinding(tip=found.tip, keyed=False, keyed_from=3)

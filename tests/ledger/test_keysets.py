"""Keysets in the ledger: two of each direction, by constraint, and what a rotation leaves."""

from __future__ import annotations

import threading
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from ingest.errors import AlreadyThere, LedgerConflict, RotationRefused, StillNeeded
from ingest.ledger.accounts import Accounts
from ingest.ledger.audit_verify import verify_audit
from ingest.ledger.database import Database
from ingest.ledger.keysets import Direction, Keyset, Keysets
from ingest.ledger.sealed import REQUEST_KEYSET
from ingest.ledger.tables import audit, keysets
from keystore.secret import Secret
from keystore.vault import Vault
from tests.ledger.conftest import NOW, VAULT, sealed

DAY = timedelta(days=1)
DIRECTIONS: tuple[Direction, ...] = ("request", "response")


def keyset(number: int, direction: Direction, *, at: datetime = NOW, account: str = "acme") -> Keyset:
    return Keyset(str(uuid.uuid4()), account, direction, "primary", at, None, b"public %d" % number)


def private(direction: Direction) -> bytes | None:
    return sealed(b"private-canary") if direction == "request" else None


def put(database: Database, one: Keyset, *, rotate: bool = True, keep: timedelta = 30 * DAY) -> Keyset | None:
    until = one.created_at + keep
    return Keysets(database).put(one, private(one.direction), rotate=rotate, former_until=until, actor="cli:ann")


def states(database: Database, account: str = "acme") -> list[tuple[bytes, str, datetime | None]]:
    return [(one.public_keyset, one.slot, one.until) for one in Keysets(database).of_account(account)]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_former_primary_is_previous_until_a_date_and_then_gone(database: Database, direction: Direction) -> None:
    """FAULTS H7."""
    first, second, third = (keyset(n, direction, at=NOW + n * 31 * DAY) for n in range(3))
    assert put(database, first) is None
    former = put(database, second)
    assert former is not None
    end = second.created_at + 30 * DAY
    assert (former.keyset_id, former.slot, former.until) == (first.keyset_id, "previous", end)
    assert not former.has_ended(end - timedelta(microseconds=1))
    assert former.has_ended(end)
    assert Keysets(database).of_account("acme") == [second, former]
    assert Keysets(database).primary("acme", direction) == second
    put(database, third)
    assert [one[:2] for one in states(database)] == [(b"public 2", "primary"), (b"public 1", "previous")]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_former_primary_that_is_not_kept_is_removed_with_its_private_half(
    database: Database, direction: Direction
) -> None:
    put(database, keyset(1, direction))
    former = put(database, keyset(2, direction), keep=timedelta())
    assert former is not None
    assert former.has_ended(NOW)
    assert states(database) == [(b"public 2", "primary", None)]


def test_request_keyset_that_may_still_be_used_is_not_pushed_out(database: Database) -> None:
    """FAULTS H7: previous stays valid until its end date, whoever rotates once more."""
    first, second = keyset(1, "request"), keyset(2, "request")
    put(database, first)
    put(database, second)
    with pytest.raises(RotationRefused, match=f"2026-12-22 08:15:00 UTC.*keyset remove {first.keyset_id}"):
        put(database, keyset(3, "request", at=NOW + 30 * DAY - timedelta(microseconds=1)))
    assert [one[0] for one in states(database)] == [b"public 2", b"public 1"]
    put(database, keyset(3, "request", at=NOW + 30 * DAY))
    assert [one[0] for one in states(database)] == [b"public 3", b"public 2"]


def test_response_keyset_may_be_replaced_at_any_time_also_by_the_one_before(database: Database) -> None:
    """Nothing is ever sealed to a previous one."""
    for number in (1, 2, 3, 2):
        put(database, keyset(number, "response"))
    assert [one[:2] for one in states(database)] == [(b"public 2", "primary"), (b"public 3", "previous")]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_same_keyset_twice_and_a_second_without_rotation_are_refused(database: Database, direction: Direction) -> None:
    first = keyset(1, direction)
    put(database, first)
    with pytest.raises(AlreadyThere, match=first.keyset_id):
        put(database, keyset(1, direction))
    with pytest.raises(AlreadyThere, match="--rotate"):
        put(database, keyset(2, direction), rotate=False)
    assert states(database) == [(b"public 1", "primary", None)]


def test_many_at_once_leave_one_primary_and_no_more(database: Database) -> None:
    """FAULTS K4."""
    outcomes: list[str] = []

    def add(number: int) -> None:
        try:
            put(database, keyset(number, "request"), rotate=False)
            outcomes.append("added")
        except AlreadyThere:
            outcomes.append("refused")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count("added"), outcomes.count("refused")) == (1, 19)
    assert len(states(database)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"slot": "third"},
        {"direction": "both"},
        {"until": NOW},
        {"slot": "previous"},
        {"sealed_private_keyset": None},
        {"direction": "response"},
        {},  # a second primary
    ],
)
def test_row_that_breaks_a_rule_is_refused_by_the_database(database: Database, wrong: dict[str, Any]) -> None:
    put(database, keyset(1, "request"))
    row = {
        "keyset_id": str(uuid.uuid4()),
        "account": "acme",
        "direction": "request",
        "slot": "primary",
        "created_at": NOW,
        "until": None,
        "public_keyset": b"public",
        "sealed_private_keyset": sealed(b"x"),
    }
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(keysets.insert().values(row | wrong))


def test_keyset_is_found_through_its_account_only(database: Database) -> None:
    """FAULTS P19, H4."""
    Accounts(database).add("other", now=NOW, actor="test")
    mine, theirs = keyset(1, "request"), keyset(1, "request", account="other")
    put(database, mine)
    put(database, theirs)  # no keyset of another account stands in the way
    assert Keysets(database).of_account("acme") == [mine]
    assert [one for one, _ in Keysets(database).with_private_half("other")] == [theirs]
    assert Keysets(database).primary("nobody", "request") is None
    with pytest.raises(LedgerConflict):
        put(database, keyset(1, "response", account="nobody"))


def test_primary_request_keyset_stays_and_the_others_can_be_removed(database: Database) -> None:
    for number in (1, 2):
        for direction in DIRECTIONS:
            put(database, keyset(number, direction))
    stored = Keysets(database)
    request, previous, response, former = stored.of_account("acme")
    with pytest.raises(StillNeeded, match="keyset generate acme --rotate"):
        stored.remove(request, actor="cli:ann", now=NOW)
    for one in (previous, response, response):
        stored.remove(one, actor="cli:ann", now=NOW)
    assert stored.of_account("acme") == [request, former]
    assert stored.primary("acme", "response") is None
    put(database, keyset(3, "response"))
    assert [one[:2] for one in states(database)[1:]] == [(b"public 3", "primary"), (b"public 1", "previous")]


def test_everything_is_audited_without_key_material(database: Database) -> None:
    """FAULTS H10."""
    one = keyset(1, "request")
    put(database, one)
    put(database, keyset(2, "request"))
    put(database, keyset(1, "response"))
    put(database, keyset(2, "response"), keep=timedelta())
    Keysets(database).remove(one, actor="cli:bob", now=NOW)
    with database.read() as connection:
        rows = connection.execute(audit.select().order_by(audit.c.id)).all()[1:]
    assert [(row.actor, row.action, row.account, row.outcome) for row in rows] == [
        ("cli:ann", "request_keyset.add", "acme", "done"),
        ("cli:ann", "request_keyset.rotate", "acme", "former until 2026-12-22T08:15:00Z"),
        ("cli:ann", "response_keyset.add", "acme", "done"),
        ("cli:ann", "response_keyset.rotate", "acme", "former removed"),
        ("cli:bob", "request_keyset.remove", "acme", "done"),
    ]
    assert rows[0].subject == rows[4].subject == one.keyset_id
    assert "canary" not in str(rows)
    assert "public 1" not in str(rows)
    assert verify_audit(database, None).first_bad is None


def test_private_half_under_a_key_that_the_ledger_does_not_name_is_refused(database: Database) -> None:
    """FAULTS K3."""
    one = keyset(1, "request")
    content = Vault(Secret(b"n" * 32)).seal(b"x", REQUEST_KEYSET.record_id("acme", one.keyset_id))
    with pytest.raises(LedgerConflict):
        Keysets(database).put(one, content, rotate=False, former_until=NOW, actor="test")
    assert states(database) == []
    content = VAULT.seal(b"x", REQUEST_KEYSET.record_id("acme", one.keyset_id))
    Keysets(database).put(one, content, rotate=False, former_until=NOW, actor="test")
    assert Keysets(database).with_private_half("acme") == [(one, content)]

"""The states of key pairs in the ledger: legal moves, slots, primary and previous."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from ingest.errors import AlreadyThere, LimitReached, MoveRefused
from ingest.ledger.database import Database
from ingest.ledger.pgp_keys import PgpKey, PgpKeys
from ingest.ledger.tables import MAX_PGP_KEYS, audit, pgp_keys
from ingest.states import PAIR_MOVES, PairState
from tests.ledger.conftest import NOW
from tests.ledger.test_keys_and_accounts import SEALED, pair

LATER = NOW + timedelta(days=30)


@pytest.fixture
def keys(database: Database) -> PgpKeys:
    return PgpKeys(database)


def added(keys: PgpKeys, number: int = 1) -> PgpKey:
    stored = pair(number)
    keys.add(stored, SEALED, actor="test")
    return stored


def next_of(former: PgpKey, number: int) -> PgpKey:
    return replace(pair(number), key_id=former.key_id, version=former.version + 1)


def rotated(keys: PgpKeys, former: PgpKey, number: int) -> PgpKey:
    new = next_of(former, number)
    keys.rotate(new, SEALED, previous_until=LATER, actor="test")
    return new


def move(keys: PgpKeys, key: PgpKey, to: PairState) -> None:
    retires_at = LATER if to is PairState.RETIRING else None
    keys.move([key], to, actor="test", now=NOW, retires_at=retires_at)


def states(keys: PgpKeys, key: PgpKey) -> list[str]:
    """Newest first."""
    return [each.state for each in keys.of_key_id(key.key_id)]


def test_moves_are_total_and_nothing_leaves_the_last_state() -> None:
    assert PAIR_MOVES.keys() == set(PairState)
    assert PAIR_MOVES[PairState.DESTROYED] == frozenset()
    assert all(PairState.DESTROYED in PAIR_MOVES[state] for state in PairState if state is not PairState.DESTROYED)


@pytest.mark.parametrize(("start", "to"), list(itertools.product(PairState, PairState)))
def test_ledger_makes_the_legal_moves_and_no_other(keys: PgpKeys, start: PairState, to: PairState) -> None:
    key = added(keys)
    if start is not PairState.ACTIVE:
        move(keys, key, start)
    if to in PAIR_MOVES[start]:
        move(keys, key, to)
        assert states(keys, key) == [to]
    else:
        with pytest.raises(MoveRefused, match=f"{start}.*{to}"):
            move(keys, key, to)
        assert states(keys, key) == [start]


def test_destroyed_pair_loses_its_secrets_and_frees_its_slot(keys: PgpKeys, database: Database) -> None:
    """FAULTS K4, K8."""
    first, *_ = [added(keys, number) for number in range(MAX_PGP_KEYS)]
    with pytest.raises(LimitReached, match="key destroy"):
        added(keys, 99)
    move(keys, first, PairState.DESTROYED)
    assert keys.sealed("acme", first.key_id, 1) is None
    added(keys, 99)
    with pytest.raises(LimitReached):
        added(keys, 100)
    assert len(keys.of_account("acme")) == MAX_PGP_KEYS + 1
    with database.read() as connection:
        actions = [(row.action, row.subject) for row in connection.execute(audit.select())]
    assert ("key.destroyed", first.key_id) in actions


def test_destroyed_pair_may_be_stored_again_under_another_key_id(keys: PgpKeys) -> None:
    key = added(keys)
    move(keys, key, PairState.RETIRED)
    with pytest.raises(AlreadyThere, match=key.key_id):
        added(keys)
    move(keys, key, PairState.DESTROYED)
    assert added(keys).key_id != key.key_id


@pytest.mark.parametrize(
    "values",
    [
        {"state": "destroyed"},
        {"state": "destroyed", "slot": None},
        {"slot": None},
        {"sealed_private_key": None},
        {"state": "retiring"},
        {"retires_at": NOW},
        {"state": "lost"},
        {"slot": MAX_PGP_KEYS + 1},
        {"slot": 0},
    ],
    ids=str,
)
def test_database_itself_refuses_half_a_state(keys: PgpKeys, database: Database, values: dict[str, Any]) -> None:
    added(keys)
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(update(pgp_keys).values(**values))


def test_rotation_makes_the_former_pair_the_previous_one(keys: PgpKeys) -> None:
    first = added(keys)
    second = rotated(keys, first, 2)
    newest, former = keys.of_key_id(first.key_id)
    assert (newest, former.fingerprint) == (second, first.fingerprint)
    assert (former.state, former.retires_at) == (PairState.RETIRING, LATER)
    assert former.opens_files(LATER - timedelta(seconds=1))
    assert not former.opens_files(LATER)


def test_key_id_has_one_previous_pair_at_most(keys: PgpKeys) -> None:
    first = added(keys)
    second = rotated(keys, first, 2)
    with pytest.raises(MoveRefused, match="--previous"):
        rotated(keys, second, 3)
    move(keys, keys.of_key_id(first.key_id)[1], PairState.RETIRED)
    rotated(keys, second, 3)
    assert states(keys, first) == ["active", "retiring", "retired"]


def test_key_id_has_one_active_pair_at_most(keys: PgpKeys, database: Database) -> None:
    first = added(keys)
    rotated(keys, first, 2)
    with pytest.raises(MoveRefused, match="one only"):
        move(keys, first, PairState.ACTIVE)
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(update(pgp_keys).values(state="active", retires_at=None))


def test_previous_pair_counts_among_the_twenty(keys: PgpKeys) -> None:
    """FAULTS K4."""
    first, *_ = [added(keys, number) for number in range(MAX_PGP_KEYS)]
    with pytest.raises(LimitReached):
        rotated(keys, first, 99)
    assert states(keys, first) == ["active"], "nothing of a rotation that fails is done"


def test_of_many_rotations_at_once_one_is_done(database: Database, keys: PgpKeys) -> None:
    """FAULTS K4."""
    first = added(keys)
    outcomes: list[str] = []

    def rotate(number: int) -> None:
        try:
            rotated(PgpKeys(database), first, number)
            outcomes.append("rotated")
        except MoveRefused:
            outcomes.append("refused")

    threads = [threading.Thread(target=rotate, args=(number,)) for number in range(2, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 9 + ["rotated"]
    assert states(keys, first) == ["active", "retiring"]


def test_pairs_whose_day_has_come_are_retired(keys: PgpKeys) -> None:
    first, other = added(keys, 1), added(keys, 2)
    move(keys, first, PairState.RETIRING)
    assert keys.retire_due(LATER - timedelta(seconds=1)) == []
    assert [key.key_id for key in keys.retire_due(LATER)] == [first.key_id]
    assert keys.retire_due(LATER) == []
    assert (states(keys, first), states(keys, other)) == (["retired"], ["active"])

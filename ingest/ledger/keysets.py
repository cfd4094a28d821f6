"""HPKE keysets in the ledger, in two directions: *request* keysets are ours, *response* keysets the customers'.

A request is sealed to the public half of our request keyset, a response to the customer's response keyset. Each account
has request keysets of its own, not one for the installation: at any time two keysets of ours are active *for a
customer*, so that each customer takes up a new one at its own time, what one customer's keyset has lost opens nobody
else's requests, and the vault can bind the private half to its account (FAULTS.md K1).

Private halves are sealed by the vault before they get here, public ones have been checked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from ingest.errors import AlreadyThere, RotationRefused, StillNeeded
from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.tables import accounts, keysets
from keystore.active_keysets import Slot

Direction = Literal["request", "response"]


@dataclass(frozen=True, slots=True)
class Keyset:
    """A stored keyset; ``keyset_id`` is a UUID that we issue, ``public_keyset`` Tink's binary form.

    ``until`` is the first moment at which a previous one is no longer valid, and ``None`` for a primary one.
    """

    keyset_id: str
    account: str
    direction: Direction
    slot: Slot
    created_at: datetime
    until: datetime | None
    public_keyset: bytes

    def has_ended(self, now: datetime) -> bool:
        """Whether it was a previous one, and is no longer valid."""
        return self.until is not None and self.until <= now


class Keysets:
    """Adds, rotates, reads and removes keysets; one belongs to one account and is never found through another."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self, keyset: Keyset, sealed: bytes | None, *, rotate: bool, former_until: datetime, actor: str
    ) -> Keyset | None:
        """Store a primary keyset; the one that was primary before, and is previous until ``former_until`` from now on.

        The former one is removed at once, with its private half, when that time is no later than ``created_at``; the
        previous one before it in any case. ``sealed`` is the private half of a request keyset.

        Raises `AlreadyThere` when it is the primary one already, or when there is one and ``rotate`` is off;
        `RotationRefused` when requests may still be sealed to a previous keyset of ours; `LedgerConflict`.
        """
        account, direction, now = keyset.account, keyset.direction, keyset.created_at
        former: Keyset | None = None
        with self._database.write_in_turn() as connection:
            # one writer for an account at a time, also on PostgreSQL
            connection.execute(select(accounts.c.id).where(accounts.c.id == account).with_for_update())
            stored = {one.slot: one for one in _found(connection, _of_account(account, direction))}
            primary, previous = stored.get("primary"), stored.get("previous")
            if primary is not None:
                _check_rotation(keyset, primary, previous, rotate=rotate)
                if previous is not None:
                    connection.execute(delete(keysets).where(keysets.c.keyset_id == previous.keyset_id))
                this = keysets.c.keyset_id == primary.keyset_id
                if former_until > now:
                    connection.execute(update(keysets).where(this).values(slot="previous", until=former_until))
                else:
                    connection.execute(delete(keysets).where(this))
                former = replace(primary, slot="previous", until=former_until)
            connection.execute(
                insert(keysets).values(
                    keyset_id=keyset.keyset_id,
                    account=account,
                    direction=direction,
                    slot="primary",
                    created_at=now,
                    public_keyset=keyset.public_keyset,
                    sealed_private_keyset=sealed,
                )
            )
            audit.record(
                connection,
                at=now,
                actor=actor,
                action=f"{direction}_keyset.{'add' if former is None else 'rotate'}",
                subject=keyset.keyset_id,
                outcome="done" if former is None else _end_of(former, now),
                account=account,
            )
        return former

    def of_account(self, account: str) -> list[Keyset]:
        """The account's keysets, request before response, primary before previous; also those that have ended."""
        with self._database.read() as connection:
            return _found(connection, _of_account(account))

    def primary(self, account: str, direction: Direction) -> Keyset | None:
        """The account's primary keyset, or ``None``; responses are sealed to that of responses, and to no other."""
        with self._database.read() as connection:
            found = _found(connection, _of_account(account, direction).where(keysets.c.slot == "primary"))
        return found[0] if found else None

    def with_private_half(self, account: str) -> list[tuple[Keyset, bytes]]:
        """The account's request keysets, primary before previous, with their sealed private halves."""
        with self._database.read() as connection:
            rows = connection.execute(_of_account(account, "request"))
            return [(_keyset(row), row.sealed_private_keyset) for row in rows]

    def remove(self, keyset: Keyset, *, actor: str, now: datetime) -> None:
        """Remove a keyset, with its private half; nothing happens when it is gone.

        Raises `StillNeeded` for the primary request keyset, without which no encrypted request could be opened.
        """
        with self._database.write_in_turn() as connection:
            this = keysets.c.keyset_id == keyset.keyset_id
            found = _found(connection, _of_account(keyset.account).where(this).with_for_update())
            if not found:
                return
            if (found[0].direction, found[0].slot) == ("request", "primary"):
                raise StillNeeded(
                    f"{keyset.keyset_id} is the primary request keyset of {keyset.account}: without it no encrypted "
                    f"request could be opened. Rotate it first, with `sealdrop keyset generate {keyset.account} "
                    "--rotate`, then remove it."
                )
            connection.execute(delete(keysets).where(this))
            audit.record(
                connection,
                at=now,
                actor=actor,
                action=f"{found[0].direction}_keyset.remove",
                subject=keyset.keyset_id,
                account=keyset.account,
            )


def _check_rotation(keyset: Keyset, primary: Keyset, previous: Keyset | None, *, rotate: bool) -> None:
    account, direction = keyset.account, keyset.direction
    if primary.public_keyset == keyset.public_keyset:
        raise AlreadyThere(
            f"This is the primary {direction} keyset of {account} already; its ID is {primary.keyset_id}."
        )
    if not rotate:
        raise AlreadyThere(
            f"The account {account} has a {direction} keyset already; its ID is {primary.keyset_id}. `--rotate` puts a "
            "new one in its place."
        )
    if direction == "request" and previous is not None and not previous.has_ended(keyset.created_at):
        raise RotationRefused(
            f"Requests of {account} may be encrypted to its previous keyset until "
            f"{previous.until:%Y-%m-%d %H:%M:%S UTC}. Wait, or end that one now: "
            f"`sealdrop keyset remove {previous.keyset_id}`."
        )


def _end_of(former: Keyset, now: datetime) -> str:
    """What became of the former keyset, for the audit."""
    return "former removed" if former.has_ended(now) else f"former until {former.until:%Y-%m-%dT%H:%M:%SZ}"


def _of_account(account: str, direction: Direction | None = None) -> Select[tuple[object, ...]]:
    query = select(keysets).where(keysets.c.account == account)
    if direction is not None:
        query = query.where(keysets.c.direction == direction)
    return query.order_by(keysets.c.direction, keysets.c.slot.desc())


def _found(connection: Connection, query: Select[tuple[object, ...]]) -> list[Keyset]:
    return [_keyset(row) for row in connection.execute(query)]


def _keyset(row: Row[tuple[object, ...]]) -> Keyset:
    facts = row._mapping
    return Keyset(
        keyset_id=facts["keyset_id"],
        account=facts["account"],
        direction=facts["direction"],
        slot=facts["slot"],
        created_at=facts["created_at"],
        until=facts["until"],
        public_keyset=facts["public_keyset"],
    )

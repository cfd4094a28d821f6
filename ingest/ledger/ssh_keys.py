"""SSH keys of accounts in the ledger: public keys by which clients log in, or whose certificates they log in with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice

from sqlalchemy import Connection, Row, delete, insert, select
from sqlalchemy.exc import IntegrityError

from ingest.errors import AlreadyThere, LimitReached
from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.tables import MAX_SSH_KEYS, accounts, ssh_keys

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key of an account; ``public_key`` is one OpenSSH line without options and comment.

    ``sources`` is a list that `ingest.addresses` reads, ``None`` for everywhere; with ``cert_authority`` the key itself
    opens nothing, and the user certificates that it has signed do.
    """

    fingerprint: str
    public_key: str
    expires_at: datetime | None = None
    sources: str | None = None
    cert_authority: bool = False
    created_at: datetime | None = None  # not before it is stored


@dataclass(frozen=True, slots=True)
class Access:
    """All that decides whether a client gets in as an account that is active: from where, and with which keys."""

    keys: tuple[SshKey, ...]
    sources: str | None = None


class SshKeys:
    """Adds, reads and removes SSH keys; a key belongs to one account (FAULTS.md S8)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, account: str, keys: list[SshKey], *, now: datetime, actor: str) -> None:
        """Add all of ``keys`` or none.

        Raises `AlreadyThere` for a key that is listed already (here or for another account), `LimitReached` when the
        account has as many as it may: the slots are a constraint of the database.
        """
        with self._database.write_in_turn() as connection:
            add_in(connection, account, keys, now=now, actor=actor)

    def remove(self, account: str, fingerprint: str, *, now: datetime, actor: str) -> None:
        """Let the key open nothing from now on; nothing happens when there is no such key."""
        with self._database.write_in_turn() as connection:
            gone = connection.execute(
                delete(ssh_keys).where(ssh_keys.c.account == account, ssh_keys.c.fingerprint == fingerprint)
            )
            if gone.rowcount > 0:
                audit.record(
                    connection, at=now, actor=actor, action="ssh_key.remove", subject=fingerprint, account=account
                )

    def access(self, account: str) -> Access | None:
        """What decides about a login as ``account``; ``None`` when it is unknown or disabled."""
        return self.accesses([account]).get(account)

    def accesses(self, wanted: Collection[str]) -> dict[str, Access]:
        """What decides about a login as each of these accounts; those that are unknown or disabled are not among them.

        One statement whatever the answer, so that the time it takes tells no account from none (FAULTS.md S7), and for
        all of them, so that a door may ask often (for each `_AT_ONCE`, as databases bound the values of a statement).
        """
        found: dict[str, Access] = {}
        names = iter(wanted)
        with self._database.read() as connection:
            while some := list(islice(names, _AT_ONCE)):
                rows = connection.execute(
                    select(accounts.c.id.label("asked"), accounts.c.sources.label("account_sources"), *ssh_keys.c)
                    .select_from(accounts.outerjoin(ssh_keys))
                    .where(accounts.c.id.in_(some), accounts.c.state == "active")
                    .order_by(accounts.c.id, ssh_keys.c.slot)
                ).all()
                found |= {account: _access_of(list(its)) for account, its in groupby(rows, lambda row: row.asked)}
        return found


def add_in(connection: Connection, account: str, keys: list[SshKey], *, now: datetime, actor: str) -> None:
    """As `SshKeys.add`, in a transaction of the caller's."""
    for key in keys:
        used = set(connection.scalars(select(ssh_keys.c.slot).where(ssh_keys.c.account == account)))
        free = next((slot for slot in range(1, MAX_SSH_KEYS + 1) if slot not in used), None)
        if free is None:
            raise LimitReached(
                f"The account {account} has {MAX_SSH_KEYS} SSH keys, which is the limit: remove one first."
            )
        try:
            connection.execute(
                insert(ssh_keys).values(
                    account=account,
                    slot=free,
                    fingerprint=key.fingerprint,
                    public_key=key.public_key,
                    expires_at=key.expires_at,
                    sources=key.sources,
                    cert_authority=key.cert_authority,
                    created_at=now,
                )
            )
        except IntegrityError:
            raise AlreadyThere(
                f"The SSH key {key.fingerprint} is listed already: a key belongs to one account."
            ) from None
        audit.record(connection, at=now, actor=actor, action="ssh_key.add", subject=key.fingerprint, account=account)


def _access_of(rows: list[Row[tuple[object, ...]]]) -> Access:
    """The access that the rows of one account describe: one for each key, or one without a key."""
    keys = tuple(ssh_key_of(row) for row in rows if row._mapping["fingerprint"] is not None)
    return Access(keys, rows[0]._mapping["account_sources"])


def ssh_key_of(row: Row[tuple[object, ...]]) -> SshKey:
    """The key that a row of the table describes."""
    facts = row._mapping
    return SshKey(
        fingerprint=facts["fingerprint"],
        public_key=facts["public_key"],
        expires_at=facts["expires_at"],
        sources=facts["sources"],
        cert_authority=facts["cert_authority"],
        created_at=facts["created_at"],
    )

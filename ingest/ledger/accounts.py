"""Accounts in the ledger, with their contacts and SSH keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ingest.errors import AlreadyThere, LimitReached, MoveRefused
from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.tables import MAX_SSH_KEYS, accounts, contacts, keysets, signers, ssh_keys


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key by which an account's clients log in; ``public_key`` is one OpenSSH line without comment."""

    fingerprint: str
    public_key: str


@dataclass(frozen=True, slots=True)
class Account:
    """A customer, as the ledger knows it; one that is removed has neither contacts nor keys."""

    id: str
    state: Literal["active", "disabled", "removed"]
    require_encryption: bool
    allow_reserved_events: bool
    allow_legacy_ciphers: bool
    allow_gnupg: bool
    allowed_domains: tuple[str, ...]
    contacts: tuple[str, ...]
    ssh_keys: tuple[SshKey, ...]
    created_at: datetime


class Accounts:
    """Adds and reads accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        account: str,
        *,
        now: datetime,
        actor: str,
        contact_addresses: Sequence[str] = (),
        allowed_domains: Sequence[str] = (),
        ssh_public_keys: Sequence[SshKey] = (),
        require_encryption: bool = True,
        allow_legacy_ciphers: bool = False,
        allow_gnupg: bool = True,
    ) -> None:
        """Add an account with all that is given, or nothing.

        Raises `AlreadyThere` for the account's name or a key that is listed already (here or for another account),
        `LimitReached` for too many SSH keys.
        """
        with self._database.write() as connection:
            if connection.scalar(select(accounts.c.id).where(accounts.c.id == account)) is not None:
                raise AlreadyThere(
                    f"There is an account {account} already; `sealdrop account show {account}` shows it."
                )
            connection.execute(
                insert(accounts).values(
                    id=account,
                    state="active",
                    require_encryption=require_encryption,
                    allow_reserved_events=False,
                    allow_legacy_ciphers=allow_legacy_ciphers,
                    allow_gnupg=allow_gnupg,
                    allowed_domains=sorted({domain.lower() for domain in allowed_domains}),
                    created_at=now,
                )
            )
            for address in dict.fromkeys(contact_addresses):
                connection.execute(insert(contacts).values(account=account, address=address))
            for key in ssh_public_keys:
                _add_ssh_key(connection, account, key, now)
            audit.record(connection, at=now, actor=actor, action="account.add", subject=account, account=account)

    def change(
        self,
        account: str,
        *,
        now: datetime,
        actor: str,
        allow_legacy_ciphers: bool | None = None,
        allow_gnupg: bool | None = None,
    ) -> None:
        """Change what is given of an account, at once for imports that begin after it; ``None`` leaves it as it is."""
        given = {"allow_legacy_ciphers": allow_legacy_ciphers, "allow_gnupg": allow_gnupg}
        values = {name: value for name, value in given.items() if value is not None}
        if not values:
            return
        with self._database.write() as connection:
            connection.execute(update(accounts).where(accounts.c.id == account).values(**values))
            audit.record(connection, at=now, actor=actor, action="account.change", subject=account, account=account)

    def set_state(self, account: str, state: Literal["active", "disabled"], *, now: datetime, actor: str) -> None:
        """Disable or enable an account; again is harmless. Raises `MoveRefused` when it was removed."""
        with self._database.write() as connection:
            found = connection.execute(
                select(accounts.c.state, accounts.c.removed_at).where(accounts.c.id == account)
            ).one_or_none()
            if found is None or found.removed_at is not None:
                raise MoveRefused(f"The account {account} was removed: nothing can be changed of it.")
            if found.state != state:
                connection.execute(update(accounts).where(accounts.c.id == account).values(state=state))
                audit.record(
                    connection, at=now, actor=actor, action=f"account.{state}", subject=account, account=account
                )

    def remove(self, account: str, *, now: datetime, actor: str) -> None:
        """Remove an account with its contacts, SSH keys, signers and keysets, private halves and all.

        Its row stays, disabled, and so does its name.
        """
        with self._database.write() as connection:
            for table in (contacts, ssh_keys, signers, keysets):
                connection.execute(delete(table).where(table.c.account == account))
            connection.execute(
                update(accounts)
                .where(accounts.c.id == account)
                .values(state="disabled", removed_at=now, allowed_domains=[])
            )
            audit.record(connection, at=now, actor=actor, action="account.remove", subject=account, account=account)

    def get(self, account: str) -> Account | None:
        """The account, also a removed one, or ``None`` when there is none of this name."""
        with self._database.read() as connection:
            row = connection.execute(select(accounts).where(accounts.c.id == account)).mappings().one_or_none()
            return None if row is None else _account(connection, row)

    def all(self) -> list[Account]:
        """Every account that is not removed, by name."""
        wanted = select(accounts).where(accounts.c.removed_at.is_(None)).order_by(accounts.c.id)
        with self._database.read() as connection:
            rows = connection.execute(wanted).mappings().all()
            return [_account(connection, row) for row in rows]


def _add_ssh_key(connection: Connection, account: str, key: SshKey, now: datetime) -> None:
    used = set(connection.scalars(select(ssh_keys.c.slot).where(ssh_keys.c.account == account)))
    free = next((slot for slot in range(1, MAX_SSH_KEYS + 1) if slot not in used), None)
    if free is None:
        raise LimitReached(f"The account {account} has {MAX_SSH_KEYS} SSH keys, which is the limit: remove one first.")
    try:
        connection.execute(
            insert(ssh_keys).values(
                account=account, slot=free, fingerprint=key.fingerprint, public_key=key.public_key, created_at=now
            )
        )
    except IntegrityError:
        raise AlreadyThere(f"The SSH key {key.fingerprint} is listed already: a key belongs to one account.") from None


def _account(connection: Connection, row: RowMapping) -> Account:
    addresses = connection.scalars(
        select(contacts.c.address).where(contacts.c.account == row["id"]).order_by(contacts.c.address)
    )
    keys = connection.execute(
        select(ssh_keys.c.fingerprint, ssh_keys.c.public_key)
        .where(ssh_keys.c.account == row["id"])
        .order_by(ssh_keys.c.slot)
    )
    return Account(
        id=row["id"],
        state=row["state"] if row["removed_at"] is None else "removed",
        require_encryption=row["require_encryption"],
        allow_reserved_events=row["allow_reserved_events"],
        allow_legacy_ciphers=row["allow_legacy_ciphers"],
        allow_gnupg=row["allow_gnupg"],
        allowed_domains=tuple(row["allowed_domains"]),
        contacts=tuple(addresses),
        ssh_keys=tuple(SshKey(key.fingerprint, key.public_key) for key in keys),
        created_at=row["created_at"],
    )

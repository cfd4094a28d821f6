"""Accounts in the ledger, with their contacts and SSH keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from ingest.errors import AlreadyThere, MoveRefused
from ingest.ledger import audit
from ingest.ledger.api_tables import api_credentials, client_authorities
from ingest.ledger.database import Database
from ingest.ledger.ssh_keys import SshKey, add_in, ssh_key_of
from ingest.ledger.tables import accounts, contacts, keysets, signers, ssh_keys, webhooks
from ingest.ledger.webhooks import remove_in
from ingest.webhook_url import origin_of


@dataclass(frozen=True, slots=True)
class Account:
    """A customer, as the ledger knows it; one that is removed has neither contacts nor keys nor webhook.

    ``webhook`` is the part of its URL that may be shown: scheme, host and port.
    """

    id: str
    state: Literal["active", "disabled", "removed"]
    require_encryption: bool
    allow_reserved_events: bool
    allow_legacy_ciphers: bool
    allow_gnupg: bool
    skip_duplicates: bool
    allowed_domains: tuple[str, ...]
    sources: str | None  # a list that `ingest.addresses` reads; `None` for everywhere
    contacts: tuple[str, ...]
    webhook: str | None
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
        skip_duplicates: bool = False,
    ) -> None:
        """Add an account with all that is given, or nothing.

        Raises `AlreadyThere` for the account's name or a key that is listed already (here or for another account),
        `LimitReached` for too many SSH keys.
        """
        with self._database.write_in_turn() as connection:
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
                    skip_duplicates=skip_duplicates,
                    allowed_domains=sorted({domain.lower() for domain in allowed_domains}),
                    created_at=now,
                )
            )
            for address in dict.fromkeys(contact_addresses):
                connection.execute(insert(contacts).values(account=account, address=address))
            audit.record(connection, at=now, actor=actor, action="account.add", subject=account, account=account)
            add_in(connection, account, list(ssh_public_keys), now=now, actor=actor)

    def change(
        self,
        account: str,
        *,
        now: datetime,
        actor: str,
        allow_legacy_ciphers: bool | None = None,
        allow_gnupg: bool | None = None,
        allow_reserved_events: bool | None = None,
        skip_duplicates: bool | None = None,
        sources: str | None = None,
    ) -> None:
        """Change what is given of an account, at once for logins and imports that begin after it; ``None`` leaves it
        as it is, and empty ``sources`` let it log in from everywhere.
        """
        given = {
            "allow_legacy_ciphers": allow_legacy_ciphers,
            "allow_gnupg": allow_gnupg,
            "allow_reserved_events": allow_reserved_events,
            "skip_duplicates": skip_duplicates,
            "sources": sources,
        }
        values = {name: value if value != "" else None for name, value in given.items() if value is not None}
        if not values:
            return
        with self._database.write_in_turn() as connection:
            connection.execute(update(accounts).where(accounts.c.id == account).values(**values))
            audit.record(connection, at=now, actor=actor, action="account.change", subject=account, account=account)

    def set_state(self, account: str, state: Literal["active", "disabled"], *, now: datetime, actor: str) -> None:
        """Disable or enable an account; again is harmless. Raises `MoveRefused` when it was removed."""
        with self._database.write_in_turn() as connection:
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
        """Remove an account with its contacts, webhook, SSH keys, signers, credentials and keysets, private and all.

        Its row stays, disabled, and so does its name.
        """
        with self._database.write_in_turn() as connection:
            for table in (contacts, ssh_keys, signers, keysets, api_credentials, client_authorities):
                connection.execute(delete(table).where(table.c.account == account))
            remove_in(connection, account)
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


def _account(connection: Connection, row: RowMapping) -> Account:
    addresses = connection.scalars(
        select(contacts.c.address).where(contacts.c.account == row["id"]).order_by(contacts.c.address)
    )
    keys = connection.execute(select(ssh_keys).where(ssh_keys.c.account == row["id"]).order_by(ssh_keys.c.slot))
    url = connection.scalar(select(webhooks.c.url).where(webhooks.c.account == row["id"]))
    return Account(
        id=row["id"],
        state=row["state"] if row["removed_at"] is None else "removed",
        require_encryption=row["require_encryption"],
        allow_reserved_events=row["allow_reserved_events"],
        allow_legacy_ciphers=row["allow_legacy_ciphers"],
        allow_gnupg=row["allow_gnupg"],
        skip_duplicates=row["skip_duplicates"],
        allowed_domains=tuple(row["allowed_domains"]),
        sources=row["sources"],
        contacts=tuple(addresses),
        webhook=None if url is None else origin_of(url),
        ssh_keys=tuple(ssh_key_of(key) for key in keys),
        created_at=row["created_at"],
    )

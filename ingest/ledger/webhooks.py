"""Webhooks in the ledger: one for an account, with the secrets that sign what is posted to it.

Two secrets at most: primary, and the previous one until its end, so that the receiver can take up a new one at its own
time. They are sealed by the vault before they get here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from ingest.errors import AlreadyThere
from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.tables import accounts, webhook_secrets, webhooks


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """A secret in the ledger; ``until`` is the end of a previous one, and ``None`` for the primary one."""

    secret_id: str
    sealed: bytes
    created_at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Webhook:
    """An account's webhook; ``secrets`` has the primary one first."""

    account: str
    url: str
    created_at: datetime
    secrets: tuple[SealedSecret, ...]

    def previous_until(self, now: datetime) -> datetime | None:
        """Until when the secret before this one signs as well; ``None`` when there is none, or it has ended."""
        return next((one.until for one in self.secrets if one.until is not None and one.until > now), None)


class Webhooks:
    """Sets, rotates, reads and removes webhooks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, account: str) -> Webhook | None:
        """The account's webhook, or ``None`` when it has none."""
        with self._database.read() as connection:
            return _webhook(connection, account)

    def add(self, account: str, url: str, secret: SealedSecret, *, actor: str) -> None:
        """Give the account a webhook. Raises `AlreadyThere`, `LedgerConflict`."""
        now = secret.created_at
        with self._database.write() as connection:
            _lock(connection, account)
            if _webhook(connection, account) is not None:
                raise AlreadyThere(f"The account {account} has a webhook already.")
            connection.execute(insert(webhooks).values(account=account, url=url, created_at=now))
            _insert(connection, account, secret)
            audit.record(connection, at=now, actor=actor, action="webhook.add", subject=account, account=account)

    def move(self, account: str, url: str, *, now: datetime, actor: str) -> bool:
        """Let the account's notices go to another URL, signed as before; whether it had a webhook."""
        with self._database.write() as connection:
            moved = connection.execute(update(webhooks).where(webhooks.c.account == account).values(url=url))
            if moved.rowcount:
                audit.record(connection, at=now, actor=actor, action="webhook.move", subject=account, account=account)
        return moved.rowcount == 1

    def rotate(self, account: str, secret: SealedSecret, *, former_until: datetime, actor: str) -> bool:
        """Sign with another secret from now on, and with the former one until its end; whether it had a webhook.

        The former one is removed at once when its end is no later than now, the one before it in any case. Raises
        `LedgerConflict`.
        """
        now, of_account = secret.created_at, webhook_secrets.c.account == account
        with self._database.write() as connection:
            _lock(connection, account)
            if _webhook(connection, account) is None:
                return False
            connection.execute(delete(webhook_secrets).where(of_account, webhook_secrets.c.slot == "previous"))
            if former_until > now:
                connection.execute(
                    update(webhook_secrets).where(of_account).values(slot="previous", until=former_until)
                )
            else:
                connection.execute(delete(webhook_secrets).where(of_account))
            _insert(connection, account, secret)
            audit.record(connection, at=now, actor=actor, action="webhook.rotate", subject=account, account=account)
        return True

    def remove(self, account: str, *, now: datetime, actor: str) -> bool:
        """Remove the account's webhook with its secrets; whether it had one."""
        with self._database.write() as connection:
            removed = remove_in(connection, account)
            if removed:
                audit.record(connection, at=now, actor=actor, action="webhook.remove", subject=account, account=account)
        return removed


def remove_in(connection: Connection, account: str) -> bool:
    """Remove the account's webhook with its secrets, in a transaction of more; whether it had one."""
    connection.execute(delete(webhook_secrets).where(webhook_secrets.c.account == account))
    return connection.execute(delete(webhooks).where(webhooks.c.account == account)).rowcount == 1


def _lock(connection: Connection, account: str) -> None:
    """One writer for an account at a time, also on PostgreSQL."""
    connection.execute(select(accounts.c.id).where(accounts.c.id == account).with_for_update())


def _insert(connection: Connection, account: str, secret: SealedSecret) -> None:
    connection.execute(
        insert(webhook_secrets).values(
            secret_id=secret.secret_id,
            account=account,
            slot="primary",
            created_at=secret.created_at,
            sealed_secret=secret.sealed,
        )
    )


def _webhook(connection: Connection, account: str) -> Webhook | None:
    found = connection.execute(select(webhooks).where(webhooks.c.account == account)).one_or_none()
    if found is None:
        return None
    # "primary" stands after "previous" in the alphabet
    rows = connection.execute(
        select(webhook_secrets).where(webhook_secrets.c.account == account).order_by(webhook_secrets.c.slot.desc())
    )
    secrets = tuple(SealedSecret(row.secret_id, row.sealed_secret, row.created_at, row.until) for row in rows)
    return Webhook(found.account, found.url, found.created_at, secrets)

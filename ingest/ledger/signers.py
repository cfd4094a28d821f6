"""Signers of accounts in the ledger: whose signatures on files count. Their certificates are public."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, delete, insert, select

from ingest.errors import LimitReached
from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.tables import MAX_SIGNERS, signers


@dataclass(frozen=True, slots=True)
class RegisteredSigner:
    """A signer of an account; ``fingerprint`` is that of the OpenPGP primary key, ``certificate`` binary packets."""

    account: str
    fingerprint: str
    algorithm: str
    user_ids: tuple[str, ...]
    created_at: datetime  # when it was registered
    expires_at: datetime | None
    certificate: bytes


class Signers:
    """Adds, reads and removes signers; a signer is registered for one account at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, signer: RegisteredSigner, *, actor: str) -> bool:
        """Register a signer; whether it took the place of an older certificate of the same key.

        Raises `LimitReached` when the account has as many signers as it may: the slots are a constraint of the
        database.
        """
        with self._database.write_in_turn() as connection:
            replaced = _remove(connection, signer.account, signer.fingerprint)
            connection.execute(
                insert(signers).values(
                    account=signer.account,
                    slot=_free_slot(connection, signer.account),
                    fingerprint=signer.fingerprint,
                    algorithm=signer.algorithm,
                    user_ids=list(signer.user_ids),
                    created_at=signer.created_at,
                    expires_at=signer.expires_at,
                    certificate=signer.certificate,
                )
            )
            audit.record(
                connection,
                at=signer.created_at,
                actor=actor,
                action="signer.replace" if replaced else "signer.add",
                subject=signer.fingerprint,
                account=signer.account,
            )
        return replaced

    def remove(self, account: str, fingerprint: str, *, actor: str, now: datetime) -> None:
        """Let the signer's signatures count no more; nothing happens when there is no such signer."""
        with self._database.write_in_turn() as connection:
            if _remove(connection, account, fingerprint):
                audit.record(
                    connection, at=now, actor=actor, action="signer.remove", subject=fingerprint, account=account
                )

    def of_account(self, account: str) -> list[RegisteredSigner]:
        """The account's signers in the order in which they were registered."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(signers).where(signers.c.account == account).order_by(signers.c.created_at, signers.c.slot)
            )
            return [_signer(row) for row in rows]


def _remove(connection: Connection, account: str, fingerprint: str) -> bool:
    gone = connection.execute(delete(signers).where(signers.c.account == account, signers.c.fingerprint == fingerprint))
    return gone.rowcount > 0


def _free_slot(connection: Connection, account: str) -> int:
    used = set(connection.scalars(select(signers.c.slot).where(signers.c.account == account)))
    free = next((slot for slot in range(1, MAX_SIGNERS + 1) if slot not in used), None)
    if free is None:
        raise LimitReached(f"The account {account} has {MAX_SIGNERS} signers, which is the limit: remove one first.")
    return free


def _signer(row: Row[tuple[object, ...]]) -> RegisteredSigner:
    facts = row._mapping
    return RegisteredSigner(
        account=facts["account"],
        fingerprint=facts["fingerprint"],
        algorithm=facts["algorithm"],
        user_ids=tuple(facts["user_ids"]),
        created_at=facts["created_at"],
        expires_at=facts["expires_at"],
        certificate=facts["certificate"],
    )

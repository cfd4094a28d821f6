"""PGP key pairs of accounts in the ledger; the private parts are sealed by the vault before they get here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from ingest.errors import AlreadyThere, LimitReached
from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.tables import MAX_PGP_KEYS, pgp_keys
from keystore.openpgp.facts import SignaturePolicy


@dataclass(frozen=True, slots=True)
class PgpKey:
    """A stored key pair; ``key_id`` is the UUID that we issue, ``fingerprint`` that of the OpenPGP primary key."""

    key_id: str
    account: str
    state: str
    fingerprint: str
    algorithm: str
    user_ids: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    signatures: SignaturePolicy
    public_key: bytes


@dataclass(frozen=True, slots=True, repr=False)
class SealedPair:
    """The sealed private key and, unless it has none, the sealed passphrase."""

    private_key: bytes
    passphrase: bytes | None


class PgpKeys:
    """Adds and reads key pairs; a pair belongs to one account and is never found through another."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, key: PgpKey, sealed: SealedPair, *, actor: str, before_commit: Callable[[], None] = lambda: None
    ) -> None:
        """Store a pair; what ``before_commit`` raises keeps it from being stored.

        Raises `AlreadyThere` when the account has this pair, `LimitReached` when it has as many as it may (FAULTS.md
        K4: the slots are a constraint of the database).
        """
        with self._database.write() as connection:
            same = select(pgp_keys.c.key_id).where(
                pgp_keys.c.account == key.account, pgp_keys.c.fingerprint == key.fingerprint
            )
            if (there := connection.scalar(same)) is not None:
                raise AlreadyThere(f"The account {key.account} has this key pair already; its key ID is {there}.")
            connection.execute(
                insert(pgp_keys).values(
                    key_id=key.key_id,
                    account=key.account,
                    slot=_free_slot(connection, key.account),
                    state=key.state,
                    fingerprint=key.fingerprint,
                    algorithm=key.algorithm,
                    user_ids=list(key.user_ids),
                    created_at=key.created_at,
                    expires_at=key.expires_at,
                    signatures=key.signatures,
                    public_key=key.public_key,
                    sealed_private_key=sealed.private_key,
                    sealed_passphrase=sealed.passphrase,
                )
            )
            audit.record(
                connection, at=key.created_at, actor=actor, action="key.add", subject=key.key_id, account=key.account
            )
            before_commit()

    def of_account(self, account: str) -> list[PgpKey]:
        """The account's pairs in the order in which they were added."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(pgp_keys).where(pgp_keys.c.account == account).order_by(pgp_keys.c.created_at, pgp_keys.c.slot)
            )
            return [_pgp_key(row) for row in rows]

    def find(self, account: str, key_id: str) -> tuple[PgpKey, SealedPair] | None:
        """The account's pair with this key ID; ``None`` also when another account has it."""
        with self._database.read() as connection:
            row = connection.execute(
                select(pgp_keys).where(pgp_keys.c.account == account, pgp_keys.c.key_id == key_id)
            ).one_or_none()
        return None if row is None else (_pgp_key(row), SealedPair(row.sealed_private_key, row.sealed_passphrase))

    def change_policy(self, key: PgpKey, signatures: SignaturePolicy, *, actor: str, now: datetime) -> None:
        """Change what the signatures of files for the pair mean, for imports that begin after it."""
        with self._database.write() as connection:
            connection.execute(update(pgp_keys).where(pgp_keys.c.key_id == key.key_id).values(signatures=signatures))
            audit.record(
                connection,
                at=now,
                actor=actor,
                action="key.change",
                subject=key.key_id,
                outcome=f"signatures {signatures}",
                account=key.account,
            )

    def mark_used(self, key_id: str, at: datetime) -> None:
        """Remember when a pair last opened a file."""
        with self._database.write() as connection:
            connection.execute(update(pgp_keys).where(pgp_keys.c.key_id == key_id).values(last_used_at=at))
            account = connection.scalar(select(pgp_keys.c.account).where(pgp_keys.c.key_id == key_id))
            audit.record(connection, at=at, actor="import", action="key.use", subject=key_id, account=account)


def _free_slot(connection: Connection, account: str) -> int:
    used = set(connection.scalars(select(pgp_keys.c.slot).where(pgp_keys.c.account == account)))
    free = next((slot for slot in range(1, MAX_PGP_KEYS + 1) if slot not in used), None)
    if free is None:
        raise LimitReached(f"The account {account} has {MAX_PGP_KEYS} key pairs, which is the limit.")
    return free


def _pgp_key(row: Row[tuple[object, ...]]) -> PgpKey:
    facts = row._mapping
    return PgpKey(
        key_id=facts["key_id"],
        account=facts["account"],
        state=facts["state"],
        fingerprint=facts["fingerprint"],
        algorithm=facts["algorithm"],
        user_ids=tuple(facts["user_ids"]),
        created_at=facts["created_at"],
        expires_at=facts["expires_at"],
        last_used_at=facts["last_used_at"],
        signatures=facts["signatures"],
        public_key=facts["public_key"],
    )

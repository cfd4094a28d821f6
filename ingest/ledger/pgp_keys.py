"""PGP key pairs of accounts in the ledger; the private parts are sealed by the vault before they get here.

A key ID holds one pair after the other: version 1, 2 and so on. At most one of them is active, the primary; at most
one other still opens files, the previous one, which retires on a date. Every pair takes one of the account's slots
until it is destroyed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, and_, insert, select, update

from ingest.errors import AlreadyThere, LimitReached, MoveRefused
from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.ledger.tables import MAX_PGP_KEYS, pgp_keys
from ingest.states import PAIR_MOVES, PairState
from keystore.openpgp.facts import SignaturePolicy

_SERVICE = "service"


@dataclass(frozen=True, slots=True)
class PgpKey:
    """A stored key pair.

    ``key_id`` is the UUID that we issue, ``version`` counts its pairs from 1, ``fingerprint`` is that of the OpenPGP
    primary key; ``expires_at`` is when senders can no longer encrypt to it, ``retires_at`` is set while it is retiring.
    """

    key_id: str
    account: str
    state: PairState
    fingerprint: str
    algorithm: str
    user_ids: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    signatures: SignaturePolicy
    public_key: bytes
    version: int = 1
    retires_at: datetime | None = None

    def opens_files(self, now: datetime) -> bool:
        """Whether it decrypts at this time: active, or retiring and not yet at its date."""
        return self.state is PairState.ACTIVE or (self.retires_at is not None and now < self.retires_at)

    def ends_at(self) -> datetime | None:
        """When senders must have another pair: it expires or retires, whichever is first."""
        return min((at for at in (self.expires_at, self.retires_at) if at is not None), default=None)


@dataclass(frozen=True, slots=True, repr=False)
class SealedPair:
    """The sealed private key and, unless it has none, the sealed passphrase."""

    private_key: bytes
    passphrase: bytes | None


class PgpKeys:
    """Adds, reads and moves key pairs; a pair belongs to one account and is never found through another."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, key: PgpKey, sealed: SealedPair, *, actor: str, before_commit: Callable[[], None] = lambda: None
    ) -> None:
        """Store the first pair of a key ID; what ``before_commit`` raises keeps it from being stored.

        Raises `AlreadyThere` when the account has this pair, `LimitReached` when it has as many as it may (FAULTS.md
        K4: the slots are a constraint of the database).
        """
        with self._database.write_in_turn() as connection:
            _add(connection, key, sealed)
            _record(connection, key, "key.add", actor=actor, at=key.created_at)
            before_commit()

    def rotate(
        self,
        key: PgpKey,
        sealed: SealedPair,
        *,
        previous_until: datetime,
        actor: str,
        before_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """Store the next pair of a key ID as its primary; the former one opens files until ``previous_until``.

        One that is retiring already keeps its date. Raises as `add` does, and `MoveRefused` when a previous pair still
        opens files, or another rotation was faster.
        """
        with self._database.write_in_turn() as connection:
            versions = _versions(connection, key.key_id)
            if not versions or key.version != versions[0].version + 1:
                raise MoveRefused(f"The key pair {key.key_id} was changed by somebody else just now: try again.")
            former, *older = versions
            if still := next((pair for pair in older if pair.opens_files(key.created_at)), None):
                raise MoveRefused(
                    f"The key ID {key.key_id} has a previous pair until {still.retires_at:%Y-%m-%d}, and may have one "
                    f"only: `sealdrop key retire {key.key_id} --previous` ends it."
                )
            if former.state is PairState.ACTIVE:
                _move(connection, former, PairState.RETIRING, previous_until)
            _add(connection, key, sealed)
            outcome = f"version {key.version}, previous until {previous_until:%Y-%m-%d}"
            _record(connection, key, "key.rotate", outcome, actor=actor, at=key.created_at)
            before_commit()

    def renew(self, key: PgpKey, sealed: SealedPair, *, actor: str) -> None:
        """Put another export of the same pair in its place: its owner has extended it, or added a subkey.

        Raises `MoveRefused` when the pair was destroyed meanwhile.
        """
        with self._database.write_in_turn() as connection:
            renewed = connection.execute(
                update(pgp_keys)
                .where(
                    pgp_keys.c.key_id == key.key_id,
                    pgp_keys.c.version == key.version,
                    pgp_keys.c.fingerprint == key.fingerprint,
                    pgp_keys.c.state != PairState.DESTROYED,
                )
                .values(
                    algorithm=key.algorithm,
                    user_ids=list(key.user_ids),
                    expires_at=key.expires_at,
                    public_key=key.public_key,
                    sealed_private_key=sealed.private_key,
                    sealed_passphrase=sealed.passphrase,
                )
            )
            if renewed.rowcount != 1:
                raise MoveRefused(f"The key pair {key.key_id} was changed by somebody else just now: try again.")
            _record(connection, key, "key.renew", f"version {key.version}", actor=actor, at=key.created_at)

    def move(
        self,
        pairs: Sequence[PgpKey],
        to: PairState,
        *,
        actor: str,
        now: datetime,
        retires_at: datetime | None = None,
    ) -> None:
        """Bring all these pairs to a state, or none of them; ``retires_at`` goes with ``retiring``.

        A destroyed pair loses its secrets and its slot in the same transaction. Raises `MoveRefused` when a pair may
        not go there from where it is (`PAIR_MOVES`), or when its key ID has another active pair.
        """
        with self._database.write_in_turn() as connection:
            for pair in pairs:
                _move(connection, pair, to, retires_at)
                until = f" on {retires_at:%Y-%m-%d}" if retires_at else ""
                _record(connection, pair, f"key.{to}", f"version {pair.version}{until}", actor=actor, at=now)

    def retire_due(self, now: datetime) -> list[PgpKey]:
        """Retire the pairs whose date has come, and return them."""
        due = select(pgp_keys).where(pgp_keys.c.state == PairState.RETIRING, pgp_keys.c.retires_at <= now)
        with self._database.read() as connection:  # most looks find none, and take no write lock
            if connection.execute(due).first() is None:
                return []
        with self._database.write_in_turn() as connection:
            pairs = [_pgp_key(row) for row in connection.execute(due)]
            for pair in pairs:
                _move(connection, pair, PairState.RETIRED, None)
                _record(connection, pair, "key.retired", f"version {pair.version}", actor=_SERVICE, at=now)
        return pairs

    def of_account(self, account: str) -> list[PgpKey]:
        """The account's pairs in the order in which they were added."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(pgp_keys).where(pgp_keys.c.account == account).order_by(pgp_keys.c.created_at, pgp_keys.c.slot)
            )
            return [_pgp_key(row) for row in rows]

    def of_key_id(self, key_id: str) -> list[PgpKey]:
        """The pairs of a key ID, newest first; it belongs to one account."""
        with self._database.read() as connection:
            return _versions(connection, key_id)

    def sealed(self, account: str, key_id: str, version: int) -> SealedPair | None:
        """The sealed secrets of the account's pair; ``None`` when it is destroyed, and when another account has it."""
        wanted = select(pgp_keys.c.sealed_private_key, pgp_keys.c.sealed_passphrase).where(
            pgp_keys.c.account == account, pgp_keys.c.key_id == key_id, pgp_keys.c.version == version
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None or row.sealed_private_key is None else SealedPair(*row)

    def change_policy(self, key: PgpKey, signatures: SignaturePolicy, *, actor: str, now: datetime) -> None:
        """Change what the signatures of files for all pairs of the key ID mean, for imports that begin after it."""
        with self._database.write_in_turn() as connection:
            connection.execute(update(pgp_keys).where(pgp_keys.c.key_id == key.key_id).values(signatures=signatures))
            _record(connection, key, "key.change", f"signatures {signatures}", actor=actor, at=now)

    def record(self, key: PgpKey, action: str, outcome: str, *, actor: str, now: datetime) -> None:
        """Append to the audit what was done with a pair that changed nothing of it: an export, a drill."""
        with self._database.write_in_turn() as connection:
            _record(connection, key, action, outcome, actor=actor, at=now)

    def mark_used(self, account: str, fingerprint: str, at: datetime) -> None:
        """Remember when a pair last opened a file."""
        with self._database.write_in_turn() as connection:
            this = and_(
                pgp_keys.c.account == account,
                pgp_keys.c.fingerprint == fingerprint,
                pgp_keys.c.state != PairState.DESTROYED,
            )
            connection.execute(update(pgp_keys).where(this).values(last_used_at=at))
            key_id = connection.scalar(select(pgp_keys.c.key_id).where(this))
            if key_id is not None:
                audit.record(connection, at=at, actor="import", action="key.use", subject=key_id, account=account)


def _add(connection: Connection, key: PgpKey, sealed: SealedPair) -> None:
    same = select(pgp_keys.c.key_id).where(
        pgp_keys.c.account == key.account,
        pgp_keys.c.fingerprint == key.fingerprint,
        pgp_keys.c.state != PairState.DESTROYED,
    )
    if (there := connection.scalar(same)) is not None:
        raise AlreadyThere(f"The account {key.account} has this key pair already; its key ID is {there}.")
    connection.execute(
        insert(pgp_keys).values(
            key_id=key.key_id,
            version=key.version,
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


def _move(connection: Connection, pair: PgpKey, to: PairState, retires_at: datetime | None) -> None:
    versions = _versions(connection, pair.key_id)
    now_there = next((each for each in versions if each.version == pair.version), None)
    if now_there is None or to not in PAIR_MOVES[now_there.state]:
        state = "gone" if now_there is None else now_there.state
        raise MoveRefused(f"The key pair {pair.key_id} (version {pair.version}) is {state}, so it cannot become {to}.")
    if to is PairState.ACTIVE and any(each.state is PairState.ACTIVE for each in versions):
        raise MoveRefused(f"The key ID {pair.key_id} has an active pair, and may have one only.")
    values: dict[str, object] = {"state": to, "retires_at": retires_at}
    if to is PairState.DESTROYED:
        values |= {"slot": None, "sealed_private_key": None, "sealed_passphrase": None}
    this = and_(pgp_keys.c.key_id == pair.key_id, pgp_keys.c.version == pair.version)
    connection.execute(update(pgp_keys).where(this).values(**values))


def _record(
    connection: Connection, key: PgpKey, action: str, outcome: str = "done", *, actor: str, at: datetime
) -> None:
    audit.record(
        connection, at=at, actor=actor, action=action, subject=key.key_id, outcome=outcome, account=key.account
    )


def _versions(connection: Connection, key_id: str) -> list[PgpKey]:
    """Newest first."""
    wanted = select(pgp_keys).where(pgp_keys.c.key_id == key_id).order_by(pgp_keys.c.version.desc())
    return [_pgp_key(row) for row in connection.execute(wanted)]


def _free_slot(connection: Connection, account: str) -> int:
    used = set(connection.scalars(select(pgp_keys.c.slot).where(pgp_keys.c.account == account)))
    free = next((slot for slot in range(1, MAX_PGP_KEYS + 1) if slot not in used), None)
    if free is None:
        raise LimitReached(
            f"The account {account} has {MAX_PGP_KEYS} key pairs, which is the limit; `sealdrop key destroy` of one "
            "that is not needed any more makes room."
        )
    return free


def _pgp_key(row: Row[tuple[object, ...]]) -> PgpKey:
    facts = row._mapping
    return PgpKey(
        key_id=facts["key_id"],
        account=facts["account"],
        state=PairState(facts["state"]),
        fingerprint=facts["fingerprint"],
        algorithm=facts["algorithm"],
        user_ids=tuple(facts["user_ids"]),
        created_at=facts["created_at"],
        expires_at=facts["expires_at"],
        last_used_at=facts["last_used_at"],
        signatures=facts["signatures"],
        public_key=facts["public_key"],
        version=facts["version"],
        retires_at=facts["retires_at"],
    )

"""The audit trail: who did what to which key or account, when, with what outcome. No key material, no personal data.

Lines are only ever added, and the oldest cut off (`ingest.ledger.audit_cut`). Each is added in the transaction of the
deed itself: a line that cannot be written, as on a full disk, undoes its deed (FAULTS.md H10). Each is bound to the one
before it (`keystore.audit_chain`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, String, insert, select, type_coerce, update

from ingest.clock import Now
from ingest.errors import IngestError, LedgerUnavailable, Refused
from ingest.ledger.database import Database
from ingest.ledger.sealed import AUDIT_KEY
from ingest.ledger.tables import audit, audit_tip, moment_text
from keystore.audit_chain import mac_of, new_key, next_hash, next_key
from keystore.errors import KeystoreError
from keystore.vault import Vault

CUT = "audit.cut"  # its subject: the number and the hash of the last line that went
_REFUSALS = (KeystoreError, IngestError, Refused)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the audit as it is stored; ``at`` is the text that went into the hash."""

    number: int
    at: str
    actor: str
    action: str
    account: str | None
    subject: str
    outcome: str
    hash: bytes
    mac: bytes | None

    def follows(self, previous: bytes) -> bool:
        """Whether the line's hash is that of its content, after a line with the hash ``previous``."""
        parts = (str(self.number), self.at, self.actor, self.action, self.account, self.subject, self.outcome)
        return next_hash(previous, parts) == self.hash


def record(
    connection: Connection,
    *,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    outcome: str = "done",
    account: str | None = None,
) -> None:
    """Append one line in the transaction of the deed itself, so that neither is there without the other."""
    texts = {
        "actor": _plain(actor, 128),
        "action": _plain(action, 64),
        "account": account if account is None else _plain(account, 64),
        "subject": _plain(subject, 256),
        "outcome": _plain(outcome, 64),
    }
    tip = connection.execute(select(audit_tip).with_for_update()).one()
    number = tip.line + 1
    line_hash = next_hash(tip.hash, (str(number), moment_text(at), *texts.values()))
    mac = None if tip.next_key is None else mac_of(tip.next_key, line_hash)
    connection.execute(insert(audit).values(id=number, at=at, hash=line_hash, mac=mac, **texts))
    key = None if tip.next_key is None else next_key(tip.next_key)
    connection.execute(update(audit_tip).values(line=number, hash=line_hash, next_key=key))


@contextlib.contextmanager
def refusals(
    database: Database, *, now: Now, actor: str, action: str, subject: str, account: str | None = None
) -> Iterator[None]:
    """Record that the deed in the block was refused, in a transaction of its own, when it raises an error of ours.

    The error is passed on. Nothing is recorded when the ledger itself cannot be used: nothing was done either.
    """
    try:
        yield
    except _REFUSALS as error:
        if not isinstance(error, LedgerUnavailable):
            with database.write() as connection:
                outcome = f"refused: {error.code}"
                record(
                    connection, at=now(), actor=actor, action=action, subject=subject, outcome=outcome, account=account
                )
        raise


def start_key(database: Database, vault: Vault, *, at: datetime) -> None:
    """Give the audit its first key, sealed in the vault, unless it has one: lines from here on have a MAC."""
    if _is_keyed(database):
        return
    with database.write() as connection:
        tip = connection.execute(select(audit_tip).with_for_update()).one()
        if tip.next_key is not None:
            return
        key = new_key()
        sealed = vault.seal(key, AUDIT_KEY.record_id())
        connection.execute(update(audit_tip).values(next_key=key, keyed_from=tip.line + 1, sealed_first_key=sealed))
        record(connection, at=at, actor="sealdrop", action="audit.key", subject=vault.master_key_id)


def _is_keyed(database: Database) -> bool:
    with database.read() as connection:
        return connection.scalar(select(audit_tip.c.keyed_from)) is not None


def lines(
    connection: Connection,
    *,
    account: str | None = None,
    limit: int | None = None,
    newest_first: bool = False,
    up_to: int | None = None,
) -> Iterator[Line]:
    """The lines in the order of their numbers, or the other way round; read from the ledger as they are asked for."""
    query = select(audit, type_coerce(audit.c.at, String).label("text"))
    query = query.order_by(audit.c.id.desc() if newest_first else audit.c.id).limit(limit)
    if account is not None:
        query = query.where(audit.c.account == account)
    if up_to is not None:
        query = query.where(audit.c.id <= up_to)
    for row in connection.execute(query.execution_options(yield_per=1000)):
        yield _line(row)


def _line(row: Row[tuple[object, ...]]) -> Line:
    facts = row._mapping
    return Line(
        number=facts[audit.c.id],
        at=facts["text"],
        actor=facts[audit.c.actor],
        action=facts[audit.c.action],
        account=facts[audit.c.account],
        subject=facts[audit.c.subject],
        outcome=facts[audit.c.outcome],
        hash=facts[audit.c.hash],
        mac=facts[audit.c.mac],
    )


def _plain(text: str, length: int) -> str:
    """The text in one line that steers no terminal, cut to what the ledger holds."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[:length]

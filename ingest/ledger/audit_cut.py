"""Cutting the audit: lines that are old enough go, and what is left can still be verified (`[retention]`).

The number and the hash of the last line that went, and the key of the next, take the place of the first key in the
vault (`keystore.audit_chain.Anchor`). Who gets hold of the ledger alone can neither make nor move that anchor, so a
line that he removes is missed as before. The cut is a line of the audit itself, ``audit.cut``, which names the last
line that went: so without the master key the chain can be followed too, from where the newest such line says.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, update

from ingest.errors import AuditBroken
from ingest.ledger.audit import CUT, lines, record
from ingest.ledger.audit_verify import Walk, anchor_of
from ingest.ledger.database import Database
from ingest.ledger.sealed import AUDIT_KEY
from ingest.ledger.tables import audit, audit_tip
from keystore.audit_chain import Anchor
from keystore.vault import Vault

_AT_MOST_EVERY = timedelta(days=1)  # each cut is a line


def cut_audit(database: Database, vault: Vault, *, before: datetime, at: datetime) -> int:
    """Remove the lines before the first that is not older than ``before``; how many went.

    Nothing goes while the oldest is not a day older than that, or the audit has no key yet. Raises `AuditBroken` when
    a line that would go is not as it was written: a cut must not hide that. Raises what the vault raises.
    """
    with database.write() as connection:
        tip = connection.execute(select(audit_tip).with_for_update()).one()
        last = _last_old(connection, before, tip.line)
        if last is None or tip.sealed_first_key is None:
            return 0
        anchor = anchor_of(tip.sealed_first_key, vault)
        walk = Walk(anchor, tip.keyed_from)
        for line in lines(connection, up_to=last):
            if (problem := walk.problem_of(line)) is not None:
                raise AuditBroken(f"The audit is not cut: line {problem[0]} is not as it was written.")
        sealed = vault.seal(Anchor(walk.key, last, walk.hash).to_bytes(), AUDIT_KEY.record_id())
        connection.execute(delete(audit).where(audit.c.id <= last))
        connection.execute(update(audit_tip).values(sealed_first_key=sealed))
        record(connection, at=at, actor="sealdrop", action=CUT, subject=f"{last}:{walk.hash.hex()}")
    return last - anchor.line


def count_old(database: Database, *, before: datetime) -> int:
    """How many lines `cut_audit` would remove from an audit that is whole."""
    with database.read() as connection:
        tip = connection.execute(select(audit_tip)).one()
        last = _last_old(connection, before, tip.line)
        if last is None or tip.sealed_first_key is None:
            return 0
        return connection.scalar(select(func.count()).select_from(audit).where(audit.c.id <= last)) or 0


def _last_old(connection: Connection, before: datetime, tip: int) -> int | None:
    """The number of the last line before the first that is young enough; of the last of all when none is."""
    first = connection.execute(select(audit.c.id, audit.c.at).order_by(audit.c.id).limit(1)).one_or_none()
    if first is None or first.at >= before - _AT_MOST_EVERY:
        return None
    young = connection.scalar(select(func.min(audit.c.id)).where(audit.c.at >= before))
    last = tip if young is None else young - 1
    return last if last >= first.id else None

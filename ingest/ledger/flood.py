"""At most so many mails an hour and account; the rest waits, and is told in one mail for each recipient (FAULTS.md M3).

Counted are the mails of an account that were taken within the last hour, and those that a process is trying. A mail for
which there is no room waits until there is, and when more wait than there is room for, those of one recipient that
nobody can have received yet are folded into a digest: a mail of its own, which takes one place. No recipient gets two
digests within an hour. Notices about key pairs are few and urgent: they neither wait nor count.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, case, func, insert, or_, select, update

from failpoints import passing
from ingest.digest import Digest
from ingest.ledger.tables import accounts, imports, notices
from ingest.notices.notice import Channel, DigestStage, FileStage, KeyStage, Stage

WINDOW = timedelta(hours=1)
_LOOK_AGAIN = timedelta(minutes=1)  # when what is being tried now may have failed, and left its place

_COUNTED = and_(notices.c.channel == Channel.MAIL, notices.c.stage.not_in(list(KeyStage)))
_FOLDABLE = and_(
    notices.c.stage.in_([*Stage, *FileStage]),
    notices.c.claimed_at.is_(None),
    notices.c.perhaps_taken.is_(False),
)
# not on its first look any more: it waited for room, or the relay did not take it
_HELD_BACK = or_(notices.c.attempts > 0, notices.c.next_attempt_at > notices.c.created_at)
_DIGESTS_FIRST = (case((notices.c.stage == DigestStage.DIGEST, 0), else_=1), notices.c.id)


def hold_back(connection: Connection, now: datetime, mails_per_hour: int) -> None:
    """Let no account have more mails due than it has room for; the others wait, or are folded into digests."""
    due = and_(_COUNTED, notices.c.state == "pending", notices.c.next_attempt_at <= now)
    with_mails = select(notices.c.account).where(due).distinct().order_by(notices.c.account)
    for account in connection.scalars(with_mails).all():
        # one process at a time for an account, also on PostgreSQL
        connection.execute(select(accounts.c.id).where(accounts.c.id == account).with_for_update())
        _hold_back_of(connection, account, and_(due, notices.c.account == account), now, mails_per_hour)


def _hold_back_of(
    connection: Connection, account: str, due: ColumnElement[bool], now: datetime, mails_per_hour: int
) -> None:
    used = and_(_COUNTED, notices.c.account == account)
    taken = connection.scalars(
        select(notices.c.sent_at).where(used, _lately(notices.c.sent_at, now)).order_by(notices.c.sent_at)
    ).all()
    in_hand = _count(connection, and_(used, notices.c.state == "pending", _lately(notices.c.claimed_at, now)))
    room = max(mails_per_hour - len(taken) - in_hand, 0)
    while room and _count(connection, due) > room and _fold_one(connection, account, due, now, mails_per_hour):
        pass
    if _count(connection, due) <= room:
        return
    first = connection.scalars(select(notices.c.id).where(due).order_by(*_DIGESTS_FIRST).limit(room)).all()
    next_room = taken[0] + WINDOW if taken and not in_hand else now + _LOOK_AGAIN
    connection.execute(update(notices).where(due, notices.c.id.not_in(first)).values(next_attempt_at=next_room))


def _lately(at: ColumnElement[datetime], now: datetime) -> ColumnElement[bool]:
    """Within the last hour; what a clock that was wrong has put into the future is not (FAULTS.md W8)."""
    return and_(at > now - WINDOW, at < now + WINDOW)


def _count(connection: Connection, where: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(notices).where(where)) or 0


def _fold_one(
    connection: Connection, account: str, due: ColumnElement[bool], now: datetime, mails_per_hour: int
) -> bool:
    """Fold what waits for the recipient that has waited longest; whether there was one."""
    lately = select(notices.c.recipient).where(
        notices.c.account == account,
        notices.c.stage == DigestStage.DIGEST,
        _lately(notices.c.created_at, now),
    )
    recipient = connection.scalar(
        select(notices.c.recipient)
        .where(due, _FOLDABLE, notices.c.recipient.not_in(lately))
        .group_by(notices.c.recipient)
        .having(func.count() > 1, func.sum(case((_HELD_BACK, 1), else_=0)) > 0)
        .order_by(func.min(notices.c.id))
        .limit(1)
    )
    if recipient is None:
        return False
    subject = f"digest {account} {secrets.token_hex(8)}"
    digest_id = connection.execute(
        insert(notices)
        .values(
            account=account,
            subject=subject,
            stage=DigestStage.DIGEST,
            channel=Channel.MAIL,
            recipient=recipient,
            message_id=f"<{account}.digest.{secrets.token_hex(8)}@sealdrop.invalid>",
            report={},
            state="pending",
            created_at=now,
            next_attempt_at=now,
        )
        .returning(notices.c.id)
    ).scalar_one()
    connection.execute(
        update(notices)
        .where(due, _FOLDABLE, notices.c.recipient == recipient)
        .values(state="folded", digest_id=digest_id)
    )
    digest = _digest_of(connection, account, digest_id, mails_per_hour)
    connection.execute(update(notices).where(notices.c.id == digest_id).values(report=digest.as_json()))
    passing("digest.folded")
    return True


def _digest_of(connection: Connection, account: str, digest_id: int, mails_per_hour: int) -> Digest:
    """Count what was folded: an import by what became of it, one that only began as under way."""
    facts = (imports.c.manifest, imports.c.code, imports.c.rows_rejected)
    folded = (
        select(notices.c.stage, notices.c.created_at, notices.c.import_id, *facts)
        .select_from(notices.outerjoin(imports, notices.c.import_id == imports.c.id))
        .where(notices.c.digest_id == digest_id)
        .order_by(notices.c.id)
    )
    digest: Digest | None = None
    begun, ended = set[str](), set[str]()
    for row in connection.execute(folded):
        digest = digest or Digest(account, row.created_at, row.created_at, mails_per_hour)
        digest.first_at, digest.last_at = min(digest.first_at, row.created_at), max(digest.last_at, row.created_at)
        digest.notices += 1
        if row.stage == FileStage.WAITING:
            digest.waiting += 1
        elif row.stage in (Stage.PICKED_UP, Stage.STILL_RUNNING):
            begun.add(row.import_id)
        else:
            ended.add(row.import_id)
            if row.stage == Stage.SUCCEEDED:
                digest.succeeded += 1
                digest.in_part += row.rows_rejected > 0
            elif row.stage == Stage.SKIPPED:
                digest.skipped += 1
            else:
                digest.add_failed(row.manifest, row.code or "internal")
    if digest is None:
        raise LookupError("a digest of nothing")
    digest.underway = len(begun - ended)
    return digest

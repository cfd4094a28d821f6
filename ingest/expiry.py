"""The periodic look at key pairs: those whose day has come are retired, those whose end is near are told of.

A notice goes to each contact of the account, and to its webhook, 30, 7 and 1 days before a pair expires or retires,
once each; a look that was missed is made good by the next, with the latest notice only. Nothing is told of pairs that
open no more files, or of accounts that are disabled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import structlog

from ingest.addressees import notices_of_key
from ingest.key_news import KeyNews
from ingest.ledger.accounts import Accounts
from ingest.ledger.outbox import Outbox
from ingest.ledger.pgp_keys import PgpKey, PgpKeys
from ingest.notices.notice import KeyStage
from ingest.states import PairState

_BEFORE = {KeyStage.DAY_1: timedelta(days=1), KeyStage.DAYS_7: timedelta(days=7), KeyStage.DAYS_30: timedelta(days=30)}

_log = structlog.get_logger()


def look_at_keys(accounts: Accounts, pgp_keys: PgpKeys, outbox: Outbox, now: datetime) -> int:
    """Retire what is due and enqueue the notices of what ends soon; how many notices are new. Safe to repeat."""
    for key in pgp_keys.retire_due(now):
        _log.info("key_retired", action="key_retired", key_id=key.key_id, account=key.account)
    enqueued = 0
    for account in accounts.all():
        if account.state != "active":
            continue
        for stage, news in endings(pgp_keys.of_account(account.id), now):
            new = notices_of_key(stage, account)
            enqueued += outbox.tell(account.id, news.subject, news.key_id, news.as_json(), new, now)
    return enqueued


def endings(keys: Sequence[PgpKey], now: datetime) -> Iterable[tuple[KeyStage, KeyNews]]:
    """What is to be told of an account's pairs at this time."""
    open_keys = [key for key in keys if key.opens_files(now)]
    for key in open_keys:
        ends_at = key.ends_at()
        stage = due_stage(ends_at, now)
        if ends_at is not None and stage is not None:
            yield stage, _news(key, ends_at, open_keys, now)


def due_stage(ends_at: datetime | None, now: datetime) -> KeyStage | None:
    """The notice whose time has come for a pair that ends then; ``None`` when it is early, or over."""
    if ends_at is None or ends_at <= now:
        return None
    return next((stage for stage, before in _BEFORE.items() if ends_at - now <= before), None)


def _news(key: PgpKey, ends_at: datetime, open_keys: Sequence[PgpKey], now: datetime) -> KeyNews:
    usable = [
        other
        for other in open_keys
        if other.state is PairState.ACTIVE and other is not key and (other.expires_at is None or other.expires_at > now)
    ]
    successor = next((other for other in usable if other.key_id == key.key_id), None)
    return KeyNews(
        key_id=key.key_id,
        version=key.version,
        account=key.account,
        fingerprint=key.fingerprint,
        algorithm=key.algorithm,
        why="retires" if ends_at == key.retires_at else "expires",
        ends_at=ends_at,
        successor=successor.fingerprint if successor else None,
        others=tuple(other.key_id for other in usable if other.key_id != key.key_id),
    )

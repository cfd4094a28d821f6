"""The periodic look at imports that take long: their senders are told, every two hours unless the settings say else.

Counted from receipt, or from when the operator let an import be tried again. A look that was missed is made good by the
next, with one notice; an import that is over, or waits for the operator, is told of as that.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ingest.addressees import notices_of_import
from ingest.ledger.accounts import Accounts
from ingest.ledger.imports import Imports
from ingest.ledger.outbox import Outbox
from ingest.notices.notice import Stage


def look_at_imports(imports: Imports, accounts: Accounts, outbox: Outbox, every: timedelta, now: datetime) -> int:
    """Enqueue the notices of imports that have been under way for ``every`` or longer; how many are new.

    Safe to repeat, and to run in several processes at once: each interval is told once.
    """
    enqueued = 0
    for report, began in imports.under_way(since=now - every):
        occasion = (now - began) // every
        account = accounts.get(report.account)
        if account is None or account.state != "active":
            continue
        new = notices_of_import(report, Stage.STILL_RUNNING, account, occasion=occasion)
        enqueued += outbox.tell_still_running(report, new, now)
    return enqueued

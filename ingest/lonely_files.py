"""Files that wait in a drop for another that does not come: their sender is told, once for each file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from failpoints import passing
from ingest.addressees import notices_of_file
from ingest.clock import Now
from ingest.file_news import FileNews
from ingest.ledger.accounts import Account
from ingest.ledger.outbox import Outbox


class LonelyFiles:
    """Tells of files that have waited for ``after``; one for each process that watches the drops. Blocking.

    It remembers what it has told, so that a drop full of such files costs no look into the ledger at each scan; and
    since when it sees a file, by its monotonic clock: the time of day at which it came may be in the future (FAULTS.md
    W8).
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        after: timedelta,
        now: Now,
        on_told: Callable[[], object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._after = after
        self._now = now
        self._on_told = on_told
        self._monotonic = monotonic
        self._seen: dict[str, dict[str, float]] = {}  # subjects, by account
        self._told: dict[str, set[str]] = {}  # subjects, by account

    def look(self, account: Account, waiting: Sequence[FileNews]) -> int:
        """Enqueue the notices of what has waited long enough, of all that waits; how many are new."""
        now, moment = self._now(), self._monotonic()
        seen = self._seen.get(account.id, {})
        self._seen[account.id] = seen = {news.subject: seen.get(news.subject, moment) for news in waiting}
        before = self._told.get(account.id, set())
        self._told[account.id] = before & {news.subject for news in waiting}
        enqueued = 0
        for news in waiting:
            if news.subject in before or account.state != "active":
                continue
            if max(now - news.since, timedelta(seconds=moment - seen[news.subject])) < self._after:
                continue
            new = notices_of_file(news, account)
            if not new:  # an account without addresses, so far
                continue
            enqueued += self._outbox.tell(account.id, news.subject, account.id, news.as_json(), new, now)
            passing("waiting.told")
            self._told[account.id].add(news.subject)
        if enqueued:
            self._on_told()
        return enqueued

"""Delivery of the notices that are due, from the outbox in the ledger to the relay (FAULTS.md W7).

A crash between the relay's yes and the mark in the outbox sends a mail twice, with the same Message-ID; no crash loses
one. Log records: ``notice_sent``, ``notice_deferred``, ``notice_given_up``; they hold no address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from failpoints import passing
from ingest.backoff import next_attempt
from ingest.notices.compose import compose
from ingest.notices.errors import DeliveryDeferred, DeliveryRefused
from ingest.notices.mailer import Mailer
from ingest.notices.notice import Notice
from ingest.settings import MailSettings

_MOST_A_ROUND = 100
_AT_ONCE = 8

_log = structlog.get_logger(__name__)


class Outbox(Protocol):
    """Where notices wait; each method is durable when it returns, blocks, and may be called from several threads."""

    def due(self, now: datetime, limit: int) -> Sequence[Notice]:
        """At most ``limit`` notices whose time has come, oldest first."""

    def sent(self, notice_id: int, at: datetime) -> None:
        """The relay has taken the notice."""

    def deferred(self, notice_id: int, error: str, next_attempt_at: datetime) -> None:
        """A try failed, there will be another; counts as an attempt."""

    def given_up(self, notice_id: int, error: str) -> None:
        """There will be no further try."""


async def deliver_due(outbox: Outbox, mailer: Mailer, settings: MailSettings, now: Callable[[], datetime]) -> int:
    """Try each notice that is due once, and return how many were sent; without a relay nothing is tried.

    The notices of one import or key go in their order, those of several at the same time. One that fails stops no
    other; it waits longer each time, and is given up when it is refused or, after a try, older than
    ``give_up_after_s``. An error of the outbox is raised after the round.
    """
    if not settings.host:
        return 0
    notices = await asyncio.to_thread(outbox.due, now(), _MOST_A_ROUND)
    if notices:
        passing("notices.claimed")
    gate = asyncio.Semaphore(_AT_ONCE)

    async def in_order(group: Iterable[Notice]) -> int:
        async with gate:
            return sum([await _try(notice, outbox, mailer, settings, now) for notice in group])

    counts = await asyncio.gather(*map(in_order, _by_subject(notices)), return_exceptions=True)
    for count in counts:
        if isinstance(count, BaseException):
            raise count
    return sum(count for count in counts if isinstance(count, int))


def _by_subject(notices: Iterable[Notice]) -> Iterable[list[Notice]]:
    groups: dict[tuple[str, ...], list[Notice]] = {}
    for notice in notices:
        groups.setdefault(tuple(notice.about.values()), []).append(notice)
    return groups.values()


async def _try(
    notice: Notice, outbox: Outbox, mailer: Mailer, settings: MailSettings, now: Callable[[], datetime]
) -> bool:
    """Send one notice and mark it; whether it was sent."""
    log = _log.bind(notice_id=notice.id, **notice.about, stage=notice.stage.value)
    try:
        await mailer.send(compose(notice, sender=settings.sender, now=now()), notice.recipient)
        passing("notice.accepted")
    except DeliveryRefused as error:
        await asyncio.to_thread(outbox.given_up, notice.id, error.public)
        log.warning("notice given up", action="notice_given_up", error=error.public, detail=error.detail)
        return False
    except DeliveryDeferred as error:
        log.warning("notice not sent", action="notice_deferred", error=error.public, detail=error.detail)
        await _defer(notice, error.public, outbox, settings, now())
        return False
    except Exception:
        # What nobody foresaw (a report that a template cannot show) waits as well: a later release may send it.
        log.exception("notice not written", action="notice_deferred")
        await _defer(notice, "the mail could not be written", outbox, settings, now())
        return False
    await asyncio.to_thread(outbox.sent, notice.id, now())
    passing("notice.marked")
    log.info("notice sent", action="notice_sent")
    return True


async def _defer(notice: Notice, error: str, outbox: Outbox, settings: MailSettings, now: datetime) -> None:
    """Let the notice wait for its next try, or give it up when it is too old for another."""
    if (now - notice.created_at).total_seconds() >= settings.give_up_after_s:
        await asyncio.to_thread(outbox.given_up, notice.id, error)
        _log.warning("notice given up", action="notice_given_up", notice_id=notice.id, error=error)
        return
    wait_s = next_attempt(notice.attempts + 1, floor_s=settings.retry_floor_s, ceiling_s=settings.retry_ceiling_s)
    await asyncio.to_thread(outbox.deferred, notice.id, error, now + timedelta(seconds=wait_s))

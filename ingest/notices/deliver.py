"""Delivery of the notices that are due, from the outbox in the ledger to the relay or the webhook (FAULTS.md W7).

A crash between the other side's yes and the mark in the outbox sends a notice twice, with the same ID; no crash loses
one. Log records: ``notice_sent``, ``notice_deferred``, ``notice_given_up``; they hold no address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Protocol

import structlog

from failpoints import passing
from ingest.backoff import next_attempt
from ingest.errors import LedgerUnavailable
from ingest.notices.errors import DeliveryDeferred, DeliveryRefused, DeliveryUnknown
from ingest.notices.notice import Channel, Notice
from ingest.notices.places import Places
from ingest.settings import Settings

_MOST_A_ROUND = 100
_BEGIN_WITHIN = timedelta(seconds=15)
_SLACK = timedelta(minutes=1)
_MARK_WITHIN_S, _MARK_PAUSE_S = 30.0, 0.5

_log = structlog.get_logger(__name__)


class Outbox(Protocol):
    """Where notices wait; each method is durable when it returns, blocks, and may be called from several threads.

    What marks a notice raises `LedgerUnavailable` when it could not, or does not know, and may be called again.
    """

    def due(
        self,
        now: datetime,
        limit: int,
        *,
        channels: Collection[Channel],
        claim: timedelta,
        longest_wait: timedelta,
        mails_per_hour: int | None,
    ) -> Sequence[Notice]:
        """At most ``limit`` notices whose time has come, the oldest of each account first; nobody else gets them for
        ``claim``.

        ``longest_wait`` is the longest that is ever asked for between two tries.
        """

    def sent(self, notice_id: int, at: datetime, status: int | None) -> None:
        """The notice was taken."""

    def deferred(
        self,
        notice_id: int,
        error: str,
        next_attempt_at: datetime,
        *,
        at: datetime,
        status: int | None,
        perhaps_taken: bool,
    ) -> None:
        """A try failed, there will be another; counts as an attempt."""

    def given_up(self, notice_id: int, error: str, *, at: datetime, status: int | None) -> None:
        """There will be no further try."""

    def give_back(self, notice_ids: Collection[int], now: datetime) -> None:
        """The notices were not tried; they are due again at once."""


class Courier(Protocol):
    """Brings notices to their recipients by one channel; may bring several at once."""

    async def deliver(self, notice: Notice, now: datetime) -> int:
        """The status with which it was taken; raises a `NoticeError` when it was not, or nobody knows."""


async def deliver_due(
    outbox: Outbox,
    couriers: Mapping[Channel, Courier],
    settings: Settings,
    now: Callable[[], datetime],
    places: Places | None = None,
) -> int:
    """Try each notice that is due once, and return how many were sent; of a channel without courier none is tried.

    The notices of one channel about one import or key go in their order, the others at the same time as far as there
    are ``places``, which rounds that overlap share; what has got none in time is given back. One that fails stops no
    other; it waits longer each time, and is given up when it is refused or, after a try, older than
    ``mail.give_up_after_s``. An error of the outbox is raised after the round.
    """
    if not couriers:
        return 0
    started = now()
    longest = settings.mail.timeout_s + settings.mail.answer_timeout_s + settings.webhook.timeout_s
    notices = await asyncio.to_thread(
        outbox.due,
        started,
        _MOST_A_ROUND,
        channels=list(couriers),
        claim=_BEGIN_WITHIN + timedelta(seconds=longest) + _SLACK,
        longest_wait=timedelta(seconds=settings.mail.retry_ceiling_s),
        mails_per_hour=settings.notices.mails_per_hour,
    )
    if notices:
        passing("notices.claimed")
    untried = {notice.id for notice in notices}
    places = places or Places()
    round_ = _Round(outbox, settings, now)

    async def in_order(group: Sequence[Notice]) -> int:
        sent = 0
        for notice in group:
            async with places.one_of(notice.account):
                if now() - started >= _BEGIN_WITHIN:  # its claim could end while it is tried; others have their turn
                    break
                untried.discard(notice.id)
                sent += await round_.tried(notice, couriers[notice.channel])
        if left := untried.intersection(notice.id for notice in group):
            untried.difference_update(left)
            await asyncio.to_thread(outbox.give_back, left, now())
        return sent

    try:
        counts = await asyncio.gather(*map(in_order, _by_subject(notices)), return_exceptions=True)
    finally:  # also when the service stops
        if untried:
            await asyncio.to_thread(outbox.give_back, untried, now())
    for count in counts:
        if isinstance(count, BaseException):
            raise count
    return sum(count for count in counts if isinstance(count, int))


def _by_subject(notices: Iterable[Notice]) -> Iterable[list[Notice]]:
    groups: dict[tuple[str, ...], list[Notice]] = {}
    for notice in notices:
        groups.setdefault((notice.channel, *notice.about.values()), []).append(notice)
    return groups.values()


class _Round:
    """One round of deliveries: tries notices and marks what became of them."""

    def __init__(self, outbox: Outbox, settings: Settings, now: Callable[[], datetime]) -> None:
        self._outbox = outbox
        self._mail = settings.mail
        self._now = now

    async def tried(self, notice: Notice, courier: Courier) -> bool:
        """Send one notice and mark it; whether it was sent."""
        log = _log.bind(notice_id=notice.id, **notice.about, stage=notice.stage.value, channel=notice.channel.value)
        try:
            status = await courier.deliver(notice, self._now())
            passing("notice.accepted")
        except DeliveryRefused as error:
            await self._give_up(notice, error.public, error.status)
            log.warning("notice given up", action="notice_given_up", error=error.public, detail=error.detail)
            return False
        except (DeliveryDeferred, DeliveryUnknown) as error:
            log.warning("notice not sent", action="notice_deferred", error=error.public, detail=error.detail)
            await self._defer(notice, error.public, error.status, perhaps_taken=isinstance(error, DeliveryUnknown))
            return False
        except Exception:
            # What nobody foresaw (a report that a template cannot show) waits as well: a later release may send it.
            log.exception("notice not written", action="notice_deferred")
            await self._defer(notice, "the notice could not be written", None, perhaps_taken=False)
            return False
        await _marked(partial(self._outbox.sent, notice.id, self._now(), status))
        passing("notice.marked")
        log.info("notice sent", action="notice_sent")
        return True

    async def _give_up(self, notice: Notice, error: str, status: int | None) -> None:
        await _marked(partial(self._outbox.given_up, notice.id, error, at=self._now(), status=status))

    async def _defer(self, notice: Notice, error: str, status: int | None, *, perhaps_taken: bool) -> None:
        """Let the notice wait for its next try, or give it up when it is too old for another."""
        now, mail = self._now(), self._mail
        tries = notice.attempts + 1
        if tries * mail.retry_ceiling_s >= mail.give_up_after_s and not (
            0 <= (now - notice.created_at).total_seconds() < mail.give_up_after_s
        ):  # so many tries take about that long: the age alone may be that of a clock that was set (FAULTS.md W8)
            await self._give_up(notice, error, status)
            _log.warning("notice given up", action="notice_given_up", notice_id=notice.id, error=error)
            return
        wait_s = next_attempt(tries, floor_s=mail.retry_floor_s, ceiling_s=mail.retry_ceiling_s)
        if perhaps_taken:
            wait_s = mail.retry_ceiling_s  # each try may double it: as few as a promise to deliver allows
        next_attempt_at = now + timedelta(seconds=wait_s)
        await _marked(
            partial(
                self._outbox.deferred,
                notice.id,
                error,
                next_attempt_at,
                at=now,
                status=status,
                perhaps_taken=perhaps_taken,
            )
        )


async def _marked(mark: Callable[[], None]) -> None:
    """Mark what became of a try; again while the ledger is away for a moment, or has not said whether it did it.

    Else the notice is sent once more when its claim has ended (FAULTS.md W6).
    """
    deadline = monotonic() + _MARK_WITHIN_S
    while True:
        try:
            await asyncio.to_thread(mark)
        except LedgerUnavailable:
            if monotonic() >= deadline:
                raise
            await asyncio.sleep(_MARK_PAUSE_S)
        else:
            return

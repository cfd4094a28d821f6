from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingest.notices.deliver import deliver_due
from ingest.notices.mailer import Mailer
from ingest.notices.notice import Notice, Stage
from ingest.settings import MailSettings
from tests.notices.relay import HOST, Relay, running
from tests.notices.samples import RECEIVED, notice


class MemoryOutbox:
    """An outbox in memory, by the rules of the Protocol."""

    def __init__(self, *waiting: Notice) -> None:
        self.waiting = {each.id: each for each in waiting}
        self.next = {each.id: each.created_at for each in waiting}
        self.sent_at: dict[int, datetime] = {}
        self.errors: dict[int, str] = {}
        self.gone: dict[int, str] = {}

    def due(self, now: datetime, limit: int) -> Sequence[Notice]:
        return [each for number, each in sorted(self.waiting.items()) if self.next[number] <= now][:limit]

    def sent(self, notice_id: int, at: datetime) -> None:
        del self.waiting[notice_id]
        self.sent_at[notice_id] = at

    def deferred(self, notice_id: int, error: str, next_attempt_at: datetime) -> None:
        self.waiting[notice_id] = replace(self.waiting[notice_id], attempts=self.waiting[notice_id].attempts + 1)
        self.next[notice_id] = next_attempt_at
        self.errors[notice_id] = error

    def given_up(self, notice_id: int, error: str) -> None:
        del self.waiting[notice_id]
        self.gone[notice_id] = error


def mail_settings(relay: Relay, **changed: Any) -> MailSettings:
    return MailSettings(
        **{"host": HOST, "port": relay.port, "security": "none", "timeout_s": 5, "sender": "us@example.org"} | changed
    )


async def one_round(outbox: MemoryOutbox, relay: Relay, now: datetime = RECEIVED, **changed: Any) -> int:
    to = mail_settings(relay, **changed)
    return await deliver_due(outbox, Mailer(to), to, lambda: now)


async def test_due_notices_are_sent_once() -> None:
    outbox = MemoryOutbox(notice(Stage.PICKED_UP, number=1), notice(number=2), notice(number=3, id="another"))
    async with running(Relay()) as relay:
        assert await one_round(outbox, relay) == 3
        assert await one_round(outbox, relay) == 0
    assert len(relay.taken) == 3
    assert outbox.sent_at == {1: RECEIVED, 2: RECEIVED, 3: RECEIVED}


async def test_notices_of_one_import_arrive_in_their_order() -> None:
    outbox = MemoryOutbox(*(notice(number=number) for number in range(1, 13)))
    async with running(Relay()) as relay:
        await one_round(outbox, relay)
    numbers = [envelope.content.partition(b"succeeded.")[2][:16] for envelope in relay.taken]
    assert numbers == sorted(numbers)


async def test_notice_that_is_not_due_waits() -> None:
    outbox = MemoryOutbox(notice())
    async with running(Relay()) as relay:
        assert await one_round(outbox, relay, RECEIVED - timedelta(seconds=1)) == 0
    assert not relay.taken


async def test_without_a_relay_notices_wait_untried() -> None:
    outbox = MemoryOutbox(notice())
    assert await one_round(outbox, Relay(), host="") == 0
    assert outbox.waiting[1].attempts == 0


async def test_waits_grow_until_a_notice_is_given_up() -> None:
    """FAULTS W7: 4xx is tried again, less and less often, and not for ever."""
    outbox = MemoryOutbox(notice())
    now, waits = RECEIVED, []
    async with running(Relay(rcpt="451 4.7.1 greylisted")) as relay:
        while outbox.waiting:
            how = {"retry_floor_s": 60, "retry_ceiling_s": 600, "give_up_after_s": 3000}
            assert await one_round(outbox, relay, now, **how) == 0
            if outbox.waiting:
                waits.append((outbox.next[1] - now).total_seconds())
                now = outbox.next[1]
    assert waits == [60, 120, 240, 480, 600, 600, 600, 600]
    assert "451" in outbox.gone[1]


async def test_greylisted_notice_is_sent_at_a_later_try() -> None:
    """FAULTS W7: greylist."""
    outbox, relay = MemoryOutbox(notice()), Relay(rcpt="451 4.7.1 greylisted")
    async with running(relay):
        assert await one_round(outbox, relay) == 0
        relay.rcpt = "250 OK"
        assert await one_round(outbox, relay, outbox.next[1]) == 1
    assert len(relay.taken) == 1


async def test_old_notice_has_one_try_before_it_is_given_up() -> None:
    """FAULTS W7: nobody loses a mail because we were down for long."""
    outbox = MemoryOutbox(notice())
    async with running(Relay()) as relay:
        assert await one_round(outbox, relay, RECEIVED + timedelta(days=30)) == 1


async def test_refused_notice_is_given_up_at_once() -> None:
    """FAULTS W7: 5xx."""
    outbox = MemoryOutbox(notice())
    async with running(Relay(rcpt="550 5.1.1 no such user")) as relay:
        assert await one_round(outbox, relay) == 0
    assert "550" in outbox.gone[1]


async def test_relay_that_is_down_defers_all() -> None:
    """FAULTS W7: SMTP down."""
    async with running(Relay()) as relay:
        pass
    outbox = MemoryOutbox(notice(number=1), notice(number=2, id="another"))
    assert await one_round(outbox, relay) == 0
    assert set(outbox.errors.values()) == {"the relay cannot be reached"}
    assert set(outbox.next.values()) == {RECEIVED + timedelta(seconds=60)}


async def test_failing_notices_stop_no_other() -> None:
    """FAULTS W7: refused, deferred, of a forbidden recipient, unreadable: the rest is sent."""
    unreadable = notice(number=4)
    del unreadable.report["rows_stored"]
    outbox = MemoryOutbox(
        notice(number=1, recipient="gone@example.com"),
        notice(number=2, recipient="grey@example.com"),
        notice(number=3, recipient="a@x.example, b@y.example"),
        unreadable,
        notice(number=5),
        notice(number=6, id="another"),
    )
    answers = {"gone@example.com": "550 no", "grey@example.com": "451 later"}
    async with running(Relay(refused=answers)) as relay:
        assert await one_round(outbox, relay) == 2
    assert sorted(outbox.sent_at) == [5, 6]
    assert sorted(outbox.gone) == [1, 3]
    assert sorted(outbox.waiting) == [2, 4]
    assert outbox.errors[4] == "the mail could not be written"


class ForgetfulOutbox(MemoryOutbox):
    """An outbox whose ledger goes away at the mark of one notice."""

    def sent(self, notice_id: int, at: datetime) -> None:
        if notice_id == 1:
            raise OSError("the ledger is gone")
        super().sent(notice_id, at)


async def test_mark_that_is_lost_sends_the_same_mail_again() -> None:
    """FAULTS W7: lost between accept and mark: at most one duplicate, same Message-ID; the others are not held up."""
    outbox = ForgetfulOutbox(notice(number=1), notice(number=2, id="another"))
    async with running(Relay()) as relay:
        with pytest.raises(OSError, match="ledger"):
            await one_round(outbox, relay)
        assert list(outbox.sent_at) == [2]
        after_restart = MemoryOutbox(*outbox.waiting.values())
        assert await one_round(after_restart, relay) == 1
    ids = [envelope.content.partition(b"Message-ID: ")[2].partition(b"\r\n")[0] for envelope in relay.taken]
    assert len(ids) == 3
    assert len(set(ids)) == 2


async def test_logs_hold_no_address_and_no_text_of_the_relay_in_the_ledger() -> None:
    """FAULTS M4."""
    outbox = MemoryOutbox(notice(number=1), notice(number=2, id="another", recipient="gone@example.com"))
    async with running(Relay(refused={"gone@example.com": "550 no such user"})) as relay:
        with capture_logs() as logs:
            await one_round(outbox, relay)
    assert {entry["action"] for entry in logs} == {"notice_sent", "notice_given_up"}
    assert "example.com" not in repr(logs)
    assert "no such user" not in outbox.gone[2]

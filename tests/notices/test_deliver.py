"""Rounds of deliveries, with a real ledger and a real SMTP server."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from ingest.ledger.outbox import Outbox
from ingest.ledger.tables import notices
from ingest.notices.deliver import deliver_due
from ingest.notices.notice import Channel
from ingest.states import State
from tests.notices.desk import NoticeDesk
from tests.notices.relay import Relay, message_id, running
from tests.notices.samples import RECEIVED
from tests.notices.scripted import scripted


async def test_due_notices_are_sent_once(desk: NoticeDesk) -> None:
    desk.ended(picked_up=True)
    desk.ended()
    async with running(Relay()) as relay:
        assert await desk.round(relay) == 3
        assert await desk.round(relay) == 0
    assert len(relay.taken) == 3
    assert {(one.state, one.sent_at, one.last_status, one.attempts) for one in desk.all()} == {
        ("sent", RECEIVED, 250, 1)
    }


async def test_notices_of_one_import_arrive_in_their_order(desk: NoticeDesk) -> None:
    for _ in range(8):
        desk.ended(picked_up=True)
    async with running(Relay()) as relay:
        assert await desk.round(relay) == 16
    stages: dict[str, list[str]] = {}
    for envelope in relay.taken:
        import_id, stage = message_id(envelope).strip("<>").split(".")[:2]
        stages.setdefault(import_id, []).append(stage)
    assert list(stages.values()) == [["picked_up", "failed"]] * 8


async def test_notice_that_is_not_due_waits(desk: NoticeDesk) -> None:
    desk.ended()
    desk.pass_time(seconds=-1)
    async with running(Relay()) as relay:
        assert await desk.round(relay) == 0
    assert not relay.taken


async def test_without_a_relay_notices_wait_untried(desk: NoticeDesk) -> None:
    desk.ended()
    assert await deliver_due(desk.outbox, {}, desk.settings(), lambda: desk.now) == 0
    assert (desk.only().attempts, desk.only().state) == (0, "pending")


async def test_waits_grow_until_a_notice_is_given_up(desk: NoticeDesk) -> None:
    """FAULTS W7: 4xx is tried again, less and less often, and not for ever."""
    desk.ended()
    waits = []
    async with running(Relay(rcpt="451 4.7.1 greylisted")) as relay:
        while desk.only().state == "pending":
            assert await desk.round(relay, retry_floor_s=60, retry_ceiling_s=600, give_up_after_s=3000) == 0
            if (following := desk.only().next_attempt_at) is not None:
                waits.append((following - desk.now).total_seconds())
                desk.now = following
    assert waits == [60, 120, 240, 480, 600, 600, 600, 600]
    given_up = desk.only()
    assert (given_up.state, given_up.last_status, given_up.attempts) == ("given_up", 451, 9)
    assert "451" in (given_up.error or "")


async def test_greylisted_notice_is_sent_at_a_later_try(desk: NoticeDesk) -> None:
    """FAULTS W7: greylist."""
    desk.ended()
    async with running(Relay(rcpt="451 4.7.1 greylisted")) as relay:
        assert await desk.round(relay) == 0
        relay.rcpt = "250 OK"
        desk.pass_time(seconds=60)
        assert await desk.round(relay) == 1
    assert len(relay.taken) == 1
    assert (desk.only().attempts, desk.only().error) == (2, None)


async def test_old_notice_has_one_try_before_it_is_given_up(desk: NoticeDesk) -> None:
    """FAULTS W7: nobody loses a mail because we were down for long."""
    desk.ended()
    desk.pass_time(days=30)
    async with running(Relay()) as relay:
        assert await desk.round(relay) == 1


async def test_refused_notice_is_given_up_at_once_and_can_be_tried_again_by_hand(desk: NoticeDesk) -> None:
    """FAULTS W7: 5xx."""
    desk.ended()
    async with running(Relay(rcpt="550 5.1.1 no such user")) as relay:
        assert await desk.round(relay) == 0
        assert (desk.only().state, desk.only().last_status) == ("given_up", 550)
        relay.rcpt = "250 OK"
        assert desk.outbox.retry(desk.only().id, desk.now)
        assert await desk.round(relay) == 1
    assert not desk.outbox.retry(desk.only().id, desk.now)


async def test_relay_that_is_down_defers_all(desk: NoticeDesk) -> None:
    """FAULTS W7: SMTP down."""
    async with running(Relay()) as relay:
        pass
    desk.ended()
    desk.ended()
    assert await desk.round(relay) == 0
    assert {(one.error, one.next_attempt_at) for one in desk.all()} == {
        ("the relay cannot be reached", RECEIVED + timedelta(seconds=60))
    }


async def test_failing_notices_stop_no_other(desk: NoticeDesk) -> None:
    """FAULTS W7: refused, deferred, unreadable: the rest is sent."""
    addresses = ("gone@shop.example", "grey@shop.example", "odd@shop.example", "good@shop.example")
    folder = desk.file.parent / "another"
    folder.mkdir()
    other = NoticeDesk(folder, domains=["shop.example"])
    for address in addresses:
        other.ended(client_email=address)
    with other.database.write() as connection:
        connection.execute(update(notices).where(notices.c.recipient == addresses[2]).values(report={"id": "x"}))
    answers = {addresses[0]: "550 no", addresses[1]: "451 later"}
    async with running(Relay(refused=answers)) as relay:
        assert await other.round(relay) == 1
    assert other.states() == ["given_up", "pending", "pending", "sent"]
    assert other.all()[2].error == "the notice could not be written"
    other.close()


class ForgetfulOutbox(Outbox):
    """An outbox whose ledger goes away at the mark of one notice."""

    def sent(self, notice_id: int, at: datetime, status: int | None = None) -> None:
        if notice_id == 1:
            raise OSError("the ledger is gone")
        super().sent(notice_id, at, status)


async def test_mark_that_is_lost_sends_the_same_mail_again(desk: NoticeDesk) -> None:
    """FAULTS W7: lost between accept and mark: at most one duplicate, same Message-ID; the others are not held up."""
    desk.ended()
    desk.ended()
    async with running(Relay()) as relay:
        with pytest.raises(OSError, match="ledger"):
            await desk.round(relay, ForgetfulOutbox(desk.database))
        assert desk.states() == ["pending", "sent"]
        assert await desk.round(relay) == 0  # its claim has not ended
        desk.pass_time(hours=1)
        assert await desk.round(relay) == 1
    ids = [message_id(envelope) for envelope in relay.taken]
    assert len(ids) == 3
    assert len(set(ids)) == 2
    assert desk.all()[0].perhaps_taken


async def test_what_a_stopped_round_did_not_begin_is_due_again_at_once(desk: NoticeDesk) -> None:
    """A service that is stopped leaves no notice claimed that it did not try."""
    for _ in range(20):
        desk.ended()

    class Stopped(BaseException):
        """The service is being stopped."""

    class Stopping:
        async def deliver(self, *_: Any) -> int:
            raise Stopped

    with pytest.raises(Stopped):
        await deliver_due(desk.outbox, {Channel.MAIL: Stopping()}, desk.settings(), lambda: desk.now)
    waiting = [one for one in desk.all() if one.next_attempt_at == desk.now]
    async with running(Relay()) as relay:
        assert await desk.round(relay) == len(waiting)


async def test_round_that_takes_too_long_gives_back_what_it_has_not_begun(desk: NoticeDesk) -> None:
    """So that no claim ends, and no other process takes it up, while it is being tried."""
    for _ in range(3):
        desk.ended()

    class Slow:
        async def deliver(self, *_: Any) -> int:
            desk.pass_time(minutes=6)
            return 250

    assert await deliver_due(desk.outbox, {Channel.MAIL: Slow()}, desk.settings(), lambda: desk.now) == 1
    assert [one.state for one in desk.all()] == ["sent", "pending", "pending"]
    assert {one.next_attempt_at for one in desk.all()[1:]} == {desk.now}


async def test_logs_hold_no_address_and_no_text_of_the_relay_in_the_ledger(desk: NoticeDesk) -> None:
    """FAULTS M4."""
    desk.ended()
    desk.ended(state=State.SUCCEEDED, code=None, message=None)
    async with running(Relay(rcpt="550 no such user")) as relay:
        with capture_logs() as logs:
            await desk.round(relay)
            relay.rcpt = "250 OK"
            desk.ended()
            await desk.round(relay)
    assert {entry["action"] for entry in logs} == {"notice_sent", "notice_given_up"}
    assert "example.com" not in repr(logs)
    assert "no such user" not in repr(desk.all())


@pytest.mark.parametrize("years", [1, 10])
async def test_notice_that_a_wrong_clock_put_off_goes_out_once_the_clock_is_right(desk: NoticeDesk, years: int) -> None:
    """FAULTS W8."""
    desk.ended()
    right = desk.now
    desk.pass_time(days=365 * years)
    async with scripted({"DATA": "451 4.7.1 come back later"}) as relay:
        assert await desk.round(relay, give_up_after_s=10**9) == 0
        desk.now = right + timedelta(minutes=1)
        relay.script = {}
        assert await desk.round(relay) == 1
    assert desk.states() == ["sent"]

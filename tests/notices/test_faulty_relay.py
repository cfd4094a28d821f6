"""FAULTS W7: whatever a relay does, each notice arrives, at most twice, and as the same mail; imports never wait."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from ingest.states import State
from tests.notices.certificates import Authority
from tests.notices.desk import NoticeDesk
from tests.notices.relay import message_id
from tests.notices.scripted import STEPS, Scripted, scripted

SHORT: dict[str, Any] = {"timeout_s": 0.4, "answer_timeout_s": 0.4, "retry_floor_s": 60, "retry_ceiling_s": 3600}
NEVER_FOR_GOOD = {"connect", "EHLO", "MAIL"}  # a refusal of us, not of this mail


async def healed(desk: NoticeDesk, relay: Scripted) -> None:
    """The relay is well again, and the notice's time comes."""
    relay.script = {}
    following = desk.only().next_attempt_at
    assert following is not None
    desk.now = following
    assert await desk.round(relay) == 1
    assert desk.states() == ["sent"]
    assert len({message_id(envelope) for envelope in relay.taken}) == 1


@pytest.mark.parametrize("how", ["drop", "hang", "garbage", "421 4.3.2 going down", "451 4.7.1 come back later"])
@pytest.mark.parametrize("step", STEPS)
async def test_trouble_at_any_step_delays_a_mail_and_doubles_it_at_most(desk: NoticeDesk, step: str, how: str) -> None:
    """FAULTS W7: down, slow, 4xx, garbage, a hang in DATA, a connection lost after the last byte."""
    desk.ended()
    async with scripted({step: how}) as relay:
        assert await desk.round(relay, **SHORT) == 0
        stood = desk.only()
        assert (stood.state, stood.attempts) == ("pending", 1)
        assert stood.perhaps_taken is (step == "." and how in ("drop", "hang", "garbage"))
        assert stood.last_status == (int(how[:3]) if how[0] == "4" else None)
        await healed(desk, relay)
    assert len(relay.taken) == (2 if stood.perhaps_taken else 1)


@pytest.mark.parametrize("step", STEPS)
async def test_refusal_for_good_ends_only_what_it_is_about(desk: NoticeDesk, step: str) -> None:
    """FAULTS W7: 5xx."""
    desk.ended()
    async with scripted({step: "554 5.7.1 no"}) as relay:
        assert await desk.round(relay, **SHORT) == 0
        if step in NEVER_FOR_GOOD:
            await healed(desk, relay)
        else:
            assert (desk.only().state, desk.only().last_status) == ("given_up", 554)


async def test_relay_that_is_slow_at_every_step_gets_a_mail_once(desk: NoticeDesk) -> None:
    """FAULTS W7: slow."""
    desk.ended()
    async with scripted(dict.fromkeys(STEPS, "slow")) as relay:
        assert await desk.round(relay, timeout_s=30, answer_timeout_s=30) == 1
    assert (len(relay.taken), desk.states()) == (1, ["sent"])


async def test_tls_that_fails_or_is_not_offered_gets_no_mail(desk: NoticeDesk, tmp_path: Path) -> None:
    """FAULTS W7, M4: broken handshake, no STARTTLS: never in the clear, and delivered once that is mended."""
    authority = Authority(tmp_path / "ca")
    good = authority.server("127.0.0.1")
    secure: dict[str, Any] = {"security": "starttls", "ca_file": authority.file, **SHORT, "timeout_s": 5}
    desk.ended()
    async with scripted() as relay:  # offers no STARTTLS
        assert await desk.round(relay, **secure) == 0
    for broken in ("garbage", "drop", "454 4.7.0 TLS not available"):
        async with scripted({"STARTTLS": broken}, starttls=good) as relay:
            desk.pass_time(hours=2)
            assert await desk.round(relay, **secure) == 0
            assert relay.taken == []
    async with scripted({"connect": "220 this is no handshake"}) as relay:
        desk.pass_time(hours=2)
        assert await desk.round(relay, **secure | {"security": "tls"}) == 0
    async with scripted(starttls=good) as relay:
        desk.pass_time(hours=2)
        assert await desk.round(relay, **secure) == 1
    assert len(relay.taken) == 1


async def test_lost_answer_is_asked_again_only_after_the_longest_wait(desk: NoticeDesk) -> None:
    """Each further try may double the mail: as few of them as a promise to deliver allows."""
    desk.ended()
    async with scripted({".": "drop"}) as relay:
        await desk.round(relay, **SHORT)
        desk.pass_time(minutes=59)
        assert await desk.round(relay) == 0
        assert len(relay.taken) == 1


@pytest.mark.parametrize("when", ["before the answer", "after the answer"])
async def test_process_that_is_killed_between_yes_and_mark_doubles_a_mail_once(desk: NoticeDesk, when: str) -> None:
    """FAULTS W7: SIGKILL as the relay takes the mail, or before the mark: one duplicate, same Message-ID."""
    desk.ended(state=State.SUCCEEDED, code=None, message=None)
    async with scripted() as relay:
        dies = ["dies"] if when == "after the answer" else []
        arguments = ("-m", "tests.notices.deliverer", str(desk.file), str(relay.port), desk.now.isoformat(), *dies)
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
        if not dies:
            relay.on_taken = process.kill
        async with asyncio.timeout(60):
            assert await process.wait() == -signal.SIGKILL
        relay.on_taken = lambda: None
        assert len(relay.taken) == 1
        assert await desk.round(relay) == 0  # another process may be at it, for all that one can know
        desk.pass_time(hours=1)
        assert await desk.round(relay) == 1
        assert await desk.round(relay) == 0
    assert (desk.only().state, desk.only().perhaps_taken) == ("sent", True)
    assert len(relay.taken) == 2
    assert len({message_id(envelope) for envelope in relay.taken}) == 1

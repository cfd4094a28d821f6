"""FAULTS M3: at most so many mails an hour and account, then one digest for each recipient."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from ingest.addressees import notices_of_key
from ingest.ledger.tables import imports, notices
from ingest.notices.notice import KeyStage
from ingest.states import State
from tests.notices.desk import ACCOUNT, OPS, NoticeDesk
from tests.notices.relay import Relay, running
from tests.notices.samples import report
from tests.notices.scripted import Envelope, scripted

LIMIT = 10
GOOD: dict[str, Any] = {"state": State.SUCCEEDED, "code": None, "message": None}


def subjects(relay: Relay) -> list[str]:
    return [_header(envelope.content, b"Subject") for envelope in relay.taken]


def _header(content: bytes, name: bytes) -> str:
    return content.partition(name + b": ")[2].partition(b"\r\n")[0].decode()


def most_within_an_hour(sent: list[datetime]) -> int:
    return max(sum(start <= one < start + timedelta(hours=1) for one in sent) for start in sent)


async def rounds(desk: NoticeDesk, relay: Relay, *, minutes: int) -> None:
    """A look every two minutes, the first one now."""
    for _ in range(0, minutes, 2):
        await desk.round(relay, mails_per_hour=LIMIT)
        desk.pass_time(minutes=2)


def flood(desk: NoticeDesk, count: int, *, code: str = "pgp.corrupt") -> None:
    """So many bad uploads at once, each with two notices, written as enqueuing writes them."""
    ids = [f"{code}-{number:05}" for number in range(count)]
    with desk.database.write() as connection:
        connection.execute(
            insert(imports),
            [
                {
                    "id": each,
                    "account": ACCOUNT,
                    "manifest": f"bad-{each}.manifest",
                    "state": "failed",
                    "received_at": desk.now,
                    "code": code,
                }
                for each in ids
            ],
        )
        connection.execute(
            insert(notices),
            [
                {
                    "account": ACCOUNT,
                    "import_id": each,
                    "stage": stage,
                    "channel": "mail",
                    "recipient": OPS,
                    "message_id": f"<{each}.{stage}@sealdrop.invalid>",
                    "report": report(id=each, state="failed", code=code, message="It is damaged.").as_json(),
                    "state": "pending",
                    "created_at": desk.now,
                    "next_attempt_at": desk.now,
                }
                for each in ids
                for stage in ("picked_up", "failed")
            ],
        )


async def test_ten_thousand_bad_uploads_are_told_in_a_few_mails_and_one_digest(desk: NoticeDesk) -> None:
    """FAULTS M3."""
    flood(desk, 9_000)
    flood(desk, 1_000, code="manifest.invalid")
    async with running(Relay()) as relay:
        await rounds(desk, relay, minutes=70)
    told = [one for one in subjects(relay) if "in one" in one]
    assert told == [f"{20_000 - LIMIT:,} mails in one: acme - {10_000 - LIMIT // 2:,} failed"]
    assert len(relay.taken) == LIMIT + 1
    states = Counter(desk.states())
    assert states == {"sent": LIMIT + 1, "folded": 20_000 - LIMIT}
    digest = next(envelope.content for envelope in relay.taken if b"in one" in envelope.content)
    for part in (b"8,995 imports failed", b"1,000 imports failed", b"pgp.corrupt", b"bad-pgp.corrupt-00005"):
        assert part in digest
    assert digest.count(b"bad-pgp") == 2 * LIMIT  # at most some names, in text and HTML
    assert len(digest) < 20_000


async def test_no_hour_has_more_mails_than_the_setting_while_a_flood_goes_on(desk: NoticeDesk) -> None:
    """FAULTS M3: succeeded ones as well; everything is told, one by one or counted."""
    async with running(Relay()) as relay:
        for number in range(24):
            flood(desk, 10, code=f"code.{number}")
            desk.ended(**GOOD)
            await rounds(desk, relay, minutes=10)
        await rounds(desk, relay, minutes=150)
    sent = [one.sent_at for one in desk.all() if one.sent_at is not None]
    assert most_within_an_hour(sent) <= LIMIT
    digests = [one for one in desk.all() if one.stage == "digest"]
    assert 3 <= len(digests) <= 7
    assert most_within_an_hour([digest.created_at for digest in digests]) == 1
    assert set(desk.states()) == {"sent", "folded"}
    folded = Counter(one.digest_id for one in desk.all() if one.state == "folded")
    for digest in digests:
        found = desk.deliveries.get(digest.id)
        assert found is not None
        facts = found[1]
        assert facts["notices"] == folded[digest.id]
        assert facts["notices"] >= facts["succeeded"] + sum(facts["failed"].values()) + facts["underway"]


async def test_next_digest_comes_an_hour_later_though_places_get_free_one_by_one(desk: NoticeDesk) -> None:
    async with running(Relay()) as relay:
        for _ in range(LIMIT):
            desk.ended()
            await rounds(desk, relay, minutes=2)
        flood(desk, 25)
        await rounds(desk, relay, minutes=44)
        assert [one.stage for one in desk.all()].count("digest") == 1
        flood(desk, 3, code="later")
        await rounds(desk, relay, minutes=20)
    assert [one.stage for one in desk.all()].count("digest") == 1
    assert desk.states()[-6:] == ["sent"] * 6


async def test_a_few_mails_too_many_only_wait(desk: NoticeDesk) -> None:
    for _ in range(LIMIT + 3):
        desk.ended()
    async with running(Relay()) as relay:
        await rounds(desk, relay, minutes=58)
        assert len(relay.taken) == LIMIT
        await rounds(desk, relay, minutes=5)
    assert len(relay.taken) == LIMIT + 3
    assert "folded" not in desk.states()


async def test_duplicates_that_were_skipped_are_counted_as_that(desk: NoticeDesk) -> None:
    """FAULTS.md W3: a job that sends everything again is no flood of failures."""
    for _ in range(LIMIT + 15):
        desk.ended(state=State.SKIPPED, code=None)
    async with running(Relay()) as relay:
        await rounds(desk, relay, minutes=70)
    (told,) = [envelope.content for envelope in relay.taken if b"in one" in envelope.content]
    assert b"15 imports skipped, being the same as one before" in told
    assert b"failed" not in told


async def test_each_recipient_gets_one_digest_of_what_was_meant_for_them(tmp_path: Path) -> None:
    desk = NoticeDesk(tmp_path, contacts=(OPS, "dpo@example.com"))
    for number in range(60):
        desk.ended(client_email=OPS if number % 3 else "dpo@example.com")
    async with running(Relay()) as relay:
        await rounds(desk, relay, minutes=58)
        desk.ended()
        await rounds(desk, relay, minutes=150)
    digests = {one.recipient: desk.deliveries.get(one.id) for one in desk.all() if one.stage == "digest"}
    assert set(digests) == {OPS, "dpo@example.com"}
    told = Counter(one.recipient for one in desk.all() if one.state == "folded")
    for recipient, found in digests.items():
        assert found is not None
        assert found[1]["notices"] == told[recipient]
    assert most_within_an_hour([one.sent_at for one in desk.all() if one.sent_at is not None]) <= LIMIT
    desk.close()


async def test_addresses_of_an_allowed_domain_share_the_account_s_mails(tmp_path: Path) -> None:
    """FAULTS M2, M3: ten thousand names in an allowed domain get no more mails than one."""
    desk = NoticeDesk(tmp_path, domains=["shop.example"])
    for number in range(60):
        desk.ended(client_email=f"user{number}@shop.example")
    async with running(Relay()) as relay:
        await rounds(desk, relay, minutes=200)
    assert most_within_an_hour([one.sent_at for one in desk.all() if one.sent_at is not None]) <= LIMIT
    desk.close()


async def test_other_accounts_and_notices_about_keys_are_not_held_up(desk: NoticeDesk) -> None:

    desk.accounts.add("other", now=desk.now, actor="test", contact_addresses=["data@other.example"])
    flood(desk, 30)
    new = notices_of_key(KeyStage.DAY_1, desk.account)
    desk.outbox.tell(ACCOUNT, "pair", "id", _key_facts(), new, desk.now)
    other = desk.accounts.get("other")
    assert other is not None
    desk.outbox.tell("other", "pair of other", "id", _key_facts(), notices_of_key(KeyStage.DAY_1, other), desk.now)
    async with running(Relay()) as relay:
        await rounds(desk, relay, minutes=1)
    assert sum("Key" in one for one in subjects(relay)) == 2
    assert len(relay.taken) == LIMIT + 2


def _key_facts() -> dict[str, object]:
    return {
        "key_id": "k", "version": 1, "account": ACCOUNT, "fingerprint": "AB" * 20, "algorithm": "RSA 3072",
        "why": "expires", "ends_at": "2026-11-23T08:04:11Z", "successor": None, "others": [],
    }  # fmt: skip


async def test_flood_while_the_relay_is_down_ends_in_one_digest(desk: NoticeDesk) -> None:
    """FAULTS M3, W7: what was tried and surely not taken is folded as well."""
    flood(desk, 300)
    async with scripted({"connect": "drop"}) as relay:
        await rounds(desk, relay, minutes=180)
        assert not relay.taken
        relay.script = {}
        await rounds(desk, relay, minutes=240)
    assert set(desk.states()) == {"sent", "folded"}
    assert most_within_an_hour([one.sent_at for one in desk.all() if one.sent_at is not None]) <= LIMIT
    assert 1 <= sum(one.stage == "digest" for one in desk.all()) <= 3
    assert len(relay.taken) <= 5 * LIMIT


async def test_what_may_have_arrived_is_never_folded(desk: NoticeDesk) -> None:
    """It is sent again as the same mail, or a reader would be told twice under two names."""
    flood(desk, 100)
    async with scripted({".": "drop"}) as relay:
        await rounds(desk, relay, minutes=1)
        perhaps = {one.id for one in desk.all() if one.perhaps_taken}
        assert len(perhaps) == LIMIT
        relay.script = {}
        desk.pass_time(hours=3)  # now all are due at once
        await rounds(desk, relay, minutes=90)
    assert "folded" in desk.states()
    assert {one.state for one in desk.all() if one.id in perhaps} == {"sent"}
    assert isinstance(relay.taken[0], Envelope)


async def test_there_is_no_digest_of_digests(desk: NoticeDesk) -> None:
    """FAULTS M3: no notice about notices."""
    async with running(Relay(rcpt="451 later")) as relay:
        for _ in range(6):
            flood(desk, 40, code=f"code.{_}")
            await rounds(desk, relay, minutes=61)
        relay.rcpt = "250 OK"
        await rounds(desk, relay, minutes=300)
    digests = [one for one in desk.all() if one.stage == "digest"]
    assert {one.state for one in digests} == {"sent"}
    assert all(one.digest_id is None for one in digests)

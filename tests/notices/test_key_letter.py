from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from ingest.addressees import notices_of_key
from ingest.key_news import KeyNews
from ingest.notices.compose import compose
from ingest.notices.key_letter import write_key_letter
from ingest.notices.notice import Channel, KeyStage, Notice
from tests.notices.desk import NoticeDesk
from tests.notices.relay import Relay, running
from tests.notices.samples import RECEIVED, SENDER
from tests.notices.test_compose import HOSTILE_NAMES

KEY_ID = "ec491319-9823-48cd-b6a1-6bb0bc666d75"
OTHER = "0f6d1d1c-35b6-4b0f-9a5e-7d2f5a1f0b11"
FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
SUCCESSOR = "FEDCBA9876543210FEDCBA9876543210FEDCBA98"


def notice(stage: KeyStage = KeyStage.DAYS_7, *, number: int = 1, days: float = 7, **facts: Any) -> Notice:
    base: dict[str, Any] = {
        "key_id": KEY_ID,
        "version": 1,
        "account": "acme",
        "fingerprint": FINGERPRINT,
        "algorithm": "RSA 3072",
        "why": "expires",
        "ends_at": RECEIVED + timedelta(days=days),
        "successor": None,
        "others": (),
    }
    return Notice(
        id=number,
        account="acme",
        channel=Channel.MAIL,
        stage=stage,
        recipient="ops@example.com",
        message_id=f"<{KEY_ID}.{stage}.{number:016x}@sealdrop.invalid>",
        note=None,
        report=KeyNews(**base | facts).as_json(),
        created_at=RECEIVED,
        attempts=0,
    )


def read(of: Notice) -> EmailMessage:
    mail = message_from_bytes(compose(of, sender=SENDER, now=RECEIVED).as_bytes(), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def bodies(of: Notice) -> list[str]:
    """Text and HTML, each on one line."""
    parts = [read(of).get_body((kind,)) for kind in ("plain", "html")]
    return [" ".join(part.get_content().split()) for part in parts if part is not None]


def test_mail_says_which_key_ends_when_and_what_to_do() -> None:
    mail = read(notice())
    assert mail["Subject"] == "Key expires in 7 days: 89ABCDEF01234567"
    assert mail["X-Sealdrop-Key"] == KEY_ID
    assert "X-Sealdrop-Import" not in mail
    assert mail["Auto-Submitted"] == "auto-generated"
    texts = bodies(notice())
    assert len(texts) == 2
    for text in texts:
        for word in ("in 7 days, on 2026-11-29", KEY_ID, FINGERPRINT, "acme", "What to do next", "Make a new pair"):
            assert word in text


@pytest.mark.parametrize(
    ("days", "left"), [(30, "in 30 days"), (5.2, "in 5 days"), (1, "in 1 day"), (0.3, "within a day")]
)
def test_time_that_is_left_is_told_as_it_is(days: float, left: str) -> None:
    assert write_key_letter(notice(days=days)).subject.startswith(f"Key expires {left}: ")


def test_who_has_a_new_pair_already_is_told_to_use_it() -> None:
    for text in bodies(notice(why="retires", successor=SUCCESSOR, others=(OTHER,))):
        assert SUCCESSOR in text
        assert "Your manifests stay as they are" in text
        assert OTHER not in text
        assert "opened until then, and refused afterwards" in text


def test_who_has_another_key_id_is_told_to_use_that() -> None:
    for text in bodies(notice(why="retires", others=(OTHER,))):
        assert OTHER in text
        assert "put its key ID into your manifests" in text
    for text in bodies(notice(why="retires")):
        assert "Ask whoever runs this service" in text


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("stage", KeyStage)
def test_hostile_facts_add_no_header(stage: KeyStage, name: str) -> None:
    """FAULTS M1, M4: an account or algorithm could never be called so, but a mail does not rely on it."""
    sent = compose(notice(stage, account=name, algorithm=name), sender=SENDER, now=RECEIVED).as_bytes()
    head = sent.partition(b"\r\n\r\n")[0]
    assert b"Bcc" not in head
    assert b"=?" not in head
    assert "<script" not in bodies(notice(stage, account="<script>"))[1]


async def test_mail_about_a_key_is_delivered_like_any_other(desk: NoticeDesk) -> None:
    for stage in (KeyStage.DAYS_7, KeyStage.DAY_1):
        new = notices_of_key(stage, desk.account)
        desk.outbox.tell("acme", f"pair {stage}", KEY_ID, notice(stage).report, new, desk.now)
    async with running(Relay()) as relay:
        assert await desk.round(relay) == 2
    assert [b"Key expires" in envelope.content for envelope in relay.taken] == [True, True]

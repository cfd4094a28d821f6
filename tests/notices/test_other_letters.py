"""Mails about long imports, files that wait, and digests: what they say, and that nothing hostile gets into them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from ingest.digest import Digest
from ingest.file_news import FileNews
from ingest.notices.compose import compose, letter_of
from ingest.notices.errors import DeliveryRefused
from ingest.notices.letter import Tone
from ingest.notices.notice import Channel, DigestStage, FileStage, Notice, Stage
from ingest.notices.webhook import event_of
from tests.notices.samples import RECEIVED, SENDER
from tests.notices.samples import notice as import_notice
from tests.notices.test_compose import HOSTILE_NAMES, Seen


def notice(stage: FileStage | DigestStage, facts: dict[str, Any]) -> Notice:
    return Notice(
        id=1,
        account="acme",
        stage=stage,
        channel=Channel.MAIL,
        recipient="ops@example.com",
        message_id="<acme.1@sealdrop.invalid>",
        note=None,
        report=facts,
        created_at=RECEIVED,
        attempts=0,
    )


def waiting(**facts: Any) -> Notice:
    base: dict[str, Any] = {
        "account": "acme",
        "file": "users.manifest",
        "kind": "manifest",
        "waits_for": "users.csv.asc",
        "since": RECEIVED - timedelta(hours=1),
        "client_email": "ops@example.com",
        "identity": (1, 2, 3),
    }
    return notice(FileStage.WAITING, FileNews(**base | facts).as_json())


def digest(failed: dict[str, int], **facts: Any) -> Notice:
    told = Digest("acme", RECEIVED, RECEIVED + timedelta(hours=1), 30, **facts)
    for code, count in failed.items():
        for number in range(count):
            told.add_failed(f"{code}-{number}.manifest", code)
    return notice(DigestStage.DIGEST, told.as_json())


def part(sent: bytes, kind: str) -> str:
    """The text or the HTML of a mail as it goes over the wire."""
    mail = message_from_bytes(sent, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    found = mail.get_body((kind,))
    assert found is not None
    return str(found.get_content())


def bodies(of: Notice) -> tuple[str, str]:
    """Text, and the text of the HTML, each on one line."""
    sent = compose(of, sender=SENDER, now=RECEIVED).as_bytes()
    return " ".join(part(sent, "plain").split()), " ".join(Seen(part(sent, "html")).text.split())


@pytest.mark.parametrize(
    ("state", "words"),
    [("running", "is being carried out"), ("deferred", "tried again by itself"), ("ready", "waits for its turn")],
)
def test_long_import_is_told_with_how_long_and_why(state: str, words: str) -> None:
    of = replace(
        import_notice(Stage.STILL_RUNNING, state=state, finished_at=None), created_at=RECEIVED + timedelta(hours=4.1)
    )
    letter = letter_of(of)
    assert letter.subject == "Still running: users.manifest - received 4 hours ago"
    assert letter.tone is Tone.NEUTRAL
    assert "Another mail tells you how it ended" in letter.lead
    for body in bodies(of):
        assert words in body
        assert "results/" not in body


def test_duplicate_that_waits_is_told_for_what() -> None:
    """FAULTS.md W3."""
    of = import_notice(Stage.STILL_RUNNING, state="deferred", finished_at=None, duplicate_of="20261122t080410-7")
    for body in bodies(of):
        assert "It is the same as the import 20261122t080410-7, and waits for the end of that one." in body


def test_manifest_that_waits_names_the_file_and_the_remedy() -> None:
    letter = letter_of(waiting())
    assert letter.subject == "Waiting: users.manifest"
    for body in bodies(waiting()):
        for words in ("A manifest waits for its data file", "1 hour", "users.csv.asc", "fileName", "Nothing is lost"):
            assert words in body


def test_data_file_that_waits_names_a_manifest_to_send() -> None:
    for body in bodies(waiting(kind="data", file="users.csv.asc", waits_for=None, client_email=None)):
        for words in ("A data file waits for its manifest", "users.csv.asc", "users.manifest", ".manifest"):
            assert words in body


def test_digest_counts_by_code_and_names_only_some() -> None:
    of = digest({"pgp.corrupt": 9000, "data.header": 12}, notices=9500, succeeded=30, in_part=4, underway=2, waiting=1)
    of.report["skipped"] = 6  # a digest of the version before has no such count
    assert letter_of(of).subject == "9,500 mails in one: acme - 9,012 failed"
    assert letter_of(of).tone is Tone.MIXED
    for body in bodies(of):
        for words in (
            "9,000 imports failed: ",
            "12 imports failed: ",
            "30 imports succeeded, 4 of them with rejected rows",
            "6 imports skipped, being the same as one before",
            "2 imports picked up",
            "1 file waiting",
            "No more than 30 mails an hour",
        ):
            assert words in body
        assert body.count("pgp.corrupt-") == 10
    assert letter_of(digest({}, notices=5, succeeded=5)).remedy == ""


def test_digest_with_many_codes_is_short() -> None:
    of = digest({f"code.{number}": 1 for number in range(500)}, notices=500)
    assert len(letter_of(of).outcomes) == 21
    assert "480 imports failed with other codes" in bodies(of)[0]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_add_no_header_and_no_markup(name: str) -> None:
    """FAULTS M1, M4."""
    marked = f"{name}<script>alert(1)</script>"
    told = Digest("acme", RECEIVED, RECEIVED, 30, notices=2)
    told.add_failed(marked, marked)
    for of in (
        waiting(file=marked, waits_for=marked, account=marked),
        waiting(file=marked, waits_for=None, kind="data"),
        notice(DigestStage.DIGEST, told.as_json() | {"account": marked}),
        replace(import_notice(Stage.STILL_RUNNING, manifest=marked, state=marked), created_at=RECEIVED),
    ):
        sent = compose(of, sender=SENDER, now=RECEIVED).as_bytes()
        head = sent.partition(b"\r\n\r\n")[0]
        assert b"\r\nBcc" not in head
        assert b"=?" not in head
        mail = message_from_bytes(sent, policy=policy.default)
        assert mail["To"] == "ops@example.com"
        assert "script" not in Seen(part(sent, "html")).tags
        assert mail["Auto-Submitted"] == "auto-generated"


def test_events_of_a_webhook_have_stable_types() -> None:
    assert [event_of(import_notice(stage)).type for stage in Stage] == [
        "import.picked_up",
        "import.still_running",
        "import.succeeded",
        "import.failed",
        "import.skipped",
    ]
    assert event_of(waiting()).type == "file.waiting"
    with pytest.raises(DeliveryRefused):
        event_of(digest({}, notices=1))

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.notices.compose import compose
from ingest.notices.errors import DeliveryRefused
from ingest.notices.notice import Notice, Stage
from ingest.report import RejectedRow
from tests.notices.samples import ID, RECEIVED, SENDER, notice, rejects

HEADERS = [
    "Subject",
    "From",
    "To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "X-Sealdrop-Import",
    "MIME-Version",
    "Content-Type",
]
HOSTILE_NAMES = [
    "x\r\nBcc: a@b.example",
    "x\nBcc: a@b.example\n\nbody",
    "x\rBcc: a@b.example",
    "x\u2028Bcc: a@b.example",
    "=?utf-8?q?x=0D=0ABcc:a=40b.example?=",
    "=?utf-8?b?eA0KQmNjOiBhQGIuZXhhbXBsZQ==?=",
    "x\0y",
    "ünïcödé",
    "a" * 10_000,
    "\u202egpj.manifest",
    "",
]


def wire(of: Notice) -> bytes:
    """What is handed to the relay."""
    return compose(of, sender=SENDER, now=RECEIVED).as_bytes()


def read(of: Notice) -> EmailMessage:
    mail = message_from_bytes(wire(of), policy=policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def body(of: Notice, kind: str) -> str:
    part = read(of).get_body((kind,))
    assert part is not None
    return str(part.get_content())


class Seen(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_headers_are_ours(sent: bytes) -> None:
    mail = message_from_bytes(sent, policy=policy.default)
    assert mail.keys() == HEADERS
    assert mail["To"] == "ops@example.com"
    head = sent.partition(b"\r\n\r\n")[0]
    assert b"=?" not in head
    assert re.fullmatch(rb"(?:[\x20-\x7e]{1,998}\r\n)*[\x20-\x7e]{1,998}", head)


def test_headers_are_complete() -> None:
    mail = read(notice(rows_read=1000, rows_stored=998, rows_rejected=2, rejects=rejects(2)))
    assert mail.keys() == HEADERS
    assert mail["Subject"] == "Imported: users.manifest - 998 rows stored, 2 rejected"
    assert mail["From"] == SENDER
    assert mail["Date"] == "Sun, 22 Nov 2026 08:04:11 +0000"
    assert mail["Message-ID"] == f"<{ID}.succeeded.0000000000000001@sealdrop.invalid>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Sealdrop-Import"] == ID
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]


def test_same_notice_has_the_same_message_id() -> None:
    """FAULTS W7: a mail that is sent twice after a crash is known as the same mail."""
    assert read(notice())["Message-ID"] == read(notice())["Message-ID"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("stage", Stage)
def test_hostile_names_add_no_header(stage: Stage, name: str) -> None:
    """FAULTS M1: raw CR/LF and encoded words in names, columns and messages."""
    assert_headers_are_ours(
        wire(
            notice(
                stage,
                id=f"{ID}{name[:20]}",
                manifest=name,
                data_file=name,
                account=name,
                column=name,
                message=f'The column "{name}" is missing.',
                remedy=name,
                note=name,
                reject_file=name,
                rows_rejected=1,
                rejects=(RejectedRow(1, name, 601, name),),
            )
        )
    )


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_name_and_message_keep_the_headers(name: str, message: str) -> None:
    """FAULTS M1."""
    sent = wire(notice(Stage.FAILED, state="failed", manifest=name, message=message))
    assert_headers_are_ours(sent)
    assert len(message_from_bytes(sent, policy=policy.default)["Subject"]) < 200


@settings(max_examples=100, deadline=None)
@given(st.from_regex(r"[A-Za-z0-9_()+@][A-Za-z0-9 ._()+@-]{0,62}[A-Za-z0-9_]", fullmatch=True))
def test_allowed_name_stands_in_the_subject_as_it_is(name: str) -> None:
    assert read(notice(Stage.PICKED_UP, manifest=name))["Subject"] == f"Picked up: {' '.join(name.split())}"


@pytest.mark.parametrize(
    "recipient", ["a@x.example, b@y.example", "ops@example.com\r\nBcc: eve@example.net", "Eve <e@x.example>"]
)
def test_recipient_that_is_not_one_plain_address_is_refused(recipient: str) -> None:
    """FAULTS M2."""
    with pytest.raises(DeliveryRefused):
        compose(notice(recipient=recipient), sender=SENDER, now=RECEIVED)


@pytest.mark.parametrize(
    "text", ["x\n.\r\nMAIL FROM:<eve@example.net>", "x\r\n.\nRCPT TO:<eve@example.net>", "x\r.\rQUIT"]
)
def test_no_bare_line_feed_or_return_is_sent(text: str) -> None:
    """FAULTS M4: what one server takes for the end of a mail and another does not."""
    sent = wire(notice(Stage.FAILED, state="failed", message=text, remedy=text, note=text, manifest=text))
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", sent) is None
    assert max(map(len, sent.split(b"\r\n"))) <= 998


def test_names_and_reasons_are_escaped_in_html() -> None:
    """FAULTS M4: everything escaped."""
    bad = "<script>alert(1)</script><img src=x onerror=y>\"'&`<b>`"
    page = body(
        notice(
            Stage.FAILED,
            state="failed",
            manifest=bad,
            data_file=bad,
            account=bad,
            code=bad,
            column=bad,
            message=f"{bad}\n- {bad}",
            remedy=bad,
            note=bad,
            reject_file=bad,
            rows_read=1,
            rows_rejected=1,
            rejects=(RejectedRow(1, bad, 601, bad),),
        ),
        "html",
    )
    seen = Seen(page)
    assert not {"script", "img", "b"} & set(seen.tags)
    assert "onerror" not in dict(seen.attributes)
    assert "<script>alert(1)</script>" in seen.text


def test_html_loads_nothing_remote() -> None:
    page = body(notice(rows_read=3, rows_stored=1, rows_rejected=2, rejects=rejects(2)), "html")
    seen = Seen(page)
    assert not {"link", "img", "script", "style", "iframe", "a"} & set(seen.tags)
    assert not {"src", "href", "background"} & {name for name, _ in seen.attributes}
    assert "url(" not in page


def test_controls_and_long_names_are_not_shown_raw() -> None:
    """FAULTS M4: no raw file name, at most 64 characters."""
    text = body(notice(manifest="\x1b[31m\u202e" + "n" * 500), "plain")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "n" * 64 not in text.partition("In your SFTP home")[0]


def test_text_is_wrapped() -> None:
    facts: dict[str, Any] = {
        "message": "The manifest has 2 problems:\n- " + "many words " * 30 + "\n- " + "few words",
        "remedy": "Correct the manifest. " * 12,
        "note": "You get this mail because " * 6,
    }
    text = body(
        notice(Stage.FAILED, state="failed", rows_read=20, rows_rejected=15, rejects=rejects(15), **facts), "plain"
    )
    assert all(len(line) <= 78 or "results/" in line for line in text.splitlines())


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_both_versions_say_the_same(kind: str) -> None:
    of = notice(
        Stage.FAILED,
        state="failed",
        code="data.too_many_errors",
        message="13 rows were rejected.",
        remedy="Correct the rows.",
        rows_read=500,
        rows_rejected=13,
        rejects=rejects(13),
        note="You get this mail as a contact.",
    )
    text = body(of, kind) if kind == "plain" else Seen(body(of, kind)).text
    for part in (
        "Nothing was stored",
        "13 rows were rejected.",
        "Correct the rows.",
        "price",
        "601",
        "not a whole number in 64 bits",
        "and 3 more",
        f"results/users.manifest.{ID}.json",
        "users.csv.asc",
        "acme",
        ID,
        "2026-11-22 08:04:11 UTC",
        "2.4 seconds",
        "You get this mail as a contact.",
    ):
        assert part in text, part


@pytest.mark.parametrize("length", range(40, 65))
def test_subject_stands_on_its_own_line(length: int) -> None:
    """A line of 78 would be folded right after `Subject:`, and some readers then show a blank in front."""
    headers = wire(notice(Stage.FAILED, manifest="m" * length, message="The column is missing.")).split(b"\r\n\r\n")[0]
    assert b"\r\n " not in headers.split(b"Content-Type")[0]

from __future__ import annotations

import ssl
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from ingest.notices.compose import compose
from ingest.notices.errors import DeliveryDeferred, DeliveryRefused
from ingest.notices.mailer import Mailer
from ingest.notices.notice import Stage
from ingest.notices.settings import MailSettings
from tests.notices.certificates import Authority
from tests.notices.relay import HOST, Relay, running
from tests.notices.samples import RECEIVED, SENDER, notice
from tests.notices.scripted import scripted

TO = "ops@example.com"


def mailer(relay: Relay, **changed: Any) -> Mailer:
    return Mailer(MailSettings(**{"host": HOST, "port": relay.port, "security": "none", "timeout_s": 5} | changed))


async def send(by: Mailer, **facts: Any) -> int:
    return await by.send(compose(notice(Stage.FAILED, **facts), sender=SENDER, now=RECEIVED), TO)


async def test_mail_is_taken_once_for_one_recipient() -> None:
    async with running(Relay()) as relay:
        await send(mailer(relay), message="Wrong.")
    (envelope,) = relay.taken
    assert envelope.mail_from == "sealdrop@example.org"
    assert envelope.rcpt_tos == [TO]
    assert message_from_bytes(envelope.content, policy=policy.default)["To"] == TO


async def test_end_of_mail_in_a_text_is_only_text() -> None:
    r"""FAULTS M4: ``\n.\r\nMAIL FROM`` smuggles no second mail."""
    smuggled = "Wrong.\n.\r\nMAIL FROM:<eve@example.net>\r\nRCPT TO:<eve@example.net>\r\nDATA\r\nSubject: hi\r\n.\r\n"
    async with running(Relay()) as relay:
        await send(mailer(relay), message=smuggled, note=smuggled)
    (envelope,) = relay.taken
    assert envelope.rcpt_tos == [TO]
    mail = message_from_bytes(envelope.content, policy=policy.SMTP)
    (text, _) = mail.iter_parts()
    assert "MAIL FROM:<eve@example.net>" in text.get_content()
    assert "\n.\n" in text.get_content().replace("\r\n", "\n")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


def how(security: str, context: ssl.SSLContext) -> dict[str, ssl.SSLContext]:
    return {"starttls": context} if security == "starttls" else {"tls": context}


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_certificate_with_a_chain_to_an_authority_of_ca_file_is_trusted(
    authority: Authority, security: str
) -> None:
    """STARTTLS, and TLS from the first byte."""
    async with running(Relay(), **how(security, authority.server(HOST))) as relay:
        await send(mailer(relay, security=security, ca_file=authority.file))
    assert len(relay.taken) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_certificate_that_nobody_vouches_for_is_not_trusted(
    authority: Authority, tmp_path: Path, security: str
) -> None:
    """FAULTS M4, W7: TLS with a certificate check; a failure defers."""
    stranger = Authority(tmp_path / "other")
    async with running(Relay(), **how(security, authority.server(HOST))) as relay:
        for ca_file in (None, stranger.file):
            with pytest.raises(DeliveryDeferred, match="certificate"):
                await send(mailer(relay, security=security, ca_file=ca_file))
    assert not relay.taken


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(("host", "days"), [("192.0.2.1", 1), ("relay.test", 1), (HOST, -1)])
async def test_certificate_for_another_host_or_an_expired_one_is_not_trusted(
    authority: Authority, security: str, host: str, days: int
) -> None:
    """FAULTS M4, W7."""
    async with running(Relay(), **how(security, authority.server(host, days=days))) as relay:
        with pytest.raises(DeliveryDeferred, match="certificate"):
            await send(mailer(relay, security=security, ca_file=authority.file))
    assert not relay.taken


async def test_relay_without_starttls_gets_nothing() -> None:
    """FAULTS M4: TLS required."""
    async with running(Relay()) as relay:
        with pytest.raises(DeliveryDeferred):
            await send(mailer(relay, security="starttls"))
    assert not relay.taken


async def test_login_with_the_password_of_the_file(authority: Authority, tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("correct horse\n")
    login = {"username": "sealdrop", "password_file": password_file, "ca_file": authority.file, "security": "starttls"}
    async with running(Relay(password=b"correct horse"), starttls=authority.server(HOST)) as relay:
        await send(mailer(relay, **login))
        password_file.write_text("wrong horse")
        with pytest.raises(DeliveryDeferred, match="login") as caught:
            await send(mailer(relay, **login))
    assert len(relay.taken) == 1
    assert "horse" not in caught.value.public + caught.value.detail


async def test_password_is_not_sent_without_tls(tmp_path: Path) -> None:
    """FAULTS M4."""
    password_file = tmp_path / "password"
    password_file.write_text("secret")
    async with running(Relay()) as relay:
        with pytest.raises(DeliveryDeferred, match="without TLS"):
            await send(mailer(relay, username="sealdrop", password_file=password_file))
    assert not relay.taken


async def test_missing_files_defer(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for changed in ({"ca_file": missing}, {"username": "sealdrop", "password_file": missing}):
        with pytest.raises(DeliveryDeferred, match="cannot be read"):
            await send(mailer(Relay(port=9), security="tls", **changed))


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"rcpt": "451 4.7.1 greylisted, come back later"}, DeliveryDeferred),
        ({"rcpt": "550 5.1.1 no such user"}, DeliveryRefused),
        ({"data": "452 4.3.1 disk full"}, DeliveryDeferred),
        ({"data": "554 5.7.1 looks like spam"}, DeliveryRefused),
        ({"mail": "451 4.3.0 try again"}, DeliveryDeferred),
        ({"mail": "553 5.7.1 not your address"}, DeliveryDeferred),
    ],
)
async def test_answers_of_the_relay(answers: dict[str, str], error: type[DeliveryDeferred | DeliveryRefused]) -> None:
    """FAULTS W7: 4xx waits; 5xx ends it only when it is about the recipient or the mail, not about us."""
    async with running(Relay(**answers)) as relay:  # type: ignore[arg-type]  # only answers, all text
        with pytest.raises(error) as caught:
            await send(mailer(relay))
    assert not relay.taken
    (answer,) = answers.values()
    assert answer[:3] in caught.value.public
    assert answer[4:] not in caught.value.public
    assert answer[10:] in caught.value.detail


async def test_relay_that_is_down_defers() -> None:
    """FAULTS W7."""
    async with running(Relay()) as relay:
        pass
    with pytest.raises(DeliveryDeferred, match="cannot be reached"):
        await send(mailer(relay))


@pytest.mark.parametrize("how", ["drop", "hang"])
async def test_trouble_after_the_mail_was_taken_is_no_failure(how: str) -> None:
    """FAULTS W7: a relay that fails at QUIT has the mail; sending it again would double it."""
    async with scripted({"QUIT": how}) as relay:
        assert await send(mailer(relay)) == 250
    assert len(relay.taken) == 1


async def test_bounces_go_to_where_the_settings_say() -> None:
    """FAULTS M3: to nobody, or to an address of their own."""
    senders = []
    for bounces_to in ("", "bounces@example.org", "<>"):
        async with running(Relay()) as relay:
            await send(mailer(relay, bounces_to=bounces_to))
        senders.append(relay.taken[0].mail_from)
    assert senders == ["sealdrop@example.org", "bounces@example.org", "<>"]
    with pytest.raises(ValueError, match="plain mail address"):
        MailSettings(bounces_to="a@x.example, b@y.example")


async def test_recipient_that_is_not_plain_is_not_tried() -> None:
    """FAULTS M2."""
    message = compose(notice(), sender=SENDER, now=RECEIVED)
    async with running(Relay()) as relay:
        with pytest.raises(DeliveryRefused):
            await mailer(relay).send(message, "a@x.example> SIZE=1\r\nRCPT TO:<b@y.example")
    assert not relay.taken

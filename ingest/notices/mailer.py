"""Delivery of one mail to the relay.

TLS is checked against the relay's name and the system's authorities, or those of ``ca_file``; a relay that does not
offer STARTTLS when it should gets no mail, and a login goes over TLS only. The password is read for each delivery,
so that a new one counts at once, and appears in no log and no error.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPStatus,
)

from ingest.notices.compose import compose
from ingest.notices.errors import DeliveryDeferred, DeliveryRefused, DeliveryUnknown
from ingest.notices.notice import Notice
from ingest.notices.recipients import is_plain_address
from ingest.notices.settings import NOWHERE, MailSettings
from keystore.secret import Secret

_STATUSES = range(200, 600)
_GOODBYE_S = 2.0
_MOST_DETAIL_CHARACTERS = 300
_DOT_FIRST = re.compile(rb"^\.", re.MULTILINE)


class Mailer:
    """Sends mails through the relay of ``settings``; holds no connection, and may send several at once."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings

    async def deliver(self, notice: Notice, now: datetime) -> int:
        """Write a notice as a mail and send it; raises as `send`, and ``KeyError`` as `compose`."""
        return await self.send(compose(notice, sender=self._settings.sender, now=now), notice.recipient)

    async def send(self, message: EmailMessage, recipient: str) -> int:
        """Return the status with which the relay has taken the mail for ``recipient``, alone in the envelope.

        Raises `DeliveryRefused` for a 5xx to the recipient or the content (RFC 5321 §4.2.1), `DeliveryUnknown` when
        the relay does not answer to the last byte, `DeliveryDeferred` for all else: no answer in time before that,
        TLS, login, 4xx, a sender that the relay does not let us use.
        """
        if not is_plain_address(recipient):
            raise DeliveryRefused("the recipient is not one plain mail address")
        sender = _envelope_sender(message, self._settings.bounces_to)
        content = message.as_bytes()  # not aiosmtplib's own way, which folds headers by a policy of its own
        client = await asyncio.to_thread(self._client)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await client.connect()
                await client.mail(sender)
                await client.rcpt(recipient)
                await _begin_data(client, content)
            status = await self._end_data(client)
            await _say_goodbye(client)
        except SMTPRecipientRefused as error:
            raise _verdict(error.code, "the recipient", error.message) from error
        except SMTPDataError as error:
            raise _verdict(error.code, "the mail", error.message) from error
        except SMTPAuthenticationError as error:
            # its text is left out: nothing that answers a password is worth the risk of repeating it
            raise DeliveryDeferred(f"the relay refused our login ({error.code})", status=error.code) from None
        except SMTPResponseException as error:
            raise _verdict(error.code, "us", error.message) from error
        except TimeoutError as error:
            raise DeliveryDeferred("the relay did not answer in time") from error
        except (SMTPException, OSError) as error:
            what = "the relay's certificate does not pass" if _is_certificate(error) else "the relay cannot be reached"
            raise DeliveryDeferred(what, detail=str(error)[:_MOST_DETAIL_CHARACTERS]) from error
        finally:
            client.close()
        return status

    async def _end_data(self, client: SMTP) -> int:
        """Send the last byte; the status of the relay's yes. Nobody can tell what no answer means (RFC 1047)."""
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                answer = await client.execute_command(b".", timeout=None)
        except TimeoutError as error:
            raise DeliveryUnknown("the relay did not say in time whether it took the mail") from error
        except (SMTPException, OSError) as error:
            raise DeliveryUnknown(
                "the relay did not say whether it took the mail", detail=str(error)[:_MOST_DETAIL_CHARACTERS]
            ) from error
        if answer.code != SMTPStatus.completed:
            raise SMTPDataError(answer.code, answer.message)
        return answer.code

    def _client(self) -> SMTP:
        settings = self._settings
        login = bool(settings.username)
        if login and settings.security == "none":
            raise DeliveryDeferred("the settings ask for a login without TLS: that would show the password")
        try:
            context = None if settings.security == "none" else ssl.create_default_context(cafile=settings.ca_file)
            password = _read(settings.password_file) if login and settings.password_file else Secret(b"")
        except OSError as error:  # `ssl.SSLError` is one
            raise DeliveryDeferred(
                "the files for the relay's CA or password cannot be read", detail=str(error)
            ) from error
        return SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username if login else None,
            password=password.expose() if login else None,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            tls_context=context,
            timeout=settings.timeout_s,
        )


def _envelope_sender(message: EmailMessage, bounces_to: str) -> str:
    """Where mails that cannot be delivered come back to; empty for nowhere."""
    if bounces_to == NOWHERE:
        return ""
    return bounces_to or str(message["From"].addresses[0].addr_spec)


async def _begin_data(client: SMTP, content: bytes) -> None:
    """Send the mail but for its last line, a dot; lines that begin with one get another (RFC 5321 §4.5.2)."""
    answer = await client.execute_command(b"DATA")
    if answer.code != SMTPStatus.start_input:
        raise SMTPDataError(answer.code, answer.message)
    if not isinstance(client.transport, asyncio.WriteTransport):
        raise SMTPServerDisconnected("the relay has closed the connection")
    client.transport.write(_DOT_FIRST.sub(b"..", content))


def _read(file: Path) -> Secret:
    return Secret(file.read_bytes().rstrip(b"\r\n"))


async def _say_goodbye(client: SMTP) -> None:
    """QUIT; whatever becomes of it, the mail has been taken."""
    with contextlib.suppress(SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_S):
            await client.quit()


def _verdict(code: int, what: str, words: str) -> DeliveryDeferred | DeliveryRefused:
    detail = words[:_MOST_DETAIL_CHARACTERS]
    if code not in _STATUSES:
        return DeliveryDeferred("the relay said something that is no SMTP", detail=detail)
    if what == "us":  # nothing about this mail: another try may work
        return DeliveryDeferred(f"the relay refused us ({code})", detail=detail, status=code)
    if code >= 500:
        return DeliveryRefused(f"the relay refused {what} for good ({code})", detail=detail, status=code)
    return DeliveryDeferred(f"the relay did not take {what} for now ({code})", detail=detail, status=code)


def _is_certificate(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False

"""Delivery of one mail to the relay.

TLS is checked against the relay's name and the system's authorities, or those of ``ca_file``; a relay that does not
offer STARTTLS when it should gets no mail, and a login goes over TLS only. The password is read for each delivery,
so that a new one counts at once, and appears in no log and no error.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from email.message import EmailMessage
from pathlib import Path

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
)

from ingest.notices.errors import DeliveryDeferred, DeliveryRefused
from ingest.notices.recipients import is_plain_address
from ingest.settings import MailSettings
from keystore.secret import Secret

_GOODBYE_S = 2.0
_MOST_DETAIL_CHARACTERS = 300


class Mailer:
    """Sends mails through the relay of ``settings``; holds no connection, and may send several at once."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings

    async def send(self, message: EmailMessage, recipient: str) -> None:
        """Return when the relay has taken the mail for ``recipient``, the only address in the envelope.

        The envelope's sender is the address in From. Raises `DeliveryRefused` for a 5xx to the recipient or the
        content (RFC 5321 §4.2.1), `DeliveryDeferred` for all else: no answer in time, TLS, login, 4xx, a sender that
        the relay does not let us use. A relay that falls silent after the last byte may have taken the mail.
        """
        if not is_plain_address(recipient):
            raise DeliveryRefused("the recipient is not one plain mail address")
        sender = message["From"].addresses[0].addr_spec
        content = message.as_bytes()  # not aiosmtplib's own way, which folds headers by a policy of its own
        client = await asyncio.to_thread(self._client)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await client.connect()
                await client.sendmail(sender, [recipient], content)
            await _say_goodbye(client)
        except SMTPRecipientsRefused as error:
            refusal = error.recipients[0]
            raise _verdict(refusal.code, "the recipient", refusal.message) from error
        except SMTPDataError as error:
            raise _verdict(error.code, "the mail", error.message) from error
        except SMTPAuthenticationError as error:
            # its text is left out: nothing that answers a password is worth the risk of repeating it
            raise DeliveryDeferred(f"the relay refused our login ({error.code})") from None
        except SMTPResponseException as error:
            raise DeliveryDeferred(
                f"the relay refused us ({error.code})", detail=error.message[:_MOST_DETAIL_CHARACTERS]
            ) from error
        except TimeoutError as error:
            raise DeliveryDeferred("the relay did not answer in time") from error
        except (SMTPException, OSError) as error:
            what = "the relay's certificate does not pass" if _is_certificate(error) else "the relay cannot be reached"
            raise DeliveryDeferred(what, detail=str(error)[:_MOST_DETAIL_CHARACTERS]) from error
        finally:
            client.close()

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


def _read(file: Path) -> Secret:
    return Secret(file.read_bytes().rstrip(b"\r\n"))


async def _say_goodbye(client: SMTP) -> None:
    """QUIT; whatever becomes of it, the mail has been taken."""
    with contextlib.suppress(SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_S):
            await client.quit()


def _verdict(code: int, what: str, words: str) -> DeliveryDeferred | DeliveryRefused:
    detail = words[:_MOST_DETAIL_CHARACTERS]
    if 500 <= code < 600:
        return DeliveryRefused(f"the relay refused {what} for good ({code})", detail=detail)
    return DeliveryDeferred(f"the relay did not take {what} for now ({code})", detail=detail)


def _is_certificate(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False

"""A real SMTP server that keeps what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


class Mailbox:
    """An SMTP server on a free loopback port; ``mails`` are in the order of arrival."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._arrived = asyncio.Condition()

    async def open(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, loop=loop, enable_SMTPUTF8=True), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def wait_for(self, wanted: Callable[[EmailMessage], bool], timeout_s: float) -> EmailMessage:
        """The first mail that fits, waiting for it. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout_s), self._arrived:
            while (found := next(filter(wanted, self.mails), None)) is None:
                await self._arrived.wait()
            return found

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        """Keep a mail; called by aiosmtpd."""
        del server, session
        content: Any = envelope.content
        mail = message_from_bytes(content, policy=policy.default)
        async with self._arrived:
            self.mails.append(mail)
            self._arrived.notify_all()
        return "250 kept"


def text_of(mail: EmailMessage) -> str:
    """The plain text part of a mail."""
    part = mail.get_body(("plain",))
    return "" if part is None else str(part.get_content())

"""A real SMTP server on a free loopback port, on the event loop of the test: nothing outlives the test."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

HOST = "127.0.0.1"


@dataclass
class Relay:
    """What the relay answers, and what it has taken: envelopes of aiosmtpd, in order."""

    mail: str = "250 OK"
    refused: dict[str, str] = field(default_factory=dict)  # answer to RCPT by address
    rcpt: str = "250 OK"
    data: str = "250 OK"
    password: bytes | None = None
    port: int = 0
    taken: list[Any] = field(default_factory=list)

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802  # aiosmtpd finds it by this name
        envelope.mail_from = address
        return self.mail

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802  # as above
        answer = self.refused.get(address, self.rcpt)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # as above
        if self.data.startswith("250"):
            self.taken.append(envelope)
        return self.data

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, login: Any) -> AuthResult:
        good = isinstance(login, LoginPassword) and login.login == b"sealdrop" and login.password == self.password
        return AuthResult(success=good, handled=good)


def message_id(envelope: Any) -> str:
    """The Message-ID of a mail that was taken."""
    content: bytes = envelope.content
    return content.partition(b"Message-ID: ")[2].partition(b"\r\n")[0].decode()


class _Connection(SMTP):
    """One connection that can be waited for: one that outlives the test's loop is a leak, and a warning."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.open = False
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.open = True  # comes again after STARTTLS, and never when the handshake fails from the first byte
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.ended.set()


@contextlib.asynccontextmanager
async def running(
    relay: Relay, *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Relay]:
    """Serve ``relay``; its ``port`` is set."""
    loop = asyncio.get_running_loop()
    connections: list[_Connection] = []

    def connection() -> SMTP:
        new = _Connection(
            relay,
            hostname="relay.test",
            loop=loop,
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=relay.authenticate,
            auth_required=relay.password is not None,
        )
        connections.append(new)
        return new

    server = await loop.create_server(connection, HOST, relay.port, ssl=tls)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await server.wait_closed()
        async with asyncio.timeout(5):
            for each in connections:
                if each.open:
                    await each.ended.wait()
            await asyncio.sleep(0)  # the handlers, cancelled now, end

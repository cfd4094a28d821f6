"""A real SMTP server on a free loopback port, on the event loop of the test: nothing outlives the test."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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


def server_context(folder: Path, address: str = HOST) -> tuple[ssl.SSLContext, Path]:
    """A context with a certificate for ``address`` that signs itself, and the file that a client must trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(exist_ok=True)
    certificate_file, key_file = folder / "relay.crt", folder / "relay.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return context, certificate_file

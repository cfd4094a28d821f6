"""An SMTP server that misbehaves as it is told to, at the step that it is told to; else it says yes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from tests.notices.relay import HOST, Relay

_SLOW_S = 0.1
STEPS = ("connect", "EHLO", "MAIL", "RCPT", "DATA", ".")
"""``connect`` is the greeting, ``.`` the end of a mail."""


@dataclass
class Envelope:
    """A mail that was taken, in what of aiosmtpd's envelope the tests look at."""

    content: bytes
    rcpt_tos: list[str]


@dataclass
class Scripted(Relay):
    """``script`` has for a step what is done instead of saying yes: ``drop``, ``hang``, ``slow``, ``garbage``, or an
    answer.

    A mail counts as taken when its last byte is there and the answer is no refusal: nobody can know better.
    """

    script: Mapping[str, str] = field(default_factory=dict)
    starttls: ssl.SSLContext | None = None
    on_taken: Callable[[], None] = lambda: None


class _Ended(Exception):
    """The session is over."""


class _Session:
    def __init__(self, relay: Scripted, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._relay = relay
        self._reader = reader
        self._writer = writer
        self._recipients: list[str] = []

    async def run(self) -> None:
        await self._say("connect", "220 relay.test ESMTP")
        while line := await self._reader.readline():
            words = line.decode("latin-1").strip()
            command = words[:4].upper()
            if command == "STAR" and self._relay.starttls is not None:
                await self._say("STARTTLS", "220 go")
                await self._writer.start_tls(self._relay.starttls)
            elif command == "DATA":
                await self._say("DATA", "354 go")
                await self._data()
            elif command == "EHLO":
                offers = "250-relay.test\r\n250-STARTTLS\r\n" if self._relay.starttls else "250-relay.test\r\n"
                await self._say("EHLO", f"{offers}250 8BITMIME")
            else:
                if command == "RCPT":
                    self._recipients.append(words.partition("<")[2].partition(">")[0])
                await self._say(command, "221 bye" if command == "QUIT" else "250 yes")

    async def _data(self) -> None:
        lines = []
        while (line := await self._reader.readline()) != b".\r\n":
            if not line:
                return
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        if self._relay.script.get(".", "2")[0] not in "45":
            self._relay.taken.append(Envelope(b"".join(lines), self._recipients))
            self._relay.on_taken()
        await self._say(".", "250 taken")

    async def _say(self, step: str, answer: str) -> None:
        told = self._relay.script.get(step, self._relay.script.get("EHLO") if step == "HELO" else None)
        if told == "drop":
            raise _Ended
        if told == "hang":
            await self._reader.read()
            raise _Ended
        if told == "slow":
            await asyncio.sleep(_SLOW_S)
            told = None
        answer = "\x00\xff what? \x1b[31m" if told == "garbage" else told or answer
        self._writer.write(answer.encode("latin-1") + b"\r\n")
        await self._writer.drain()
        if told is not None and told.startswith("421"):
            raise _Ended


@contextlib.asynccontextmanager
async def scripted(
    script: Mapping[str, str] | None = None,
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Scripted]:
    """Serve; its ``port`` is set, and its ``script`` may be changed meanwhile."""
    relay = Scripted(script=script or {}, starttls=starttls)
    ended: list[asyncio.Event] = []

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(end := asyncio.Event())
        with contextlib.suppress(_Ended, ConnectionError, ssl.SSLError):
            await _Session(relay, reader, writer).run()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
        end.set()

    async with await asyncio.start_server(session, HOST, 0, ssl=tls) as server:
        relay.port = server.sockets[0].getsockname()[1]
        yield relay
        async with asyncio.timeout(10):
            for end in ended:
                await end.wait()

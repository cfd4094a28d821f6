"""A TCP proxy before a PostgreSQL server that cuts a connection at a chosen message of its client (FAULTS.md W5, W6).

It understands of the protocol (PostgreSQL's manual, «Message Formats») what a client's messages need: a type, a length,
and the text of Query and Parse. A message is forwarded whole or not at all, so the server has it, or has it not.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from enum import StrEnum

from sqlalchemy.engine import make_url

from tests.support.postgres import Postgres
from tests.support.served import LoopThread

_ASKS_FOR_ENCRYPTION = (80877103, 80877104)  # SSLRequest, GSSENCRequest
_READ_AT_ONCE = 1 << 16


class Cut(StrEnum):
    """Where a connection is cut, on both sides."""

    BEFORE_COMMIT = "before COMMIT is forwarded"
    AFTER_COMMIT = "after the commit was made, before its answer is forwarded"
    STATEMENT = "at a statement, which is not forwarded: by a reset"


class CutPostgres:
    """The proxy, in a thread of its own; ``url`` leads through it to the database. `close` it."""

    def __init__(self, server: Postgres, database: str) -> None:
        self._target = f"{server.folder}/.s.PGSQL.5432"
        self._wish: tuple[Cut, int] | None = None
        self._passed = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts = 0
        self._thread = LoopThread()
        self._listener = self._thread.run(self._listen())
        port = self._listener.sockets[0].getsockname()[1]
        self.url = make_url(server.url(database)).set(host="127.0.0.1", port=port, query={}).render_as_string()

    @contextlib.contextmanager
    def cutting(self, cut: Cut, number: int = 1) -> Iterator[None]:
        """In the block the ``number``-th commit, or statement, is cut, and none after it."""
        self._passed, self._wish = 0, (cut, number)
        try:
            yield
        finally:
            self._wish = None

    def close(self) -> None:
        self._thread.run(self._end())
        self._thread.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _end(self) -> None:
        self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        server, to_server = await asyncio.open_unix_connection(self._target)
        answers = asyncio.create_task(_copy(server, to_client))
        try:
            await self._forward(client, to_client, to_server, answers)
            if answers.cancelled():  # the commit was forwarded, and nobody hears of it
                await server.read(_READ_AT_ONCE)
            _reset(to_client)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass  # one of the two has left, or the proxy ends
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            to_server.close()
            to_client.close()

    async def _forward(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        to_server: asyncio.StreamWriter,
        answers: asyncio.Task[None],
    ) -> None:
        """Forward messages until one is where the connection is to be cut."""
        to_server.write(await _startup(client, to_client))
        while True:
            kind, length = await client.readexactly(1), await client.readexactly(4)
            body = await client.readexactly(struct.unpack("!I", length)[0] - 4)
            cut = self._cut_at(kind, body)
            if cut is Cut.AFTER_COMMIT:
                answers.cancel()
                await asyncio.gather(answers, return_exceptions=True)
            if cut in (None, Cut.AFTER_COMMIT):
                to_server.write(kind + length + body)
                await to_server.drain()
            if cut is not None:
                self.cuts += 1
                return

    def _cut_at(self, kind: bytes, body: bytes) -> Cut | None:
        """What is to be done at this message."""
        if self._wish is None:
            return None
        cut, number = self._wish
        wanted = kind in b"QB" if cut is Cut.STATEMENT else _text(kind, body).strip().upper() == b"COMMIT"
        self._passed += wanted
        return cut if wanted and self._passed == number else None


def _text(kind: bytes, body: bytes) -> bytes:
    """The statement of a Query, or of a Parse, which has a name before it."""
    fields = body.split(b"\0")
    return {b"Q": fields[0], b"P": fields[min(1, len(fields) - 1)]}.get(kind, b"")


async def _startup(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> bytes:
    """The first message, which has no type; a client that asks for encryption first is told that there is none."""
    while True:
        head = await client.readexactly(8)
        length, code = struct.unpack("!II", head)
        if code not in _ASKS_FOR_ENCRYPTION:
            return head + await client.readexactly(length - 8)
        to_client.write(b"N")


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_READ_AT_ONCE):
            target.write(data)
            await target.drain()
    target.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection without a word: what was written and not sent is lost."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

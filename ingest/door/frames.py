"""The requests of one SFTP session, cut out of the bytes of its channel (draft-ietf-secsh-filexfer-02 §3).

What has arrived and was not asked for yet is bounded: beyond it the channel's window is not opened again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncssh import SFTPBadMessage
from asyncssh.sftp import MAX_SFTP_PACKET_LEN

_LENGTH_BYTES = 4


class Frames:
    """Takes bytes as they come, gives whole packets in order; ``pause`` and ``resume`` hold the bytes back."""

    def __init__(self, *, most_bytes: int, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._most_bytes = most_bytes
        self._pause = pause
        self._resume = resume
        self._held = bytearray()
        self._start = 0  # what lies before it has been given away
        self._paused = False
        self._end: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        """More bytes have come."""
        if self._start == len(self._held):
            self._held = bytearray(data)
            self._start = 0
        else:
            self._held += data
        if not self._paused and len(self._held) - self._start >= self._most_bytes:
            self._paused = True
            self._pause()
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        """No more bytes will come; the first ``error`` counts."""
        if self._end is None:
            self._end = error or EOFError("the client has ended the session")
        self._wake()

    async def next(self) -> bytes:
        """The next packet, without its length.

        Raises ``SFTPBadMessage`` when it is longer than any may be; and when all whole packets have been given and no
        more bytes will come, what ended them.
        """
        while True:
            start = self._start + _LENGTH_BYTES
            length = int.from_bytes(self._held[self._start : start], "big")
            if length > MAX_SFTP_PACKET_LEN:
                raise SFTPBadMessage("This request is too long.")
            if start + length <= len(self._held):
                self._start = start + length
                return self._cut(start, start + length)
            if self._end is not None:
                raise self._end
            await self._more()

    def _cut(self, start: int, end: int) -> bytes:
        packet = bytes(memoryview(self._held)[start:end])
        left = len(self._held) - end
        if left < end:  # so that what was given away is moved over less than once for each byte
            del self._held[:end]
            self._start = 0
        if self._paused and left < self._most_bytes:
            self._paused = False
            self._resume()
        return packet

    async def _more(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

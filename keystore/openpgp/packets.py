"""Packet framing: headers, lengths and bodies as a stream (RFC 9580 §4.2).

Nothing here trusts a length: a body is handed out in blocks as they arrive, so a packet that claims four gigabytes
costs no more memory than one that claims four bytes (FAULTS.md P22). The errors are internal; whoever reads the
outermost packets turns them into public ones, whoever reads decrypted packets into `Corrupt`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Block = bytes | memoryview

# RFC 9580 §5: packet type IDs; 20 is GnuPG's OCB packet (LibrePGP, reserved in RFC 9580)
PKESK, SIGNATURE, SKESK, ONE_PASS = 1, 2, 3, 4
COMPRESSED, SED, MARKER, LITERAL = 8, 9, 10, 11
SEIPD, OCB, PADDING = 18, 20, 21
NON_CRITICAL = 40  # and up: an unknown packet of these types is passed over (RFC 9580 §4.3)
KEY_MATERIAL = frozenset({5, 6, 7, 12, 13, 14, 17})
_STREAMED = frozenset({COMPRESSED, SED, LITERAL, SEIPD, OCB})

_BLOCK_BYTES = 1 << 18


class FramingError(Exception):
    """The bytes break a rule of the packet syntax."""


class EndedEarly(FramingError):
    """The bytes end before the packet does."""


class Feed:
    """Bytes that arrive in blocks, taken in pieces; never holds more than one block."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self._view = memoryview(b"")
        self._at = 0

    def at_end(self) -> bool:
        """Whether no byte is left; reads the next block when the current one is used up."""
        while self._at >= len(self._view):
            block = next(self._blocks, None)
            if block is None:
                return True
            self._view, self._at = memoryview(block), 0
        return False

    def some(self, limit: int) -> memoryview:
        """From 1 to ``limit`` bytes without a copy; empty at the end."""
        if self.at_end():
            return memoryview(b"")
        piece = self._view[self._at : self._at + limit]
        self._at += len(piece)
        return piece

    def upto(self, count: int) -> bytes:
        """``count`` bytes, fewer only at the end."""
        pieces = []
        while count and (piece := self.some(count)):
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes. Raises `EndedEarly`."""
        data = self.upto(count)
        if len(data) < count:
            raise EndedEarly("the data ends inside a packet")
        return data

    def octet(self) -> int:
        """The next byte as a number. Raises `EndedEarly`."""
        if self.at_end():
            raise EndedEarly("the data ends inside a packet header")
        value = self._view[self._at]
        self._at += 1
        return value

    def rest(self) -> Iterator[memoryview]:
        """All that is left, block by block."""
        while piece := self.some(_BLOCK_BYTES):
            yield piece

    def window(self) -> tuple[memoryview, int]:
        """The current block and the position in it; the block is empty at the end."""
        return (memoryview(b""), 0) if self.at_end() else (self._view, self._at)

    def advance(self, at: int) -> None:
        """Go to position ``at`` of the block that `window` returned."""
        self._at = at


@dataclass(frozen=True, slots=True)
class Header:
    """A packet's type ID and what is known of its length."""

    tag: int
    length: int | None  # of the body, or of its first part; `None` = up to the end of the data
    partial: bool  # more parts follow


def read_header(feed: Feed) -> Header:
    """The next packet's header. Raises `FramingError` for what no packet may begin with, `EndedEarly`."""
    first = feed.octet()
    if not first & 0x80:
        raise FramingError("a packet does not begin with bit 7 set")
    if first & 0x40:
        tag = first & 0x3F
        length, partial = _new_length(feed)
        header = Header(tag, length, partial)
    else:
        # RFC 9580 §4.2.2: legacy format; length type 3 is indeterminate
        tag, size = (first >> 2) & 0x0F, first & 0x03
        header = Header(tag, None if size == 3 else int.from_bytes(feed.take(1 << size)), partial=False)
    if header.tag == 0:
        raise FramingError("packet type 0 is reserved")
    if (header.partial or header.length is None) and header.tag not in _STREAMED:
        raise FramingError(f"packet type {header.tag} has no definite length")
    # RFC 9580 §4.2.1.4: the first partial length is at least 512 octets
    if header.partial and header.length is not None and header.length < 512:
        raise FramingError("the first partial length is below 512")
    return header


def _new_length(feed: Feed) -> tuple[int, bool]:
    """A length of RFC 9580 §4.2.1, and whether it is a partial one."""
    first = feed.octet()
    if first < 192:
        return first, False
    if first < 224:
        return ((first - 192) << 8) + feed.octet() + 192, False
    if first == 255:
        return int.from_bytes(feed.take(4)), False
    return 1 << (first & 0x1F), True


def body(feed: Feed, header: Header) -> Iterator[Block]:
    """The packet's body in blocks; read it to its end before the next header. Raises `EndedEarly`."""
    if header.length is None:
        yield from feed.rest()
        return
    if header.partial:
        yield from _partial_body(feed, header.length)
        return
    left = header.length
    while left:
        piece = feed.some(min(left, _BLOCK_BYTES))
        if not piece:
            raise EndedEarly(f"the data ends {left} bytes before packet type {header.tag} does")
        left -= len(piece)
        yield piece


def _partial_body(feed: Feed, left: int) -> Iterator[Block]:
    """A body in parts, joined for each block of the feed: gpg writes parts of only 8 KiB, so this loop is hot."""
    partial = True
    while True:
        view, at = feed.window()
        if not view:
            raise EndedEarly("the data ends inside a packet of partial lengths")
        end = len(view)
        pieces = []
        while at < end:
            if left == 0:
                if not partial or not 224 <= view[at] < 255:
                    break
                left = 1 << (view[at] & 0x1F)
                at += 1
            stop = min(at + left, end)
            pieces.append(view[at:stop])
            left -= stop - at
            at = stop
        feed.advance(at)
        if pieces:
            yield b"".join(pieces)
        if left == 0:
            if not partial:
                return
            left, partial = _new_length(feed)
            if left == 0 and not partial:
                return

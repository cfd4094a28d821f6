"""Hashing the document that a signature is over, block by block (RFC 9580 §5.2.1, §5.2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystore.openpgp.packets import Block

if TYPE_CHECKING:
    from hashlib import _Hash


class DocumentHash:
    """A hash over a document as it is (binary signatures), or with its line ends as CRLF (text signatures).

    A line ends with LF or CRLF, as for GnuPG; a CR alone stays what it is. The bytes are hashed in C, where large
    blocks let go of the GIL. Where the blocks end makes no difference.
    """

    def __init__(self, hashing: _Hash, *, is_text: bool) -> None:
        self._hashing = hashing
        self._is_text = is_text
        self._held = b""  # a CR at the end of a block, which may be half of a line end

    def update(self, block: Block) -> None:
        """Hash the next block."""
        if not self._is_text:
            self._hashing.update(block)
            return
        text = self._held + block
        self._held = b"\r" if text.endswith(b"\r") else b""
        if self._held:
            text = text[:-1]
        self._hashing.update(text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    def finished(self) -> _Hash:
        """The hash over the whole document; hash nothing more then."""
        self._hashing.update(self._held)
        self._held = b""
        return self._hashing

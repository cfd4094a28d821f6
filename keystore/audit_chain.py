"""The chain of the audit: each line is bound to the one before it, and to a key that only the vault still knows.

    hash(n)  SHA-256 over hash(n - 1) and the line's parts; anyone can compute it
    MAC(n)   HMAC-SHA-256 over hash(n) under key(n)
    key(n+1) SHA-256 over a label and key(n); then key(n) is overwritten

Who gets hold of the ledger finds the key of the next line only: he can neither write an earlier line anew nor cut the
end off, since the key that would belong there is gone. The first key is sealed in the vault and verifies everything
(forward security: Schneier and Kelsey, «Secure Audit Logs to Support Computer Forensics», 1999; docs/adr/0012).
Where old lines were cut off, an anchor in its place says what the first line that stayed follows, and its key.
This format is for ever: lines are verified as they were written.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field

BEFORE_THE_FIRST = bytes(32)
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a verification begins: after ``line``, whose hash is ``hash``; ``key`` is that of the next line with a MAC.

    An audit that was never cut begins after line 0, and its anchor is the first key alone.
    """

    key: bytes = field(repr=False)
    line: int = 0
    hash: bytes = BEFORE_THE_FIRST

    def to_bytes(self) -> bytes:
        """What is sealed."""
        return self.key + (self.line.to_bytes(8, "big") + self.hash if self.line else b"")

    @classmethod
    def from_bytes(cls, sealed: bytes) -> Anchor:
        """What was sealed; the vault vouches for it."""
        key, line, line_hash = sealed[:_KEY_BYTES], sealed[_KEY_BYTES : _KEY_BYTES + 8], sealed[_KEY_BYTES + 8 :]
        return cls(key, int.from_bytes(line, "big"), line_hash) if line else cls(key)


def next_hash(previous: bytes, parts: tuple[str | None, ...]) -> bytes:
    """The hash of a line whose ``parts`` are these, after a line with the hash ``previous``.

    Each part goes in with its length before it, so that no two lines are the same bytes; ``None`` is no empty text.
    """
    line = hashlib.sha256(previous)
    for part in parts:
        content = b"" if part is None else part.encode()
        line.update(b"\x00" if part is None else b"\x01" + len(content).to_bytes(4, "big"))
        line.update(content)
    return line.digest()


def new_key() -> bytes:
    """A first key."""
    return os.urandom(32)


def next_key(key: bytes) -> bytes:
    """The key of the line after the one that ``key`` belongs to; there is no way back."""
    return hashlib.sha256(b"sealdrop audit key" + key).digest()


def mac_of(key: bytes, line_hash: bytes) -> bytes:
    """The MAC of a line under the key that belongs to it."""
    return hmac.digest(key, line_hash, "sha256")

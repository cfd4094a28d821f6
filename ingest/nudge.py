"""Nudges between a service and its workers: «look into the ledger now», and back «something was settled».

A nudge is a flag, not a message: one that is there already needs no second, so sending never waits. The end of one
side is seen by the other, which is how a worker knows that its service has ended.
"""

from __future__ import annotations

import select
import socket


class Nudges:
    """One end of the line; may be given to a spawned process."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.settimeout(0)

    @classmethod
    def pair(cls) -> tuple[Nudges, Nudges]:
        """Both ends of a new line."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        """The descriptor that is readable when a nudge has come or the other side has ended."""
        return self._line.fileno()

    def send(self) -> None:
        """Nudge the other side; does nothing when it has ended, or has nudges enough."""
        try:
            self._line.send(b".")
        except OSError:
            return

    def take(self) -> bool:
        """Take all nudges that have come, without waiting; ``False`` when the other side has ended."""
        try:
            while taken := self._line.recv(4096):
                if len(taken) < 4096:
                    return True
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def wait(self, timeout_s: float) -> bool:
        """Wait for a nudge at most so long, and take it; ``False`` when the other side has ended."""
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        return self.take() if poll.poll(timeout_s * 1000) else True

    def close(self) -> None:
        """End this side."""
        self._line.close()

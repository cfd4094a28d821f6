"""How many event names an account may have, and which it discards (CONTRACT.md 3, code 528)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from manifests.errors import HeaderMismatch, LimitExceeded
from manifests.names import shown

MAX_EVENT_NAMES = 512
"""Different event names that an account may have."""


class EventNames:
    """The event names of an account while one file is read: those it has, those it discards, and room for new ones.

    ``new`` has the names that this file brought, in the order in which they came, ``stored`` those of them that an
    accepted row has.
    """

    def __init__(
        self, known: Iterable[str] = (), discarded: Iterable[str] = (), *, most: int = MAX_EVENT_NAMES
    ) -> None:
        self.discarded = frozenset(discarded)
        self.new: list[str] = []
        self.stored: set[str] = set()
        self._known = set(known)
        self._most = most

    def unknown(self, names: Sequence[str]) -> list[str]:
        """Those among the names that the account does not have yet."""
        return [name for name in names if name not in self._known]

    def admit(self, unknown: Sequence[str]) -> list[str]:
        """Take unknown names in, in this order, while there is room; returns those for which there is none."""
        room = max(0, self._most - len(self._known))
        self._known.update(unknown[:room])
        self.new += unknown[:room]
        return list(unknown[room:])

    @property
    def unconfirmed(self) -> bool:
        """Whether there is a new name that no accepted row has yet."""
        return len(self.stored) < len(self.new)

    def confirm(self, accepted: Iterable[str]) -> None:
        """Note the names that accepted rows have."""
        self.stored |= set(self.new).intersection(accepted)

    def check_fixed(self, name: str) -> None:
        """Whether all events of a file may have this name.

        Raises `HeaderMismatch` when it is discarded, `LimitExceeded` when there is no room for it.
        """
        if name in self.discarded:
            raise HeaderMismatch(f"Events with the manifest's eventName {shown(name)} are discarded for this account.")
        if self.admit(self.unknown([name])):
            raise LimitExceeded(
                f"The manifest's eventName {shown(name)} would be one more than the {self._most} event names that an "
                "account may have."
            )

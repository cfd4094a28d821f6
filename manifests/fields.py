"""Walking the tree of a manifest: keys to readers of scalars, and every problem collected with its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from manifests.errors import MAX_PROBLEMS_TOLD, Problem
from manifests.names import closest, shown
from manifests.node import Node, Object, Place, Scalar
from manifests.scalars import Refused

T = TypeVar("T")


class Reading:
    """The problems found so far; the order is the order of finding, not of the text."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, path: str, message: str, place: Place | None) -> None:
        """Note one problem."""
        line, column = (place.line, place.column) if place is not None else (None, None)
        self.problems.append(Problem(_printable(path), message, line, column))

    def scalar(self, node: Node, path: str, read: Callable[[Scalar], T]) -> T | None:
        """The value of a scalar by its reader; ``None`` after a problem has been noted."""
        if not isinstance(node, Scalar):
            self.add(path, "must be a single value", node.place)
            return None
        try:
            return read(node)
        except Refused as refused:
            self.add(path, str(refused), node.place)
            return None

    def refuse_doubled(self, node: Object, path: str) -> None:
        """Note a problem for each key that appears again (FAULTS.md D5, D6)."""
        seen: dict[str, Place] = {}
        for member in node.members:
            if (first := seen.setdefault(member.key, member.place)) is not member.place:
                self.add(_joined(path, member.key), f"this key appears twice, first in line {first.line}", member.place)

    def fields(self, node: Object, path: str, known: Sequence[str]) -> Fields:
        """The members of an object that has these keys and no others; notes doubled and unknown ones."""
        self.refuse_doubled(node, path)
        for member in node.members:
            if member.key not in known:
                few = len(self.problems) < MAX_PROBLEMS_TOLD  # of the rest nobody is told, and looking takes time
                near = closest(member.key, known) if few else None
                hint = f", did you mean {near}?" if near is not None else f"; known are {', '.join(known)}"
                self.add(_joined(path, member.key), f"unknown key {shown(member.key)}{hint}", member.place)
        return Fields(node, path, self)


class Fields:
    """The members of one object, by key."""

    def __init__(self, node: Object, path: str, reading: Reading) -> None:
        self._place = node.place
        self._nodes = {member.key: member.value for member in reversed(node.members)}
        self._path = path
        self._reading = reading

    @classmethod
    def empty(cls, path: str, reading: Reading) -> Fields:
        """An object without members and without a place."""
        return cls(Object((), Place(1, 1)), path, reading)

    def has(self, key: str) -> bool:
        """Whether the key is there, whatever its value."""
        return key in self._nodes

    def node(self, key: str) -> Node | None:
        """The value of a key; ``None`` when the key is not there or JSON's null."""
        node = self._nodes.get(key)
        return None if isinstance(node, Scalar) and node.value is None else node

    def optional(self, key: str, read: Callable[[Scalar], T]) -> T | None:
        """The value of a key by its reader; ``None`` when it is not there or wrong."""
        node = self.node(key)
        return None if node is None else self._reading.scalar(node, _joined(self._path, key), read)

    def required(self, key: str, read: Callable[[Scalar], T]) -> T | None:
        """Like `optional`, but a key that is not there is a problem."""
        if self.node(key) is None:
            place = self._nodes[key].place if key in self._nodes else self._place
            self._reading.add(_joined(self._path, key), "this key is required", place)
        return self.optional(key, read)

    def complain(self, key: str, message: str) -> None:
        """Note a problem at the value of a key, or at the object when the key is not there."""
        place = self._nodes[key].place if key in self._nodes else self._place
        self._reading.add(_joined(self._path, key), message, place)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _printable(path: str) -> str:
    cut = path if len(path) <= 160 else path[:159] + "…"
    return "".join(char if char.isprintable() else "?" for char in cut)

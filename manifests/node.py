"""The tree that a manifest is read into, JSON and YAML alike: values that know their place in the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from manifests.errors import Problem

MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the text; ``line`` and ``column`` count from 1, in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value. YAML scalars are always strings and not ``typed``: the reader of a key gives them its type."""

    value: str | int | float | bool | None
    place: Place
    typed: bool


@dataclass(frozen=True, slots=True)
class Array:
    """A list of values in the order of the text."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Member:
    """One key of an object with its value; ``place`` is the key's."""

    key: str
    place: Place
    value: Node


@dataclass(frozen=True, slots=True)
class Object:
    """Keys and values in the order of the text; keys may be doubled here, the reader refuses that."""

    members: tuple[Member, ...]
    place: Place


Node: TypeAlias = Scalar | Array | Object


class Unreadable(Exception):
    """The text is no JSON or YAML that a manifest may be; never leaves this package."""

    def __init__(self, message: str, place: Place | None) -> None:
        super().__init__(message)
        self.problem = Problem(
            "",
            message,
            line=place.line if place is not None else None,
            column=place.column if place is not None else None,
        )

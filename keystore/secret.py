"""A wrapper that keeps secret bytes out of reprs, logs and tracebacks."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Secret bytes that do not print; ``expose()`` is the only way out.

    Compares by identity, cannot be pickled, has no ``__dict__``. Python may copy bytes it holds, so this is hygiene,
    not a wall.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def expose(self) -> bytes:
        """The secret bytes; never put them into a message, a log or a file."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")

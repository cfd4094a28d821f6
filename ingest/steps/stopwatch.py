"""A stopwatch for steps that pull from each other: each step's own time, without that of the steps before it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds by step. Steps nest within a thread: time in an inner one is not counted for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running = threading.local()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block for step ``name``."""
        outer: list[float] | None = getattr(self._running, "inner", None)
        inner = self._running.inner = [0.0]
        start = perf_counter()
        try:
            yield
        finally:
            whole = perf_counter() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + whole - inner[0]
            self._running.inner = outer
            if outer is not None:
                outer[0] += whole

    def timed(self, name: str, items: Iterator[T]) -> Iterator[T]:
        """Hand ``items`` on, and time the making of each for step ``name``."""
        while True:
            with self.step(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def rounded(self) -> dict[str, float]:
        """Seconds by step, to the millisecond."""
        return {name: round(seconds, 3) for name, seconds in self.seconds.items()}

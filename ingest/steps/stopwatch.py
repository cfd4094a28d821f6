"""A stopwatch for steps that pull from each other: each step's own time, without that of the steps before it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TypeVar

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds by step. Steps nest within a thread: time in an inner one is not counted for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = perf_counter()
        self._running = threading.local()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block for step ``name``."""
        own: list[float] = []
        try:
            with self._nested(own):
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + own[0]

    @contextmanager
    def _nested(self, own: list[float]) -> Iterator[None]:
        """Time the block, and append its time without that of the blocks in it to ``own``."""
        outer: list[float] | None = getattr(self._running, "inner", None)
        inner = self._running.inner = [0.0]
        start = perf_counter()
        try:
            yield
        finally:
            whole = perf_counter() - start
            own.append(whole - inner[0])
            self._running.inner = outer
            if outer is not None:
                outer[0] += whole

    def timed(self, name: str, items: Iterator[T]) -> Generator[T, None, None]:
        """Hand ``items`` on, and time the making of each for step ``name``."""
        while True:
            with self.step(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def waiting(self, items: Iterator[T]) -> Iterator[T]:
        """Hand ``items`` on, and count the wait for each for no step: another thread makes them."""
        while True:
            with self._nested([]):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def rounded(self) -> dict[str, float]:
        """Seconds by step to the millisecond, and ``total`` since the start: less than their sum, as steps overlap."""
        seconds = {**self.seconds, "total": perf_counter() - self._start}
        return {name: round(value, 3) for name, value in seconds.items()}

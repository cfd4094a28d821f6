"""Running ahead: a step in a thread of its own, a few items before the step that pulls from it, and no further."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator
from typing import Generic, TypeVar

T = TypeVar("T")


class _End(Generic[T]):
    """The last thing in the queue: how the step ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def ahead(items: Generator[T, None, None], *, most: int, name: str) -> Generator[T, None, None]:
    """The same items, made in a thread called ``name``, at most ``most`` of them before they are asked for.

    An exception of ``items`` is raised here, where its item would have come. Closing this
    closes ``items`` in its thread and waits for that: nothing runs on after a step further down has failed.
    """
    made: queue.Queue[T | _End[T]] = queue.Queue(most)
    stop = threading.Event()

    def run() -> None:
        error: BaseException | None = None
        try:
            with contextlib.closing(items):
                for item in items:
                    made.put(item)
                    if stop.is_set():
                        break
        except BaseException as caught:  # handed on, whatever it is: the puller must not wait for ever
            error = caught
        made.put(_End(error))

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        while thread.is_alive():
            with contextlib.suppress(queue.Empty):  # the thread may wait for room
                made.get_nowait()
            thread.join(0.01)

"""Running ahead in a thread: bounded, closed early, and no error gets lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.steps.ahead import ahead
from tests.support.served import wait_for


class Source:
    """Items, with a record of how far they were drawn and where the generator was closed."""

    def __init__(self, count: int, *, error: BaseException | None = None) -> None:
        self.made = 0
        self.closed_in: str | None = None
        self._count = count
        self._error = error

    def items(self) -> Generator[int, None, None]:
        try:
            for number in range(self._count):
                self.made = number + 1
                yield number
            if self._error is not None:
                raise self._error
        finally:
            self.closed_in = threading.current_thread().name


def running(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 20), most=st.integers(1, 5))
def test_items_come_in_order_and_all_of_them(count: int, most: int) -> None:
    source = Source(count)
    assert list(ahead(source.items(), most=most, name="order")) == list(range(count))
    assert source.closed_in == "order"
    assert not running("order")


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 10), most=st.integers(1, 3))
def test_exception_is_raised_where_its_item_would_have_come(count: int, most: int) -> None:
    drawn: list[int] = []

    def draw() -> None:
        drawn.extend(ahead(Source(count, error=OSError("canary")).items(), most=most, name="failing"))

    with pytest.raises(OSError, match="canary"):
        draw()
    assert drawn == list(range(count))
    assert not running("failing")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError()])
def test_even_what_ends_a_program_is_handed_on(error: BaseException) -> None:
    with pytest.raises(type(error)):
        list(ahead(Source(1, error=error).items(), most=1, name="ending"))


@pytest.mark.parametrize("most", [1, 2, 5])
def test_it_runs_no_further_ahead_than_it_may(most: int) -> None:
    source = Source(100)
    with closing(ahead(source.items(), most=most, name="bounded")) as items:
        next(items)
        wait_for(lambda: True if source.made == most + 2 else None)  # one given, `most` queued, one that waits for room
        time.sleep(0.05)
        assert source.made == most + 2
    assert source.made <= 2 * most + 3


@pytest.mark.parametrize("drawn", [1, 3, 10])
def test_closing_early_closes_the_source_in_its_thread_and_waits_for_it(drawn: int) -> None:
    source = Source(1000)
    items = ahead(source.items(), most=2, name="closing")
    assert [next(items) for _ in range(drawn)] == list(range(drawn))
    items.close()
    assert source.closed_in == "closing"
    assert source.made < 20
    assert not running("closing")


def test_a_step_further_down_that_fails_stops_the_source() -> None:
    source = Source(1000)

    def downstream(items: Iterator[int]) -> None:
        for item in items:
            if item == 2:
                raise LookupError

    with pytest.raises(LookupError), closing(ahead(source.items(), most=2, name="downstream")) as items:
        downstream(items)
    assert source.closed_in == "downstream"
    assert not running("downstream")


def test_nothing_runs_before_the_first_item_is_asked_for() -> None:
    source = Source(3)
    items = ahead(source.items(), most=2, name="lazy")
    assert not running("lazy")
    items.close()
    assert source.made == 0


def test_it_makes_items_while_the_puller_is_busy() -> None:
    asked = threading.Event()

    def items() -> Generator[int, None, None]:
        yield 1
        asked.set()
        yield 2

    with closing(ahead(items(), most=1, name="beside")) as pulled:
        next(pulled)
        assert asked.wait(10)

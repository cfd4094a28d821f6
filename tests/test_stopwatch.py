"""The stopwatch: each step's own time, whoever pulls from it.

A nap lasts at least as long as asked for, and on a busy machine longer: so times are bounded from below by the naps
in a step, and from above by the time that passed outside of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import perf_counter, sleep

import pytest

from ingest.steps.stopwatch import Stopwatch

NAP = 0.02


def napping(count: int) -> Iterator[int]:
    for number in range(count):
        sleep(NAP)
        yield number


def assert_own_times(watch: Stopwatch, started: float, naps: dict[str, int]) -> None:
    """Each step has its own naps, and no time is counted twice."""
    elapsed = perf_counter() - started
    assert watch.seconds.keys() == naps.keys()
    for step, count in naps.items():
        assert count * NAP <= watch.seconds[step] <= elapsed - (sum(naps.values()) - count) * NAP, step
    assert sum(watch.seconds.values()) <= elapsed


def test_time_in_an_inner_step_is_not_counted_for_the_outer_one() -> None:
    watch, started = Stopwatch(), perf_counter()
    with watch.step("outer"):
        sleep(NAP)
        with watch.step("inner"):
            sleep(2 * NAP)
            with watch.step("innermost"):
                sleep(NAP)
        sleep(NAP)
    assert_own_times(watch, started, {"outer": 2, "inner": 2, "innermost": 1})


def test_steps_add_up_and_total_is_the_whole_time() -> None:
    watch, started = Stopwatch(), perf_counter()
    for _ in range(3):
        with watch.step("step"):
            sleep(NAP)
    sleep(NAP)
    rounded = watch.rounded()
    assert rounded["step"] >= 3 * NAP
    assert 4 * NAP <= rounded["total"] <= perf_counter() - started + 0.001
    assert all(value == round(value, 3) for value in rounded.values())


def test_a_step_in_itself_is_counted_once() -> None:
    watch, started = Stopwatch(), perf_counter()
    with watch.step("step"), watch.step("step"):
        sleep(NAP)
    assert_own_times(watch, started, {"step": 1})


def test_a_step_that_fails_is_counted_and_its_outer_one_goes_on() -> None:
    watch, started = Stopwatch(), perf_counter()

    def nap_and_fail() -> None:
        with watch.step("inner"):
            sleep(NAP)
            raise LookupError

    with watch.step("outer"):
        with pytest.raises(LookupError):
            nap_and_fail()
        sleep(NAP)
    assert_own_times(watch, started, {"outer": 1, "inner": 1})


def test_the_making_of_items_is_timed_and_not_what_is_done_with_them() -> None:
    watch, started = Stopwatch(), perf_counter()
    with watch.step("pull"):
        for _ in watch.timed("make", napping(2)):
            sleep(2 * NAP)
    assert_own_times(watch, started, {"pull": 4, "make": 2})


def test_waiting_for_another_thread_is_counted_for_no_step() -> None:
    watch, started = Stopwatch(), perf_counter()
    with watch.step("pull"):
        assert list(watch.waiting(napping(3))) == [0, 1, 2]
        sleep(NAP)
    assert NAP <= watch.seconds["pull"] <= perf_counter() - started - 3 * NAP
    assert watch.seconds.keys() == {"pull"}


def test_steps_in_two_threads_do_not_disturb_each_other() -> None:
    watch = Stopwatch()

    def beside() -> None:
        with watch.step("beside"):
            sleep(3 * NAP)

    with watch.step("here"):
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
    assert watch.seconds["beside"] >= 3 * NAP
    assert watch.seconds["here"] >= watch.seconds["beside"] - 0.001

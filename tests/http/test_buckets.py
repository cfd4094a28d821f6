"""Limits of a rate, with a clock that is set by hand; and what was read lately."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ingest.http.buckets import Buckets
from ingest.http.recent import Recent


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_bucket_holds_a_burst_and_fills_steadily() -> None:
    clock = Clock()
    buckets = Buckets(2.0, 3, monotonic=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now += 0.5
    assert [buckets.take("a") for _ in range(2)] == [0, 0.5]
    assert buckets.take("b") == 0
    clock.now += 3600
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_what_is_given_back_can_be_taken_again() -> None:
    buckets = Buckets(1.0, 1, monotonic=Clock())
    assert buckets.take("a") == 0
    buckets.give_back("a")
    buckets.give_back("a")
    assert [buckets.take("a") for _ in range(2)] == [0, 1.0]


def test_table_is_bounded_and_forgets_who_came_longest_ago() -> None:
    buckets = Buckets(1.0, 1, most=2, monotonic=Clock())
    for key in ("a", "b", "a", "c"):
        buckets.take(key)
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


async def test_reading_is_shared_kept_and_done_again() -> None:
    clock, read = Clock(), []
    gate = threading.Event()

    def reading(key: str) -> int:
        gate.wait(30)
        read.append(key)
        return len(read)

    recent = Recent(reading, keep_s=5, most=2, monotonic=clock)
    waiting = [asyncio.create_task(recent.get("a")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # takes nothing from the others
    gate.set()
    assert await asyncio.gather(*waiting[1:]) == [1, 1]
    assert await recent.get("a") == 1
    clock.now += 5
    assert await recent.get("a") == 2
    recent.forget("a")
    assert await recent.get("a") == 3
    for key in ("b", "c"):
        await recent.get(key)
    assert await recent.get("a") == 6  # there was no room for three


async def test_failure_is_not_kept() -> None:
    outcomes = [OSError("now"), None]

    def reading(_key: str) -> str:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome
        return "read"

    recent = Recent(reading, keep_s=1000)
    with pytest.raises(OSError, match="now"):
        await recent.get("a")
    assert await recent.get("a") == "read"

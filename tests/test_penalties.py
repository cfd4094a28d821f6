"""Sources that are shut out for a while, on a clock that is set by hand."""

from __future__ import annotations

import pytest

from ingest.addresses import read_addresses
from ingest.door.counts import Counts
from ingest.door.penalties import Misdeed, Penalties

NOBODY = read_addresses("")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _add(held: Penalties, misdeed: Misdeed, source: str = "192.0.2.7", **options: object) -> bool:
    return held.add(misdeed, source, source, **({"ceiling_s": 600.0, "exempt": NOBODY} | options))  # type: ignore[arg-type]


def test_source_is_shut_out_after_three_failed_logins_until_their_time_is_over(clock: Clock) -> None:
    """FAULTS S7: five seconds each, as OpenSSH has it, and nothing below fifteen."""
    held = Penalties(Counts(), monotonic=clock)
    assert [_add(held, Misdeed.WRONG_KEY) for _ in range(3)] == [False, False, True]
    assert held.shuts_out("192.0.2.7")
    assert not held.shuts_out("192.0.2.8")
    clock.now += 14.9
    assert held.shuts_out("192.0.2.7")
    clock.now += 0.2
    assert not held.shuts_out("192.0.2.7")
    assert not _add(held, Misdeed.WRONG_KEY)  # it begins anew


def test_the_more_the_longer_up_to_a_ceiling(clock: Clock) -> None:
    held = Penalties(Counts(), monotonic=clock)
    for _ in range(10_000):
        _add(held, Misdeed.WRONG_KEY, ceiling_s=100.0)
    clock.now += 99
    assert held.shuts_out("192.0.2.7")
    clock.now += 2
    assert not held.shuts_out("192.0.2.7")


def test_probe_every_ten_seconds_costs_nothing(clock: Clock) -> None:
    held = Penalties(Counts(), monotonic=clock)
    for _ in range(1000):
        assert not _add(held, Misdeed.NO_LOGIN)
        clock.now += 10


def test_exempt_sources_are_never_shut_out(clock: Clock) -> None:
    """FAULTS S7: many clients behind one address."""
    held = Penalties(Counts(), monotonic=clock)
    exempt = read_addresses("192.0.2.0/24")
    assert not any(_add(held, Misdeed.LOGIN_TIMEOUT, exempt=exempt) for _ in range(100))
    assert not held.shuts_out("192.0.2.7")


def test_table_is_bounded_and_lets_off_the_one_that_is_nearest_to_its_end(clock: Clock) -> None:
    held = Penalties(Counts(buckets=1), monotonic=clock)  # of eight rows
    for source, misdeeds in zip("abcdefghi", (4, 3, 5, 6, 7, 8, 9, 10, 4), strict=True):
        for _ in range(misdeeds):
            _add(held, Misdeed.WRONG_KEY, source)
    assert [source for source in "abcdefghi" if held.shuts_out(source)] == list("acdefghi")

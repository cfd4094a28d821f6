"""Which leases a process has watched for long enough to take their imports over (FAULTS.md W8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ingest.ledger.queue import Held
from ingest.watched_leases import WatchedLeases

LEASE_S = 60.0
UNTIL = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)


class Watch:
    """A watch whose monotonic clock is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.leases = WatchedLeases(LEASE_S, monotonic=lambda: self.seconds)

    def look(self, *held: Held, after_s: float = 0.0) -> list[Held]:
        self.seconds += after_s
        return self.leases.unrenewed(held)


def test_lease_that_is_seen_for_the_first_time_is_nobodys_to_take() -> None:
    """FAULTS.md W8: however long ago it ended by the clock."""
    assert Watch().look(Held("one", UNTIL - timedelta(days=3650))) == []


def test_lease_that_is_not_renewed_for_two_beats_is_taken() -> None:
    """FAULTS.md W8: by a clock that nobody sets."""
    watch, held = Watch(), Held("one", UNTIL)
    watch.look(held)
    assert watch.look(held, after_s=39) == []
    assert watch.look(held, after_s=1) == [held]


def test_lease_that_is_renewed_is_another_also_when_its_end_comes_before() -> None:
    """FAULTS.md W8: the beat of a living worker after a step back."""
    watch = Watch()
    watch.look(Held("one", UNTIL))
    back = Held("one", UNTIL - timedelta(hours=1))
    assert watch.look(back, after_s=39) == []
    assert watch.look(back, after_s=39) == []
    assert watch.look(back, after_s=1) == [back]


def test_lease_that_was_away_is_watched_anew() -> None:
    """FAULTS.md W8."""
    watch, held = Watch(), Held("one", UNTIL)
    watch.look(held)
    watch.look(after_s=39)
    assert watch.look(held, after_s=1) == []

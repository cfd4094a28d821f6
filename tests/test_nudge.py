"""Nudges between a service and its workers."""

from __future__ import annotations

from ingest.nudge import Nudges


def test_sending_never_waits_for_a_side_that_does_not_read() -> None:
    ours, theirs = Nudges.pair()
    for _ in range(100_000):
        ours.send()
    assert theirs.take()
    ours.close()
    theirs.close()


def test_end_of_one_side_is_seen_by_the_other() -> None:
    ours, theirs = Nudges.pair()
    ours.send()
    ours.close()
    while theirs.take():  # nudges that had come are not lost
        pass
    assert not theirs.wait(10)
    theirs.send()
    theirs.close()


def test_waiting_ends_with_a_nudge_and_with_time() -> None:
    ours, theirs = Nudges.pair()
    assert theirs.wait(0.01)
    ours.send()
    assert theirs.wait(60)
    ours.close()
    theirs.close()

"""How many names the events of an account may have, and those that it discards."""

from __future__ import annotations

import polars as pl
import pytest

from manifests import codes
from manifests.cast import apply
from manifests.errors import HeaderMismatch, LimitExceeded
from manifests.event_names import EventNames
from manifests.model import Manifest
from manifests.plan import build_plan
from manifests.types import ImportType
from tests.manifests.rows import RECEIVED, frame


def outcome(names: EventNames, *events: str, faults: list[int | None] | None = None) -> list[tuple[int, int]]:
    """Row and code of the rejected ones."""
    source = frame(identity=["someone"] * len(events), evtName=events)
    if faults is not None:
        source = source.with_columns(_fault=pl.Series(faults, dtype=pl.Int32))
    plan = build_plan(Manifest("a.csv", ImportType.EVENT, "a@b.de"), ["identity", "evtName"], {})
    made = apply(plan, source, received_at=RECEIVED, names=names)
    names.confirm(made.accepted["evtName"].unique())
    return [(row, code) for row, code in made.rejects.select("_row", "code").rows()]


def test_names_beyond_the_limit_are_rejected_in_the_order_of_the_file() -> None:
    """CONTRACT 3: 512 event names an account, here 3."""
    names = EventNames(["a"], most=3)
    assert outcome(names, "a", "z", "b", "c", "z", "c") == [(row, codes.TOO_MANY_EVENT_NAMES) for row in (4, 6)]
    assert names.new == ["z", "b"]
    assert outcome(names, "b", "d", "a") == [(2, codes.TOO_MANY_EVENT_NAMES)]
    assert names.stored == {"z", "b"}


def test_names_that_may_not_be_used_take_no_room() -> None:
    names = EventNames(most=2)
    rejected = outcome(
        names, "a|b", "Stayed", "x" * 513, "torn", "good", "more", faults=[None, None, None, 604, None, None]
    )
    assert [row for row, _ in rejected] == [1, 2, 3, 4]
    assert names.new == ["good", "more"]


def test_discarded_events_are_rejected() -> None:
    names = EventNames(["a", "b"], ["b"])
    assert outcome(names, "a", "b", " b ", "B") == [(2, codes.EVENT_DISCARDED), (3, codes.EVENT_DISCARDED)]


def test_a_fixed_name_is_judged_before_the_first_row() -> None:
    with pytest.raises(HeaderMismatch, match="discarded"):
        EventNames(["a"], ["a"]).check_fixed("a")
    with pytest.raises(LimitExceeded, match="one more than the 1 event names"):
        EventNames(["a"], most=1).check_fixed("b")
    EventNames(["a"], most=1).check_fixed("a")

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.backoff import next_attempt


@pytest.mark.parametrize(("attempts", "wait"), [(0, 60), (1, 60), (2, 120), (3, 240), (7, 3600), (8, 3600)])
def test_wait_doubles_from_floor_to_ceiling(attempts: int, wait: float) -> None:
    """FAULTS W7."""
    assert next_attempt(attempts, floor_s=60, ceiling_s=3600) == wait


@settings(max_examples=100, deadline=None)
@given(st.integers(-10, 10**9), st.floats(0.001, 1e6), st.floats(0.001, 1e9))
def test_wait_never_shrinks_and_never_passes_the_ceiling(attempts: int, floor_s: float, ceiling_s: float) -> None:
    wait = next_attempt(attempts, floor_s=floor_s, ceiling_s=ceiling_s)
    assert 0 < wait <= ceiling_s
    assert wait <= next_attempt(attempts + 1, floor_s=floor_s, ceiling_s=ceiling_s)

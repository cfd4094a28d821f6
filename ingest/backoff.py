"""How long to wait before something that failed is tried again; for notices and for imports alike."""

from __future__ import annotations

_MOST_DOUBLINGS = 64  # keeps the power finite however often something was tried


def next_attempt(attempts: int, *, floor_s: float, ceiling_s: float) -> float:
    """Seconds to wait before attempt ``attempts + 1``; doubles from floor to ceiling, no jitter.

    ``attempts`` counts the tries made so far, the failed one included; fewer than one counts as one.
    """
    doublings = min(max(attempts, 1) - 1, _MOST_DOUBLINGS)
    return min(floor_s * 2.0**doublings, ceiling_s)

"""The clock: passed in as a function, never patched. Timeouts use the monotonic clock where they wait."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Now = Callable[[], datetime]
"""Gives the time, aware, in UTC."""


def utc_now() -> datetime:
    """The time of this machine, in UTC."""
    return datetime.now(UTC)

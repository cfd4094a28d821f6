"""Waiting for what a service does by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

WAIT_S = 120.0


async def soon(holds: Callable[[], object]) -> None:
    """Look every 20 ms; fails the test when it does not hold within a generous time."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s"
        await asyncio.sleep(0.02)

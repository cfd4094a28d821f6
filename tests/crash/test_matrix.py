"""SIGKILL at every failpoint, once each; `make crash` does it twenty times each, with the real service."""

from __future__ import annotations

import asyncio
from pathlib import Path

from failpoints import POINTS
from tests.crash.conftest import Ground
from tests.crash.errands import errand_of
from tests.crash.round_trip import run_round
from tests.crash.site import Forked

_SITES = 4


async def test_a_kill_at_each_failpoint_loses_and_doubles_nothing(ground: Ground, tmp_path: Path) -> None:
    """FAULTS.md W1: several imports are in flight; the lake is compared row by row with that of a run without one."""
    points = [point for point in POINTS if errand_of(point) is None]
    wrong: dict[str, str] = {}

    async def kill_at_each(number: int) -> None:
        site = Forked(ground.nursery, ground.template, tmp_path / str(number), None)
        await site.open()
        try:
            for turn, point in enumerate(points[number::_SITES]):
                await site.aim(point)
                round_ = await run_round(site, f"r{turn}", ground.reference)
                if not (round_.passed and round_.verdict.good):
                    wrong[point] = f"passed: {round_.passed}; {round_.verdict}"
        finally:
            await site.close()

    await asyncio.gather(*map(kill_at_each, range(_SITES)))
    assert wrong == {}

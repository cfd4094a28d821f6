"""A disk that refuses a sync or is full, once, at each place where something is made durable."""

from __future__ import annotations

import asyncio
from pathlib import Path

from failpoints import Action
from tests.crash.conftest import Ground
from tests.crash.round_trip import Round, run_round
from tests.crash.site import Forked

_BROKEN = (
    ("publish.unsynced", "publish.named", "rename.named", "take.moved", "take.synced"),
    ("lake.file_closed", "lake.file_synced", "lake.entry_written", "lake.entry_synced"),
)
_FULL = ("publish.unsynced", "lake.frame_written", "lake.entry_written")


async def test_sync_that_fails_loses_and_doubles_nothing(ground: Ground, tmp_path: Path) -> None:
    """FAULTS.md W11, W12: the upload fails and its client sends it again, or the import is tried again."""
    rounds: dict[tuple[str, Action], Round] = {}

    async def fail_at_each(action: Action, points: tuple[str, ...]) -> None:
        site = Forked(ground.nursery, ground.template, tmp_path / f"{action}-{points[0]}", None)
        site.action = action
        await site.open()
        try:
            for turn, point in enumerate(points):
                await site.aim(point)
                rounds[point, action] = await run_round(site, f"r{turn}", ground.reference)
        finally:
            await site.close()

    broken = [fail_at_each(Action.EIO, points) for points in _BROKEN]
    await asyncio.gather(*broken, fail_at_each(Action.ENOSPC, _FULL))
    wrong = {place: str(each.verdict) for place, each in rounds.items() if not each.passed or not each.verdict.good}
    assert wrong == {}
    assert all(each.resent == 1 for (point, _), each in rounds.items() if point.startswith("publish."))

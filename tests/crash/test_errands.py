"""SIGKILL at every failpoint that is not on the way of an import, once each, and losses of power at some."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.crash.conftest import Ground
from tests.crash.errands import ERRANDS, make_past, run_errand
from tests.crash.power import compiler
from tests.crash.site import Forked
from tests.crash.workload import Template

_AT_ONCE = 4
_WITHOUT_POWER = ("recovery.moved", "compact.linked", "compact.removed", "by_hand.received", "sweep.remembered")


@pytest.fixture(scope="module")
def past(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_past(ground.template, tmp_path_factory.mktemp("errands") / "past")


async def test_a_death_on_an_errand_changes_nothing_of_what_is_there_in_the_end(
    ground: Ground, past: Template, tmp_path: Path
) -> None:
    """FAULTS.md W1, W10, W17: recovery, sweeps, compactions, replays, notices; compared with a run without a death."""
    free = asyncio.Semaphore(_AT_ONCE)
    wrong: dict[str, object] = {}

    async def one_errand(number: int) -> None:
        errand = ERRANDS[number]
        runs: list[tuple[str, int | None, bool]] = [(errand.points[0], None, False)]
        runs += [(point, 1, False) for point in errand.points]
        runs += [(point, 1, True) for point in errand.points if compiler() and point in _WITHOUT_POWER]
        reference = None
        for point, at, power in runs:
            async with free:
                name = f"{point}-{at}-{power}"
                site = Forked(ground.nursery, past, tmp_path / name, point)
                acted, seen, met = await run_errand(site, errand, at=at, power=power)
            reference = reference or seen
            found = [*seen.differences(reference), *met]
            if found or acted is not (at is not None):
                wrong[name] = (acted, found)

    await asyncio.gather(*map(one_errand, range(len(ERRANDS))))
    assert wrong == {}

"""All runs at one failpoint of the real service: kills, and losses of power; a process of its own for each."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from failpoints import POINTS
from tests.crash.errands import ERRANDS, Errand, errand_of, make_past, run_errand
from tests.crash.ledger import IN_ITS_FOLDER, Ledger
from tests.crash.power import build_shim, compiler
from tests.crash.round_trip import Round, keep_as_template, refer, run_round, run_round_without_power
from tests.crash.seen import Seen
from tests.crash.site import Served
from tests.crash.verdict import Stored
from tests.crash.workload import Template, make_template

_TRIES = 3  # for a run whose failpoint was not passed so often this time


@dataclass(frozen=True)
class Ground:
    """What all sites are made of, what is stored without a death, and how often each failpoint is passed then."""

    template: Template
    reference: dict[str, Stored]
    passings: dict[str, int]
    shim: Path | None
    past: Template
    errands: dict[str, tuple[Seen, dict[str, int]]]  # by first failpoint: the same for each errand


@dataclass
class Score:
    """What became of all runs at one failpoint."""

    failpoint: str
    killed: int = 0
    without_power: int = 0
    lost: int = 0
    doubled: int = 0
    half_visible: int = 0
    looks: int = 0
    resent: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def add(self, round_: Round) -> None:
        verdict = round_.verdict
        self.lost += verdict.lost
        self.doubled += verdict.doubled
        self.half_visible += verdict.half_visible
        self.looks += verdict.looks
        self.resent += round_.resent
        if not verdict.good:
            self.wrong.append(str(verdict))

    def add_seen(self, seen: Seen, reference: Seen, met: list[str]) -> None:
        self.lost += (reference.rows - seen.rows).total()
        self.doubled += (seen.rows - reference.rows).total()
        self.wrong += [*seen.differences(reference), *met]

    @property
    def good(self) -> bool:
        return not self.wrong


async def prepare(folder: Path, points: Collection[str], ledger: Ledger = IN_ITS_FOLDER) -> Ground:
    """Make the template, and do one round without a death, and each errand on whose way one of ``points`` lies."""
    site = Served(await make_template(folder / "fresh", ledger), folder / "reference", next(iter(POINTS)))
    await site.open()
    try:
        reference = await refer(site)
        passings = Counter(site.passed.read_text().splitlines())
    finally:
        await site.close()
    shim = build_shim(folder) if compiler() is not None else None
    template = keep_as_template(site, folder / "template")
    past = make_past(template, folder / "past")
    errands = {}
    for errand in ERRANDS:
        if not set(errand.points).isdisjoint(points):
            first = errand.points[0]
            site = Served(past, folder / first, first)
            _, seen, _ = await run_errand(site, errand, at=None)
            errands[first] = seen, dict(Counter(site.passed.read_text().splitlines()))
    return Ground(template, reference, dict(passings), shim, past, errands)


def score(ground: Ground, point: str, runs: int, power: int) -> Score:
    """In a process of its own: all runs at one failpoint."""
    begun = time.monotonic()
    result = Score(point)
    with tempfile.TemporaryDirectory(prefix="sealdrop-crash-") as folder:
        try:
            errand = errand_of(point)
            if errand is None:
                asyncio.run(_score(ground, Path(folder), result, runs, power))
            else:
                asyncio.run(_score_errand(ground, Path(folder), result, errand, runs, power))
        except Exception as error:
            result.wrong.append(f"{type(error).__name__}: {error}; {traceback.format_exc(limit=-2)}")
    result.seconds = round(time.monotonic() - begun, 1)
    return result


async def _score(ground: Ground, folder: Path, result: Score, runs: int, power: int) -> None:
    chance = random.Random(result.failpoint)
    most = max(1, ground.passings.get(result.failpoint, 1))
    if runs:
        site = Served(ground.template, folder / "killed", result.failpoint)
        await site.open()
        try:
            for number in range(runs):
                result.killed += await _kill_once(site, ground, result, number, at=chance.randint(1, most))
        finally:
            await site.close()
    for number in range(power if ground.shim is not None else 0):
        site = Served(ground.template, folder / f"power-{number}", result.failpoint, LD_PRELOAD=str(ground.shim))
        round_ = await run_round_without_power(site, ground.reference, at=chance.randint(1, most) if number else 1)
        result.add(round_)
        result.without_power += round_.passed


async def _score_errand(ground: Ground, folder: Path, result: Score, errand: Errand, runs: int, power: int) -> None:
    chance = random.Random(result.failpoint)
    reference, passings = ground.errands[errand.points[0]]
    most = max(1, passings.get(result.failpoint, 1))
    losses = power if ground.shim is not None and errand.most_losses_at else 0
    for number in range(runs + losses):
        is_loss = number >= runs
        shim = {"LD_PRELOAD": str(ground.shim)} if is_loss else {}
        site = Served(ground.past, folder / str(number), result.failpoint, **shim)
        at = chance.randint(1, min(most, errand.most_losses_at) if is_loss else most)
        acted, seen, met = await run_errand(site, errand, at=at, power=is_loss)
        result.add_seen(seen, reference, met)
        result.killed += acted and not is_loss
        result.without_power += acted and is_loss
        if not acted:
            result.wrong.append(f"run {number}: the failpoint was not passed")


async def _kill_once(site: Served, ground: Ground, result: Score, number: int, *, at: int) -> bool:
    """One run; one whose failpoint was not passed is judged as well, and done once more."""
    for turn in range(_TRIES):
        round_ = await run_round(site, f"r{number}-{turn}", ground.reference, at=at if turn == 0 else 1)
        result.add(round_)
        if round_.passed:
            return True
    result.wrong.append(f"run {number}: the failpoint was not passed")
    return False

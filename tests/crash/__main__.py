"""The whole matrix: SIGKILL at every failpoint of the real service, RUNS times each, and losses of power.

    python -m tests.crash --runs 20 --power 3 --jobs 2 [--ledger postgresql] [--json] [--only NAME]...

In each run five imports of two accounts are in flight, and the process dies at a passing of the failpoint that differs
from run to run. The lake is compared row by row with that of a run in which nothing died, and looked at all the time.
Exit code 1 when a row was lost, doubled or half visible, or anything else was not as it is without a death.

With a ledger on a PostgreSQL server, which is started for it, there are only kills: what survives a loss of power is
then up to the server, and the shim is not in front of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path

from failpoints import POINTS
from tests.crash.ledger import IN_ITS_FOLDER, Ledger
from tests.crash.matrix import Score, prepare, score
from tests.support.postgres import Postgres


def _table(scores: list[Score]) -> str:
    lines = [
        f"{'failpoint':26}{'killed':>8}{'no power':>10}{'lost':>6}{'doubled':>9}{'half':>6}{'looks':>7}{'seconds':>9}"
    ]
    lines += [
        f"{s.failpoint:26}{s.killed:8}{s.without_power:10}{s.lost:6}{s.doubled:9}{s.half_visible:6}{s.looks:7}{s.seconds:9}"
        for s in scores
    ]
    wrong = [f"{s.failpoint}: {what}" for s in scores for what in s.wrong]
    return "\n".join(lines + wrong)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="kills at each failpoint")
    parser.add_argument("--power", type=int, help="losses of power at each failpoint (default: 3; SQLite only)")
    parser.add_argument("--ledger", choices=["sqlite", "postgresql"], default="sqlite", help="where the ledger is")
    parser.add_argument("--jobs", type=int, default=2, help="installations at the same time")
    parser.add_argument("--only", action="append", help="only this failpoint, or those that begin so; repeatable")
    parser.add_argument("--json", action="store_true", help="figures as JSON on standard output")
    given = parser.parse_args()
    on_server = given.ledger == "postgresql"
    if on_server and given.power:
        parser.error("losses of power are tried with a ledger in SQLite only")
    power = (0 if on_server else 3) if given.power is None else given.power
    points = [point for point in POINTS if not given.only or point.startswith(tuple(given.only))]
    scores: dict[str, Score] = {}
    with tempfile.TemporaryDirectory(prefix="sealdrop-crash-") as folder, ExitStack() as stack:
        ledger = Ledger(stack.enter_context(closing(Postgres()))) if on_server else IN_ITS_FOLDER
        ground = asyncio.run(prepare(Path(folder), points, ledger))
        if ground.shim is None and power:
            sys.stderr.write("no C compiler: no loss of power is tried\n")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(given.jobs, mp_context=context) as pool:
            running = [pool.submit(score, ground, point, given.runs, power) for point in points]
            for done in as_completed(running):
                result = done.result()
                scores[result.failpoint] = result
                word = "good" if result.good else f"WRONG: {result.wrong[0]}"
                sys.stderr.write(f"{len(scores)}/{len(points)} {result.failpoint}: {word}, {result.seconds} s\n")
                sys.stderr.flush()
    ordered = [scores[point] for point in points]
    told = json.dumps([asdict(each) for each in ordered], indent=2) if given.json else _table(ordered)
    sys.stdout.write(told + "\n")
    return 0 if all(each.good for each in ordered) else 1


if __name__ == "__main__":
    sys.exit(main())

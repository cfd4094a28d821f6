"""The same rules under hypothesis, which damages good inputs in the ways that transports and programs do.

    python -m fuzz.with_hypothesis {armor,envelope,stream,certificate,door} --seconds 1800

Needs nothing but the development dependencies. Ends with an error and the smallest input found at the first finding,
and prints executions and peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from fuzz.choice import NAMES, rule_and_seeds

_BATCH = 1000
_AT = st.floats(0, 1, exclude_max=True)
_PIECE = st.binary(max_size=40) | st.sampled_from(
    [b"\n", b"\r", b"=", b"-----", b"-----END PGP MESSAGE-----\n", b"\xff" * 5, b"\xe9", b"\xd2\xff\xff\xff\xff\xff"]
)
# at, how many octets are taken out there, what is put there
_EDIT = st.tuples(_AT, st.integers(0, 64) | st.integers(0, 100_000), _PIECE)


def damaged(good: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of the good inputs after a few edits, or two of them joined somewhere, or nothing known at all."""
    edited = st.builds(_edited, st.sampled_from(good), st.lists(_EDIT, max_size=5))
    joined = st.builds(_joined, st.sampled_from(good), edited, _AT, _AT)
    return edited | joined | st.binary(max_size=2000)


def _edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, taken, put in edits:
        at = int(where * (len(data) + 1))
        data = data[:at] + put + data[at + taken :]
    return data


def _joined(first: bytes, second: bytes, end: float, start: float) -> bytes:
    return first[: int(end * (len(first) + 1))] + second[int(start * (len(second) + 1)) :]


def main() -> None:
    """Run one rule until the time is up."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("rule", choices=NAMES)
    arguments.add_argument("--seconds", type=float, default=60)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="sealdrop-fuzz-") as folder:
        rule, good = rule_and_seeds(chosen.rule, Path(folder))
    start, executions, batch = time.monotonic(), 0, 0
    early_mib = 0

    def checked(data: bytes) -> None:
        nonlocal executions
        executions += 1
        rule(data)

    while time.monotonic() < start + chosen.seconds:
        batch += 1
        run = settings(max_examples=_BATCH, deadline=10_000, database=None, suppress_health_check=list(HealthCheck))
        if time.monotonic() < start + chosen.seconds / 10:
            early_mib = _resident_mib()
        seed(batch)(run(given(damaged(good))(checked)))()
    figures = {
        "rule": chosen.rule,
        "seconds": round(time.monotonic() - start),
        "executions": executions,
        "rss_mib_after_a_tenth": early_mib,
        "rss_mib": _resident_mib(),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def _resident_mib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 2**20


if __name__ == "__main__":
    main()

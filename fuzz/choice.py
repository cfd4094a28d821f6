"""Which rules there are, each with the good inputs that a fuzzer begins with."""

from __future__ import annotations

from pathlib import Path

from fuzz import door, rules
from fuzz.pair import Pair, seeds

NAMES = ("armor", "envelope", "stream", "certificate", "door")


def rule_and_seeds(name: str, folder: Path) -> tuple[rules.Rule, list[bytes]]:
    """A rule and its seeds; throw-away keys are made in ``folder``, or found there."""
    if name == "door":
        return door.DoorRule(), door.seeds()
    pair = Pair(folder)
    wanted: dict[str, rules.Rule] = {
        "armor": rules.armor,
        "envelope": rules.envelope,
        "stream": rules.Stream(pair),
        "certificate": rules.Certificates(),
    }
    return wanted[name], seeds(pair)[name]

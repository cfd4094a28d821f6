"""Fuzzing guided by coverage, for a bounded time; needs the optional dependencies of the group ``fuzz``.

    python -m fuzz.with_atheris {armor,envelope,stream,certificate,door} --seconds 1800

Inputs, findings and the throw-away pair are kept below the system's folder for temporary files, so that the next run
goes on where this one ended. Ends with an error at the first finding, and prints executions and peak memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["keystore", "ingest", "asyncssh"]):
    from fuzz.choice import NAMES, rule_and_seeds

FOLDER = Path(tempfile.gettempdir()) / "sealdrop-fuzz"


def main() -> None:
    """Fuzz one rule."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("rule", choices=NAMES)
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--input", type=Path, help="run this input only, once")
    given = arguments.parse_args()
    folder = FOLDER / given.rule
    corpus, found = folder / "corpus", folder / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    rule, good = rule_and_seeds(given.rule, folder)
    for number, seed in enumerate(good):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = {
        "max_total_time": given.seconds,
        "max_len": 8192,
        "timeout": 30,  # of one input, seconds
        "rss_limit_mb": 1024,
        "print_final_stats": 1,
        "artifact_prefix": f"{found}/",
    }
    flags = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(given.input or corpus)], rule)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

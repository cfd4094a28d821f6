"""Parse, cast and check, without decryption and lake: rows a second and peak memory, each file in a process of its own.

`cpu_s` is the time of all cores together: on a machine that does something else as well it says more than `seconds`.

    python -m bench.mapping --rows 10000000 --profile-rows 1000000 --json

`events` is the event file of the other benches; `profiles` has 40 columns with every data type, every profile field
with a rule, dates in several forms and zones, lists and an operation. Both are made once and kept below bench/data.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from bench.events import DATA, write_events
from ingest.demo.files import EVENT_COLUMNS
from ingest.settings import WorkerSettings
from ingest.steps.ahead import ahead
from ingest.steps.csv_records import CsvRecords
from ingest.steps.map import Tally, mapped
from ingest.steps.stopwatch import Stopwatch
from manifests.event_names import EventNames
from manifests.parse import parse_manifest
from manifests.plan import build_plan

_CHUNK = 1 << 20
_AIMS = {"events": 2_000_000, "profiles": 300_000}

PROFILE_COLUMNS: dict[str, dict[str, Any]] = {
    "user": {"ctName": "identity"},
    "mail": {"ctName": "Email"},
    "phone": {"ctName": "Phone"},
    "gender": {"ctName": "Gender"},
    "employed": {"ctName": "Employed"},
    "education": {"ctName": "Education"},
    "married": {"ctName": "Married"},
    "age": {"ctName": "Age"},
    "born": {"ctName": "DOB", "dataType": "Date", "format": "dd/MM/yyyy"},
    "sms": {"ctName": "MSG-sms"},
    "push": {"ctName": "MSG-push"},
    **{f"text {n}": {} for n in range(8)},
    **{f"count {n}": {"dataType": "Integer"} for n in range(5)},
    **{f"rate {n}": {"dataType": "Float"} for n in range(4)},
    **{f"flag {n}": {"dataType": "Boolean"} for n in range(3)},
    "day": {"dataType": "Date", "format": "yyyy-MM-dd"},
    "local": {"dataType": "Date", "format": "yyyy-MM-dd HH:mm:ss", "timezone": "Europe/Berlin"},
    "month": {"dataType": "Date", "format": "dd MMM yyyy"},
    "iso": {"dataType": "Date"},
    "seen": {"dataType": "Date", "format": "epoch milliseconds"},
    "tags": {"dataType": "StringList", "separator": "|"},
    "groups": {"dataType": "StringList"},
    "last": {"dataType": "Integer"},
}
"""39 columns as the manifest describes them; ``tags.operation`` is the fortieth."""


def write_profiles(path: Path, rows: int) -> None:
    """``rows`` updates of profiles with the columns of `PROFILE_COLUMNS`; the same rows each time."""
    number = pl.int_range(rows, eager=True)
    mixed = (number * 2654435761) % 4294967296  # as in `bench.events`

    def of(words: list[str], step: int) -> pl.Series:
        return pl.Series(words).gather(mixed // step % len(words))

    moment = (1_600_000_000_000 + mixed * 37).cast(pl.Datetime("ms"))
    columns: dict[str, pl.Series] = {
        "user": "user-" + (mixed % 1_000_003).cast(pl.String),
        "mail": "someone" + (mixed % 1_000_003).cast(pl.String) + "@mail.example.com",
        "phone": "+4915" + (10_000_000 + mixed % 89_999_999).cast(pl.String),
        "gender": of(["M", "F", "male", "Female", "O"], 3),
        "employed": of(["Y", "N", "yes", "no"], 5),
        "education": of(["School", "College", "graduate"], 7),
        "married": of(["Y", "N"], 11),
        "age": 18 + mixed // 13 % 70,
        "born": (mixed // 17 % 18_000).cast(pl.Int32).cast(pl.Date).dt.strftime("%d/%m/%Y"),
        "sms": of(["0", "1"], 19),
        "push": of(["true", "false", ""], 23),
        **{f"text {n}": of(["Berlin", "New York", "", "a longer text, quoted", "gold"], 29 + n) for n in range(8)},
        **{f"count {n}": mixed // (41 + n) % 100_000 for n in range(5)},
        **{f"rate {n}": mixed // (53 + n) % 100_000 / 7 for n in range(4)},
        **{f"flag {n}": of(["TRUE", "false", "1", "0"], 61 + n) for n in range(3)},
        "day": moment.dt.strftime("%Y-%m-%d"),
        "local": moment.dt.strftime("%Y-%m-%d 12:%M:%S"),
        "month": moment.dt.strftime("%d %b %Y"),
        "iso": moment.dt.strftime("%Y-%m-%dT%H:%M:%S+01:00"),
        "seen": moment.dt.timestamp("ms"),
        "tags": of(["red|green", "blue", "", "red|green|blue|white"], 67),
        "groups": of(['["a","b"]', '["c"]', "[]", ""], 71),
        "last": number,
        "tags.operation": of(["", "$add", "$set", "$remove"], 73),
    }
    pl.DataFrame(columns).write_csv(path)


def main() -> None:
    """Run the bench and print its figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=10_000_000, help="events")
    arguments.add_argument("--profile-rows", type=int, default=1_000_000)
    arguments.add_argument("--runs", type=int, default=3, help="the best counts")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--only", choices=list(_AIMS), help="one file, in this process")
    given = arguments.parse_args()
    rows = {"events": given.rows, "profiles": given.profile_rows}
    if given.only:
        print(json.dumps(_measured(given.only, rows[given.only])))
        return
    figures = {name: _best(name, rows[name], given.runs) for name in _AIMS}
    if given.json:
        print(json.dumps(figures, indent=2))
        return
    for name, found in figures.items():
        print(f"{name:9} " + "  ".join(f"{key} {value}" for key, value in found.items()))


def _best(name: str, rows: int, runs: int) -> dict[str, Any]:
    _file(name, rows)  # made here: its memory must not count
    flag = "--rows" if name == "events" else "--profile-rows"
    command = [sys.executable, "-m", "bench.mapping", "--only", name, flag, str(rows)]
    made = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(runs)]
    best = max(made, key=lambda run: run["rows_per_s"])
    return {**best, "peak_rss_mib": max(run["peak_rss_mib"] for run in made), "aim_rows_per_s": _AIMS[name]}


def _file(name: str, rows: int) -> Path:
    folder = DATA / f"{name}-{rows}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    if not path.exists():
        (write_events if name == "events" else write_profiles)(path, rows)
    return path


def _measured(name: str, rows: int) -> dict[str, Any]:
    """Draw all rows through parse and map, parse in a thread ahead of map, as in an import."""
    path = _file(name, rows)
    columns = EVENT_COLUMNS if name == "events" else PROFILE_COLUMNS
    content = {"fileName": path.name, "type": name[:-1], "clientEmail": "bench@example.com", "columns": columns}
    manifest = parse_manifest(json.dumps(content).encode())
    tally, watch = Tally(max_shown=100, max_kept=100, max_kept_bytes=1 << 20), Stopwatch()
    start, start_cpu = time.perf_counter(), time.process_time()
    records = CsvRecords(_chunks(path), chunk_bytes=WorkerSettings().chunk_bytes)
    plan = build_plan(manifest, records.header, {})
    with closing(ahead(watch.timed("parse", iter(records)), most=1, name="parse")) as frames:
        accepted = mapped(
            watch.waiting(frames),
            plan,
            received_at=datetime.now(UTC),
            tally=tally,
            manifest=manifest,
            watch=watch,
            names=EventNames(),
        )
        stored = sum(frame.height for frame in accepted)
    seconds = time.perf_counter() - start
    if stored != rows or tally.rows_rejected:
        raise SystemExit(f"{tally.rows_rejected} of {rows} rows were rejected: {tally.shown[:3]}")
    return {
        "rows": rows,
        "bytes": path.stat().st_size,
        "columns": len(records.header),
        "seconds": round(seconds, 3),
        "rows_per_s": round(rows / seconds),
        "steps_s": watch.rounded(),
        "cpu_s": round(time.process_time() - start_cpu, 3),
        "peak_rss_mib": _peak_mib(),
    }


def _peak_mib() -> int:
    """The most that this process held (proc(5)); getrusage would count what its parent held before it started."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


if __name__ == "__main__":
    main()

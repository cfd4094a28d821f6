"""The parse step alone, by format: rows a second and peak memory, from bytes in memory-sized chunks to frames.

    python -m bench.formats --rows 1000000 --json

Each format is read in a process of its own, in chunks as the decrypting thread hands them over; the files are generated
once and kept below bench/data. Seconds are those of the clock, `cpu_s` those of all cores.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from bench.events import DATA, write_events
from ingest.settings import WorkerSettings
from ingest.steps.bounds import Bounds
from ingest.steps.parse import records_of
from manifests.model import Column, Manifest
from manifests.types import ImportType

_CHUNK = 1 << 20
_NESTED = {f"evtData.{name}": Column() for name in ("item_name", "item_price", "item_delivery_date")}


def main() -> None:
    """Run the bench and print its figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--only", choices=FILES, help="read one format in this process")
    given = arguments.parse_args()
    if given.only:
        print(json.dumps(_read(_file(given.only, given.rows), given.rows)))
        return
    command = [sys.executable, "-m", "bench.formats", "--rows", str(given.rows), "--only"]
    figures = {}
    for name in FILES:
        _file(name, given.rows)
        figures[name] = json.loads(subprocess.run([*command, name], stdout=subprocess.PIPE, check=True).stdout)
    if given.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, values in figures.items():
            print(f"{name:20} " + "  ".join(f"{key} {value}" for key, value in values.items()))


def _read(path: Path, rows: int) -> dict[str, float]:
    manifest = Manifest(
        file_name=path.name,
        type=ImportType.EVENT,
        client_email="bench@example.com",
        columns=_NESTED if "nested" in path.name else {},
        encoding="utf_16_le" if "utf16" in path.name else "utf_8",
    )
    bounds = Bounds(chunk_bytes=WorkerSettings().chunk_bytes)
    before_mib = _peak_mib()
    start, start_cpu = time.perf_counter(), time.process_time()
    records = records_of(_chunks(path), manifest, bounds)
    faults = sum(len(frame) - frame["_fault"].null_count() for frame in records)
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    if records.rows_read != rows or faults:
        raise SystemExit(f"{path}: {records.rows_read} rows, {faults} bad")
    return {
        "rows_per_s": round(rows / seconds),
        "seconds": round(seconds, 3),
        "cpu_s": round(cpu, 3),
        "mb": round(path.stat().st_size / 1e6),
        "mb_per_s": round(path.stat().st_size / 1e6 / seconds),
        "peak_rss_mib": round(_peak_mib()),
        "rss_before_mib": round(before_mib),
    }


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()  # getrusage would begin with the parent's peak
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(_CHUNK), b"")


def _file(name: str, rows: int) -> Path:
    path = DATA / f"events-{rows}" / f"formats-{name}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        csv = path.parent / "events.csv"
        if not csv.exists():
            write_events(csv, rows)
        FILES[name](csv, path)
    return path


def _lines(csv: Path, path: Path) -> None:
    pl.read_csv(csv).write_ndjson(path)


def _array(csv: Path, path: Path) -> None:
    _lines(csv, path)
    path.write_bytes(b"[" + path.read_bytes().rstrip().replace(b"\n", b",") + b"]")


def _pretty(csv: Path, path: Path) -> None:
    _lines(csv, path)
    lines = path.read_bytes().rstrip().replace(b":", b": ").replace(b',"', b',\n    "')
    path.write_bytes(b"[\n  " + lines.replace(b"}\n{", b"},\n  {") + b"\n]\n")


def _nested(csv: Path, path: Path) -> None:
    frame = pl.read_csv(csv)
    frame.select(pl.nth(0, 1, 2), pl.struct(pl.nth(3, 4, 5)).alias("evtData")).write_ndjson(path)
    path.write_bytes(b'{"d":[' + path.read_bytes().rstrip().replace(b"\n", b",") + b"]}")


def _text(csv: Path, path: Path) -> None:
    """Nested objects that no path reaches into, with an array in each: they become their text."""
    frame = pl.read_csv(csv)
    items = pl.concat_list(pl.nth(3), pl.nth(5)).alias("tags")
    frame.select(pl.nth(0, 1, 2), pl.struct(pl.nth(3, 4), items).alias("rest")).write_ndjson(path)


FILES: dict[str, Callable[[Path, Path], object]] = {
    "events.csv": lambda csv, path: path.write_bytes(csv.read_bytes()),
    "events.csv.gz": lambda csv, path: path.write_bytes(gzip.compress(csv.read_bytes(), 6)),
    "utf16.csv": lambda csv, path: path.write_bytes(csv.read_text().encode("utf-16-le")),
    "lines.ndjson": _lines,
    "array.json": _array,
    "pretty.json": _pretty,
    "nested.json": _nested,
    "text.ndjson": _text,
}


if __name__ == "__main__":
    main()

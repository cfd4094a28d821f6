"""The data endpoints of the HTTP API over real connections: uploads, and reads from a compacted lake.

    python -m bench.api --json                                           a million events, a hundred thousand profiles
    python -m bench.api --json --events 10000000 --profiles 1000000      what issue 8 asks for

A uvicorn in a process of its own serves the endpoints (``--way plain``: without TLS, and with an authentication that
believes a header), so that client and server do not share a lock. Prints requests and records a second for uploads by
several clients at once, and median and 95th percentile of the milliseconds of reads, one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.api_data import ACCOUNT, DAYS, NAMES, email, fill, identity
from ingest.app import App
from ingest.installation import prepare
from ingest.settings import DoorSettings, Settings, VaultSettings, load_settings

_PAGE = 5000
_SETTINGS = 'data_dir = "data"\n[door]\nhost_key_file = "host_key"\n[vault]\nmaster_key_file = "master.key"\n'


@dataclass(frozen=True)
class Way:
    """How requests reach the endpoints; ``call`` sends one and gives back the body of its answer in the clear."""

    name: str
    call: Callable[[httpx.Client, str, str, bytes | None], bytes]


def plainly(client: httpx.Client, method: str, path: str, body: bytes | None) -> bytes:
    """A request and its answer as they are."""
    answer = client.request(method, path, content=body)
    answer.raise_for_status()
    return answer.content


WAYS = {"plain": Way("plain", plainly)}


def main() -> None:
    """Run the bench and print its figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--profiles", type=int, default=100_000)
    arguments.add_argument("--requests", type=int, default=200, help="of each kind")
    arguments.add_argument("--clients", type=int, default=15, help="that upload at once")
    arguments.add_argument("--way", choices=sorted(WAYS), action="append", help="default: each")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="sealdrop-bench-api-") as name:
        figures = _measure(Path(name), given)
    if given.json:
        print(json.dumps(figures, indent=2))
        return
    for what, value in figures.items():
        print(f"{what:28} {value}")


def _measure(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    settings_file = folder / "sealdrop.toml"
    settings_file.write_text(_SETTINGS)
    prepare(
        Settings(
            data_dir=folder / "data",
            door=DoorSettings(host_key_file=folder / "host_key"),
            vault=VaultSettings(master_key_file=folder / "master.key"),
        )
    )
    figures: dict[str, Any] = {"events": given.events, "profiles": given.profiles}
    with contextlib.closing(App(load_settings(settings_file))) as app:
        app.accounts.add(ACCOUNT, now=app.now(), actor="bench", contact_addresses=[])
        started = time.perf_counter()
        fill(app.lake, events=given.events, profiles=given.profiles)
        figures["fill_s"] = round(time.perf_counter() - started, 1)
        started = time.perf_counter()
        app.lake.compact(ACCOUNT, keep_s=0)
        figures["compact_s"] = round(time.perf_counter() - started, 1)
        figures["compact_peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    with _served(settings_file) as port:
        for way in [WAYS[name] for name in given.way or sorted(WAYS)]:
            figures[way.name] = {
                **_reads(port, way, given),
                **_uploads(port, way, given, records=1),
                **_uploads(port, way, given, records=100),
            }
    return figures


@contextlib.contextmanager
def _served(settings_file: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.support.data_api", str(settings_file), ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def _client(port: int) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-Account": ACCOUNT}, timeout=120)


def _reads(port: int, way: Way, given: argparse.Namespace) -> dict[str, Any]:
    chance = random.Random(8)

    def user() -> int:
        return chance.randrange(given.profiles)

    with _client(port) as client:
        cursors = _cursors(client, way, chance)
        return {
            "profile_by_identity_ms": _timed(
                given.requests, lambda: way.call(client, "GET", f"/1/profile.json?identity={identity(user())}", None)
            ),
            "profile_by_email_ms": _timed(
                given.requests, lambda: way.call(client, "GET", f"/1/profile.json?email={email(user())}", None)
            ),
            "events_page_ms": _timed(
                given.requests,
                lambda cursor: way.call(client, "GET", f"/1/events.json?cursor={cursor}", None),
                given=lambda: next(cursors),
            ),
        }


def _cursors(client: httpx.Client, way: Way, chance: random.Random) -> Iterator[str]:
    """Cursors at pages of random names, from random days to the end of the year: full ones, but for the last."""
    while True:
        first = chance.randrange(DAYS // 2)
        day, name = 20260101 + first // 28 % 12 * 100 + first % 28, f"Event {chance.randrange(NAMES)}"
        query = json.dumps({"event_name": name, "from": day, "to": 20261231}).encode()
        cursor = json.loads(way.call(client, "POST", f"/1/events.json?batch_size={_PAGE}", query))["cursor"]
        for _ in range(chance.randrange(4)):
            page = json.loads(way.call(client, "GET", f"/1/events.json?cursor={cursor}", None))
            cursor = page.get("next_cursor", cursor)
        yield cursor


def _timed(count: int, call: Callable[..., object], *, given: Callable[[], object] | None = None) -> dict[str, float]:
    """Milliseconds of so many calls, each with what ``given`` makes before the clock runs."""
    times = []
    for number in range(count + 1):
        arguments = () if given is None else (given(),)
        started = time.perf_counter()
        call(*arguments)
        if number:  # the first one opens tables
            times.append((time.perf_counter() - started) * 1000)
    times.sort()
    return {"median": round(statistics.median(times), 1), "p95": round(times[len(times) * 95 // 100], 1)}


def _uploads(port: int, way: Way, given: argparse.Namespace, *, records: int) -> dict[str, Any]:
    """Requests of so many records, half events and half profiles, from several clients at once."""

    def body(number: int) -> bytes:
        user = {"identity": identity(number % given.profiles)}
        event = {"type": "event", "evtName": "Event 1", "ts": 1767225600, "evtData": {"Price": 1.5, "Item": "item 1"}}
        profile = {"type": "profile", "profileData": {"City": "city 1", "Score": number}}
        return json.dumps({"d": [user | (event if row % 2 == 0 else profile) for row in range(records)]}).encode()

    def send(client_number: int) -> None:
        with _client(port) as client:
            for number in range(client_number, given.requests, given.clients):
                answer = json.loads(way.call(client, "POST", "/1/upload", body(number)))
                assert answer["processed"] == records

    started = time.perf_counter()
    with ThreadPoolExecutor(given.clients) as threads:
        list(threads.map(send, range(given.clients)))
    seconds = time.perf_counter() - started
    return {
        f"upload_{records}_requests_per_s": round(given.requests / seconds, 1),
        f"upload_{records}_records_per_s": round(given.requests * records / seconds),
    }


if __name__ == "__main__":
    main()

"""The HTTP API over real connections, plain and with HPKE: uploads, and reads from a compacted lake.

    python -m bench.api --json                                           a million events, a hundred thousand profiles
    python -m bench.api --json --events 10000000 --profiles 1000000      what issue 8 asks for

``sealdrop serve --only http`` serves it in a process of its own, without TLS, so that client and server do not share a
lock; requests log in with a passcode. Prints requests and records a second for uploads by several clients at once, and
median and 95th percentile of the milliseconds of single requests, one after the other, of the two ways by turns. What
the client needs to encrypt and decrypt is not in them: ``hpke_cost`` is what encryption adds to a request at the
service, as a part of the plain median.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from bench.api_data import ACCOUNT, DAYS, NAMES, email, fill, identity
from ingest.app import App
from ingest.client import SEALED
from ingest.http.scopes import Scope
from ingest.installation import prepare
from ingest.keyset_custody import add_response_keyset, export_request_keyset, make_request_keyset
from ingest.ledger.api_access import Credential, HpkeRules
from ingest.settings import DoorSettings, Settings, VaultSettings, load_settings
from keystore.passcode import make_passcode, verifier_of
from keystore.tink_keyset import PrivateKeyset, PublicKeyset

_PAGE = 5000
_MANY = 10**6
_SETTINGS = f"""data_dir = "data"
[door]
host_key_file = "host_key"
[vault]
master_key_file = "master.key"
[http]
allow_plain = true
port = 0
account_requests_per_s = {_MANY}
source_requests_per_s = {_MANY}
max_uploads = 1000
max_reads = 1000
"""


@dataclass(frozen=True)
class Way:
    """How requests reach the endpoints: ``wrap`` makes body and headers of one, ``unwrap`` reads its answer."""

    name: str
    passcode: str
    to_us: PublicKeyset | None = None
    to_you: PrivateKeyset | None = None

    def wrap(self, body: bytes | None) -> tuple[bytes | None, dict[str, str]]:
        if self.to_us is None:
            return body, {"Content-Type": "application/json"}
        if body is None:
            return None, {"Accept": SEALED}
        return self.to_us.seal(body, ACCOUNT), {"Accept": SEALED, "Content-Type": SEALED}

    def unwrap(self, content: bytes) -> Any:
        if self.to_you is not None:
            opened = self.to_you.opened(content, ACCOUNT)
            assert opened is not None
            content = opened[1]
        return json.loads(content)

    def client(self, port: int) -> httpx.Client:
        login = {"X-Account-Id": ACCOUNT, "X-Passcode": self.passcode}
        return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=login, timeout=120)

    def call(self, client: httpx.Client, method: str, path: str, body: bytes | None = None) -> tuple[float, Any]:
        """Milliseconds between sending and having the answer, and what it says."""
        content, headers = self.wrap(body)
        started = time.perf_counter()
        answer = client.request(method, path, content=content, headers=headers)
        took_ms = (time.perf_counter() - started) * 1000
        answer.raise_for_status()
        return took_ms, self.unwrap(answer.content)


def main() -> None:
    """Run the bench and print its figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--profiles", type=int, default=100_000)
    arguments.add_argument("--requests", type=int, default=200, help="of each kind")
    arguments.add_argument("--clients", type=int, default=15, help="that upload at once")
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
        ways = _ways(app)
    with _served(settings_file) as port:
        figures |= {way.name: figures_of for way, figures_of in zip(ways, _singles(port, ways, given), strict=True)}
        plain, sealed = (figures[way.name] for way in ways)
        figures["hpke_cost"] = {what: round(sealed[what]["median"] / plain[what]["median"] - 1, 3) for what in plain}
        for way in ways:
            figures[way.name] |= _uploads(port, way, given, records=1) | _uploads(port, way, given, records=100)
    return figures


def _ways(app: App) -> tuple[Way, Way]:
    """Plain, and with keysets that the two ends have exchanged."""
    passcode, now = make_passcode(), app.now()
    scopes = tuple(scope.value for scope in Scope)
    credential = Credential(passcode.credential_id, ACCOUNT, scopes, verifier_of(passcode.text), now)
    app.api_accesses.add_credential(credential, actor="bench")
    rules = HpkeRules(enabled=True, entitled=True, enforced=False)
    app.api_accesses.set_hpke(ACCOUNT, rules, now=now, actor="bench")
    keep, mine = timedelta(days=1), PrivateKeyset.generate()
    make_request_keyset(app, ACCOUNT, rotate=False, keep_former=keep, actor="bench")
    add_response_keyset(app, ACCOUNT, mine.public().as_binary(), keep_former=keep, actor="bench")
    to_us = export_request_keyset(app, ACCOUNT, actor="bench")
    return Way("plain", passcode.text), Way("hpke", passcode.text, to_us, mine)


@contextlib.contextmanager
def _served(settings_file: Path) -> Iterator[int]:
    command = [str(Path(sys.executable).parent / "sealdrop"), "--config", str(settings_file), "serve", "--only", "http"]
    log = settings_file.with_name("serve.log")
    with log.open("wb") as target, subprocess.Popen(command, stdout=target, stderr=target) as server:
        try:
            while (opened := re.search(r'"http_open", "port": (\d+)', log.read_text())) is None:
                if server.poll() is not None:
                    raise SystemExit(log.read_text())
                time.sleep(0.05)
            yield int(opened[1])
        finally:
            server.terminate()


def _singles(port: int, ways: Sequence[Way], given: argparse.Namespace) -> list[dict[str, dict[str, float]]]:
    """Single requests of each kind, the ways by turns."""
    chance = random.Random(8)
    times: list[dict[str, list[float]]] = [{} for _ in ways]

    def user() -> int:
        return chance.randrange(given.profiles)

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(way.client(port)) for way in ways]
        cursors = [_cursors(client, way, random.Random(8)) for client, way in zip(clients, ways, strict=True)]
        for number in range(given.requests + 1):
            by_identity, by_email = (f"/1/profile.json?identity={identity(user())}", f"?email={email(user())}")
            upload = _body(number, 100, given.profiles)
            for way, client, pages, told in zip(ways, clients, cursors, times, strict=True):
                kinds = {
                    "profile_by_identity_ms": ("GET", by_identity, None),
                    "profile_by_email_ms": ("GET", f"/1/profile.json{by_email}", None),
                    "events_page_ms": ("GET", f"/1/events.json?cursor={next(pages)}", None),
                    "upload_100_ms": ("POST", "/1/upload", upload),
                }
                for kind, request in kinds.items():
                    took_ms, _ = way.call(client, *request)
                    if number:  # the first ones open tables
                        told.setdefault(kind, []).append(took_ms)
    return [{kind: _summed(values) for kind, values in told.items()} for told in times]


def _summed(times: list[float]) -> dict[str, float]:
    times.sort()
    return {"median": round(statistics.median(times), 2), "p95": round(times[len(times) * 95 // 100], 2)}


def _cursors(client: httpx.Client, way: Way, chance: random.Random) -> Iterator[str]:
    """Cursors at pages of random names, from random days to the end of the year: full ones, but for the last."""
    while True:
        first = chance.randrange(DAYS // 2)
        day, name = 20260101 + first // 28 % 12 * 100 + first % 28, f"Event {chance.randrange(NAMES)}"
        query = json.dumps({"event_name": name, "from": day, "to": 20261231}).encode()
        cursor = way.call(client, "POST", f"/1/events.json?batch_size={_PAGE}", query)[1]["cursor"]
        for _ in range(chance.randrange(4)):
            page = way.call(client, "GET", f"/1/events.json?cursor={cursor}")[1]
            cursor = page.get("next_cursor", cursor)
        yield cursor


def _body(number: int, records: int, profiles: int) -> bytes:
    """A request of so many records, half events and half profiles."""
    user = {"identity": identity(number % profiles)}
    event = {"type": "event", "evtName": "Event 1", "ts": 1767225600, "evtData": {"Price": 1.5, "Item": "item 1"}}
    profile = {"type": "profile", "profileData": {"City": "city 1", "Score": number}}
    return json.dumps({"d": [user | (event if row % 2 == 0 else profile) for row in range(records)]}).encode()


def _uploads(port: int, way: Way, given: argparse.Namespace, *, records: int) -> dict[str, Any]:
    """Requests of so many records from several clients at once; they are encrypted before the clock runs."""
    requests = [way.wrap(_body(number, records, given.profiles)) for number in range(given.requests)]

    def send(client_number: int) -> None:
        with way.client(port) as client:
            for content, headers in requests[client_number :: given.clients]:
                answer = client.post("/1/upload", content=content, headers=headers)
                assert way.unwrap(answer.content)["processed"] == records

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

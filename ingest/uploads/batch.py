"""One batch: the uploads of an account that came at about the same time, judged together and stored in one commit.

    lock the account's uploads > what came before under the same keys > judge > ledger: place and keys > lake > answers

Rules:

- A request is answered after its rows are durable, or not at all with its rows stored under a key that finds them.
- With an idempotency key the ledger has the answer before the lake has the rows, and names the mark of their commit:
  the lake says whether it happened. Without a mark there, the request is carried out as if it had never come.
- A writer counts its commits under an ID of its own, and takes another ID after anything went wrong: so a number says
  that this very commit is there.
- The lock excludes other threads and processes that serve uploads of the account; it ends with its process.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

import structlog

from ingest.clock import Now
from ingest.errors import AccountDisabled, KeyReused, LedgerUnavailable
from ingest.ledger.accounts import Accounts
from ingest.ledger.history import History
from ingest.ledger.sweeps import Sweeps
from ingest.ledger.uploads import Remembered, Uploads
from ingest.settings import Settings
from ingest.uploads.body import Body, Fault, Record
from ingest.uploads.verdicts import Judged, Rules, judged
from manifests.event_names import EventNames
from manifests.names import EVENT_NAME
from manifests.types import ImportType
from stores.errors import StoreConflict
from stores.lake import Lake
from stores.table import Mark

_LOCK_S = 30.0
_TRIES = 5

_REUSED = "This Idempotency-Key came before, with another body."

_log = structlog.get_logger()


@dataclass(slots=True)
class Upload:
    """One request. ``faults`` are those of its records by number from 0, once it was carried out.

    ``key_hash`` and ``body_hash`` are those of a request with an idempotency key.
    """

    body: Body
    dry_run: bool = False
    key_hash: bytes | None = None
    body_hash: bytes = b""
    faults: dict[int, Fault] = field(default_factory=dict)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.faults = {number: each for number, each in enumerate(self.body.records) if isinstance(each, Fault)}

    def good(self) -> Iterator[tuple[int, Record]]:
        """The records that can be judged, with their numbers."""
        return ((number, each) for number, each in enumerate(self.body.records) if isinstance(each, Record))

    def type_of(self, number: int) -> ImportType | None:
        """The type of a record; ``None`` for one that cannot be judged."""
        record = self.body.records[number]
        return record.type if isinstance(record, Record) else None


class Batches:
    """Carries out batches; any number of threads. Blocks."""

    def __init__(
        self,
        settings: Settings,
        *,
        accounts: Accounts,
        history: History,
        uploads: Uploads,
        sweeps: Sweeps,
        lake: Lake,
        now: Now,
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._history = history
        self._uploads = uploads
        self._sweeps = sweeps
        self._lake = lake
        self._now = now
        self._marks: dict[str, Mark] = {}

    def carry_out(self, account: str, requests: Sequence[Upload]) -> None:
        """Bring every request of the account to its end: each has its ``faults`` then, or its ``error``."""
        dry = [[request] for request in requests if request.dry_run]  # what is not stored is no example for others
        stored, repeats = _without_repeats([request for request in requests if not request.dry_run])
        for together in (*dry, stored):
            try:
                if together:
                    self._carry_out(account, together)
            except Exception as error:
                self._marks.pop(account, None)
                for request in together:
                    request.error = request.error or error
        for repeat, first in repeats:
            repeat.faults, repeat.error = first.faults, first.error

    def _carry_out(self, account: str, requests: Sequence[Upload]) -> None:
        if requests[0].dry_run:
            self._judge(_Batch(account, requests, {}), ImportType, self._now())
            return
        with self._lake.uploading(account, wait_s=_LOCK_S):
            now = self._now()
            since = self._sweeps.surely(now) - timedelta(seconds=self._settings.uploads.remember_s)
            batch = self._without_answered(account, requests, since)
            if batch.requests:
                self._store(batch, now, since)

    def _store(self, batch: _Batch, now: datetime, since: datetime) -> None:
        account = batch.account
        mark = self._next_mark(account)
        batch_id = f"{mark.id}-{mark.number}"
        rows = self._judge(batch, ImportType, now)
        stored = 0
        for tries in range(1, _TRIES + 1):
            keyed = batch.remembered(mark)
            sequence = self._uploads.begin(account, batch_id, keyed, now=now, since=since)
            try:
                for kind in list(rows):
                    self._append(account, kind, rows[kind], batch_id, mark, sequence=sequence, received_at=now)
                    stored += rows[kind].accepted.height
                    del rows[kind]
                break
            except StoreConflict:  # an import has added columns at the same moment, and nothing of this kind is stored
                if tries == _TRIES:
                    raise
                rows = self._judge(batch, list(rows), now)
        requests = len(batch.requests)
        _log.info("uploads_stored", action="uploads_stored", account=account, requests=requests, rows=stored)
        try:
            self._history.add_event_names(account, batch.names.stored, now)
        except LedgerUnavailable as error:  # the verdict follows the lake; the names are new again the next time
            _log.error("event_names_unrecorded", action="event_names_unrecorded", account=account, detail=error.detail)

    def _append(
        self,
        account: str,
        kind: ImportType,
        rows: Judged,
        batch_id: str,
        mark: Mark,
        *,
        sequence: int,
        received_at: datetime,
    ) -> None:
        if not rows.accepted.is_empty():
            self._lake.append(
                account,
                kind,
                batch_id,
                sequence=sequence,
                received_at=received_at,
                properties=rows.properties,
                frames=iter([rows.accepted]),
                mark=mark,
            )

    def _judge(self, batch: _Batch, kinds: Iterable[ImportType], now: datetime) -> dict[ImportType, Judged]:
        """What may be stored of these kinds, with its faults told to the requests."""
        account = self._accounts.get(batch.account)
        if account is None or account.state != "active":
            raise AccountDisabled(f"The account {batch.account} is closed. Nothing was stored.")
        limits = self._settings.limits
        found: dict[ImportType, Judged] = {}
        for kind in kinds:
            rules = Rules(
                self._lake.registry(account.id, kind),
                allow_reserved_events=account.allow_reserved_events,
                max_properties=limits.max_properties,
            )
            if kind is ImportType.EVENT:
                batch.names = self._history.names_of_events(account.id, most=limits.max_event_names)
            found[kind] = judged(kind, batch.records(kind), rules, batch.names, received_at=now)
            batch.tell(kind, found[kind].faults)
            if kind is ImportType.EVENT and batch.names.unconfirmed and found[kind].accepted.height:
                batch.names.confirm(found[kind].accepted[EVENT_NAME].unique())
        return found

    def _without_answered(self, account: str, requests: Sequence[Upload], since: datetime) -> _Batch:
        """The requests that are to be carried out, and what the lake has of them already.

        The others get what came before under their key: the answer, or `KeyReused`.
        """
        keys = {request.key_hash for request in requests if request.key_hash is not None}
        earlier = self._uploads.remembered(account, keys, since=since)
        fresh: list[Upload] = []
        there: dict[int, set[ImportType]] = {}
        for request in requests:
            before = None if request.key_hash is None else earlier.get(request.key_hash)
            if before is None:
                fresh.append(request)
                continue
            if before.body_hash != request.body_hash:
                request.error = KeyReused(_REUSED)
                continue
            mark = Mark(before.writer, before.number)
            stored = {kind for kind in ImportType if self._lake.committed(account, kind, mark)}
            stored |= {ImportType(kind) for kind in before.there}
            faults = {int(number): Fault(*fault) for number, *fault in before.faults}
            kinds = {each.type for number, each in request.good() if number not in faults}
            if kinds <= stored:
                request.faults = faults
                continue
            request.faults = {n: fault for n, fault in faults.items() if request.type_of(n) in (None, *stored)}
            there[len(fresh)] = stored
            fresh.append(request)
        return _Batch(account, fresh, there)

    def _next_mark(self, account: str) -> Mark:
        before = self._marks.get(account, Mark(f"upload-{secrets.token_hex(8)}", 0))
        self._marks[account] = mark = Mark(before.id, before.number + 1)
        return mark


class _Batch:
    """Requests that are judged together; their records are numbered through, in the order of receipt.

    ``there`` says by place of a request of which kinds the lake has its rows already.
    """

    def __init__(self, account: str, requests: Sequence[Upload], there: Mapping[int, set[ImportType]]) -> None:
        self.account = account
        self.requests = requests
        self.names = EventNames()
        self._there = there
        self._first = [0, *accumulate(len(request.body.records) for request in requests)]

    def records(self, kind: ImportType) -> dict[int, Record]:
        """The records of a kind that are to be stored, by their number in the batch."""
        return {
            self._first[place] + number: record
            for place, request in enumerate(self.requests)
            if kind not in self._there.get(place, ())
            for number, record in request.good()
            if record.type is kind
        }

    def remembered(self, mark: Mark) -> list[Remembered]:
        """What the ledger is to know of the requests with a key before the commit of this mark."""
        return [
            Remembered(
                request.key_hash,
                request.body_hash,
                mark.id,
                mark.number,
                [str(kind) for kind in self._there.get(place, ())],
                _as_json(request.faults),
            )
            for place, request in enumerate(self.requests)
            if request.key_hash is not None
        ]

    def tell(self, kind: ImportType, faults: Mapping[int, Fault]) -> None:
        """Give each request the faults of its records of a kind, in place of those that it was told before."""
        for place, request in enumerate(self.requests):
            if kind not in self._there.get(place, ()):
                request.faults = {n: fault for n, fault in request.faults.items() if request.type_of(n) is not kind}
        for number, fault in faults.items():
            place = bisect_right(self._first, number) - 1
            self.requests[place].faults[number - self._first[place]] = fault


def _without_repeats(requests: Sequence[Upload]) -> tuple[list[Upload], list[tuple[Upload, Upload]]]:
    """The requests without those that repeat another one of them, and these, each with the first."""
    first: dict[bytes, Upload] = {}
    once: list[Upload] = []
    repeats: list[tuple[Upload, Upload]] = []
    for request in requests:
        before = request if request.key_hash is None else first.setdefault(request.key_hash, request)
        if before is request:
            once.append(request)
        elif before.body_hash == request.body_hash:
            repeats.append((request, before))
        else:
            request.error = KeyReused(_REUSED)
    return once, repeats


def _as_json(faults: Mapping[int, Fault]) -> list[list[Any]]:
    """The faults as the ledger keeps them: no value of a record is in them."""
    return [[number, *astuple(fault)] for number, fault in sorted(faults.items())]

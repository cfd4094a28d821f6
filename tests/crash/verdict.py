"""Whether what is there after a round is what is there without a death: the lake row by row, ledger, results, mails."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from sqlalchemy import select

from ingest.ledger.deliveries import Deliveries
from ingest.ledger.imports import Imports
from ingest.ledger.tables import notices
from ingest.report import Report
from ingest.results import report_name
from ingest.states import State
from manifests.types import ImportType
from tests.crash.site import Site
from tests.crash.workload import ACCOUNTS, EMAIL, ITEMS, Item, by_name

_OF_THE_LAKE = ("_import", "_sequence", "_received_at")
_LOOK_EVERY_S = 0.1

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Stored:
    """What one import has stored, and what its report says of it."""

    rows: Rows
    told: tuple[object, ...]


@dataclass
class Verdict:
    """What is wrong after a round, in words; rows are counted by what became of them."""

    lost: int = 0
    doubled: int = 0
    half_visible: int = 0
    other: list[str] = field(default_factory=list)
    looks: int = 0

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.half_visible or self.other)

    def __str__(self) -> str:
        counts = f"{self.lost} rows lost, {self.doubled} doubled, {self.half_visible} imports half visible"
        return "; ".join([counts, *self.other])


class Watch:
    """Looks into the lake all the time, from outside, for imports of which only a part is there."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._stop = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._versions: dict[tuple[str, ImportType], int] = {}
        self.counts: dict[str, set[int]] = {}
        self.errors: list[str] = []
        self.looks = 0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def without_looks(self) -> AbstractContextManager[bool]:
        """No look in the block: the disk is not there while it is without power."""
        return self._looking

    def _look_on(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            with self._looking:
                for account in ACCOUNTS:
                    for kind in ImportType:
                        try:
                            self._look(account, kind)
                        except Exception as error:
                            self.errors.append(f"a reader of {account}'s {kind} met {type(error).__name__}: {error}")
            self.looks += 1

    def _look(self, account: str, kind: ImportType) -> None:
        table = _table(self._site, account, kind)
        if table is None or self._versions.get((account, kind)) == table.version():
            return  # what a version shows never changes
        self._versions[account, kind] = table.version()
        for import_id, rows in _counts(table).items():
            self.counts.setdefault(import_id, set()).add(rows)


def _table(site: Site, account: str, kind: ImportType) -> DeltaTable | None:
    with suppress(TableNotFoundError):
        return DeltaTable(site.lake.folder(account, kind))
    return None


def _counts(table: DeltaTable) -> dict[str, int]:
    """How many rows each import has in a table, as any reader sees them."""
    return dict(pl.scan_delta(table).group_by("_import").len().collect().iter_rows())


def rows_of(site: Site, report: Report, kind: ImportType) -> Rows:
    """The rows of an import, without what differs from run to run."""
    table = DeltaTable(site.lake.folder(report.account, kind))
    rows = pl.scan_delta(table).filter(pl.col("_import") == report.id).sort("_row").drop(_OF_THE_LAKE).collect()
    return [{name: value for name, value in row.items() if value is not None} for row in rows.to_dicts()]


def imports_of(site: Site, item: Item, tag: str) -> list[Report]:
    """The imports of one item of a round."""
    newest = Imports(site.database).newest(account=item.account, limit=1000)
    return [report for report in newest if report.manifest == item.manifest_name(tag)]


def told(report: Report) -> tuple[object, ...]:
    """What a report says of its rows and its verdict."""
    rejects = tuple((reject.row, reject.code, reject.column) for reject in report.rejects)
    return (report.state, report.code, report.rows_read, report.rows_stored, report.rows_rejected, rejects)


def stored(site: Site, tag: str) -> dict[str, Stored]:
    """What a round without a death has stored, by item: the reference for all others."""
    found = {}
    for item in ITEMS:
        (report,) = imports_of(site, item, tag)
        found[item.name] = Stored(rows_of(site, report, ImportType(str(report.type))), told(report))
        assert len(found[item.name].rows) == report.rows_stored, item.name
        assert (report.state == State.SKIPPED) == (report.rows_stored == 0), item.name
    assert len([one for one in found.values() if not one.rows]) == len([item for item in ITEMS if item.again])
    return found


def judge(site: Site, tag: str, reference: dict[str, Stored], watch: Watch) -> Verdict:
    """Compare a round with the reference."""
    verdict = Verdict(looks=watch.looks, other=watch.errors[:3])
    reference = _as_it_came(site, tag, reference)
    for item in ITEMS:
        reports = imports_of(site, item, tag)
        if len(reports) != 1:
            verdict.other.append(f"{item.name}: {len(reports)} imports of one upload")
        for report in reports:
            _judge_import(site, item, report, reference[item.name], watch, verdict)
        verdict.doubled += max(0, len(reports) - 1) * len(reference[item.name].rows)
        verdict.lost += len(reference[item.name].rows) if not reports else 0
        waiting = site.spool_root / "drops" / item.account
        verdict.other += [
            f"{item.name}: {name} is still in the drop"
            for name in (item.data_name(tag), item.manifest_name(tag))
            if (waiting / name).exists()
        ]
    _judge_lake(site, verdict)
    return verdict


def _as_it_came(site: Site, tag: str, reference: dict[str, Stored]) -> dict[str, Stored]:
    """The reference, where of two uploads of the same bytes the later one may be the first: its worker lived longer."""
    came = dict(reference)
    for item in ITEMS:
        if item.again and State.SKIPPED in [report.state for report in imports_of(site, by_name(item.again), tag)]:
            came[item.name], came[item.again] = reference[item.again], reference[item.name]
    return came


def _judge_import(site: Site, item: Item, report: Report, reference: Stored, watch: Watch, verdict: Verdict) -> None:
    def wrong(what: str) -> None:
        verdict.other.append(f"{item.name} ({report.id}): {what}")

    if told(report) != reference.told:
        wrong(f"reported {told(report)} instead of {reference.told}")
    rows = rows_of(site, report, ImportType(str(report.type))) if report.type else []
    have, want = _counted(rows), _counted(reference.rows)
    verdict.lost += (want - have).total()
    verdict.doubled += (have - want).total()
    if rows != reference.rows and have == want:
        wrong("its rows have another order")
    seen = watch.counts.get(report.id, set()) - {len(reference.rows)}
    if seen:
        verdict.half_visible += 1
        wrong(f"a reader saw {sorted(seen)} of {len(reference.rows)} rows")
    _judge_results(site, report, wrong)
    _judge_notices(site, report, wrong)


def _judge_results(site: Site, report: Report, wrong: Any) -> None:
    results = site.spool_root / "drops" / report.account / "results"
    try:
        content = json.loads((results / report_name(report.manifest, report.id)).read_bytes())
    except (OSError, ValueError) as error:
        wrong(f"no report in results/: {type(error).__name__}")
    else:
        if (content["state"], content["rows_stored"]) != (report.state, report.rows_stored):
            wrong("the report in results/ says something else than the ledger")
    if report.rows_rejected:
        rejects = results / str(report.reject_file)
        if not rejects.exists() or not rejects.read_bytes().rstrip().endswith(b"-----END PGP MESSAGE-----"):
            wrong("no reject file in results/")


def _judge_notices(site: Site, report: Report, wrong: Any) -> None:
    deliveries = Deliveries(site.database).of_import(report.id)
    stages = Counter((delivery.stage, delivery.recipient, delivery.state) for delivery in deliveries)
    recipient = EMAIL[report.account]
    expected = ["skipped"] if report.state == State.SKIPPED else ["picked_up", "succeeded"]
    if stages != Counter((stage, recipient, "sent") for stage in expected):
        wrong(f"notices in the outbox: {sorted(stages.elements())}")
    with site.database.read() as connection:
        wanted = select(notices.c.message_id, notices.c.stage).where(notices.c.import_id == report.id)
        known = {row.message_id: row.stage for row in connection.execute(wanted)}
    mails = Counter(each for each in site.message_ids() if f"<{report.id}." in each)
    if mails.keys() != known.keys():
        wrong(f"{len(mails)} different mails arrived for {len(known)} notices")
    if any(times > 2 for times in mails.values()):
        wrong(f"one mail arrived {max(mails.values())} times")


def _judge_lake(site: Site, verdict: Verdict) -> None:
    """Every row in the lake belongs to an import that succeeded, and is counted in its report."""
    for account in ACCOUNTS:
        reports = {report.id: report for report in Imports(site.database).newest(account=account, limit=10_000)}
        for kind in ImportType:
            table = _table(site, account, kind)
            for import_id, rows in ({} if table is None else _counts(table)).items():
                report = reports.get(import_id)
                if report is None or report.rows_stored != rows:
                    verdict.doubled += rows - (report.rows_stored if report is not None else 0)
                    verdict.other.append(f"{rows} rows of {import_id} in the lake, which the ledger does not tell of")


def _counted(rows: Rows) -> Counter[str]:
    return Counter(json.dumps(row, sort_keys=True, default=str) for row in rows)

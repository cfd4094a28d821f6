"""The sweeper: removes what nobody needs any more, each thing after its own time (`[retention]` in the settings).

Safe to be killed at any place and to run in several processes at once: each thing is removed first and remembered as
removed after that. It never touches an import that is not over, or is held. It trusts no clock that has just jumped
(`ingest.ledger.sweeps`).

Diagnostics: ``swept`` with what went, ``clock_distrusted``, ``not_removed`` for a file that the disk keeps,
``audit_not_cut``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from failpoints import passing
from ingest.app import App
from ingest.errors import AuditBroken
from ingest.ledger.audit_cut import count_old, cut_audit
from ingest.ledger.sweeps import Kept, Old
from ingest.results import report_name
from keystore.errors import KeystoreError

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Swept:
    """How many of a kind of thing were removed, or would be; ``bytes`` of those that are files of imports."""

    what: str
    count: int
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep did; nothing while the clock is distrusted."""

    swept: list[Swept]
    distrusted_until: datetime | None = None


def sweep(app: App, *, dry_run: bool = False, believe_clock: bool = False) -> Sweep:
    """Remove what is old; with ``dry_run`` only tell. ``believe_clock``: the operator says that it is right.

    Raises `LedgerUnavailable`.
    """
    now, keep = app.now(), app.settings.retention
    if believe_clock:
        app.sweeps.believe(now)
    until = app.sweeps.distrusted_until(now)
    if until is not None:
        _log.error("clock_distrusted", action="clock_distrusted", until=until.isoformat())
        return Sweep([], until)

    def before(days: int) -> datetime:
        return now - timedelta(days=days)

    unfinished_s = app.settings.door.keep_unfinished_s
    swept = [
        _of_imports(app, "files", before(keep.archive_days), dry_run=dry_run),
        _of_imports(app, "results", before(keep.results_days), dry_run=dry_run),
        Swept("unfinished uploads", app.spool.sweep_parts(older_than_s=unfinished_s, dry_run=dry_run)),
        Swept("unfinished copies", _copies(app, older_than_s=unfinished_s, dry_run=dry_run)),
        Swept("notices", app.sweeps.forget_notices(before(keep.notices_days), dry_run=dry_run)),
        Swept("timelines", app.sweeps.forget_timelines(before(keep.timeline_days), dry_run=dry_run)),
    ]
    if keep.audit_days:
        swept.append(Swept("audit lines", _of_audit(app, before(keep.audit_days), now, dry_run=dry_run)))
    if not dry_run and any(each.count for each in swept):
        _log.info("swept", action="swept", **{each.what.replace(" ", "_"): each.count for each in swept})
    return Sweep(swept)


def _copies(app: App, *, older_than_s: float, dry_run: bool) -> int:
    """Remove what commands that were killed had copied for imports that never came to be; how many."""
    given = app.spool.all_given(older_than_s=older_than_s)
    known = app.imports.known(given)
    unknown = [import_id for import_id in given if import_id not in known]
    for import_id in unknown if not dry_run else ():
        app.spool.discard_given(import_id)
    return len(unknown)


def _of_audit(app: App, before: datetime, now: datetime, *, dry_run: bool) -> int:
    """Cut the audit; not where the master key is not at hand, nor where a line is not as it was written."""
    if dry_run:
        return count_old(app.database, before=before)
    try:
        return cut_audit(app.database, app.open_vault(), before=before, at=now)
    except (KeystoreError, AuditBroken) as error:  # their texts are ours
        _log.error("audit_not_cut", action="audit_not_cut", code=error.code, detail=str(error))
        return 0


def _of_imports(app: App, what: Kept, before: datetime, *, dry_run: bool) -> Swept:
    """Remove the files or the results of imports that were over before then."""
    count = size = 0

    def remove(some: Sequence[Old]) -> list[str]:
        nonlocal count, size
        gone: list[str] = []
        for old in some:
            there = _bytes(app, what, old)
            if not dry_run and not _is_removed(app, what, old):
                continue
            gone.append(old.id)
            if there is not None:
                count, size = count + 1, size + there
        if not dry_run:
            passing("sweep.removed")
            _make_durable(app, what, some)
            passing("sweep.synced")
        return gone

    if dry_run:
        remove(list(app.sweeps.old(what, before)))
    else:
        app.sweeps.remove(what, before, app.now(), remove)
    return Swept(what, count, size)


def _is_removed(app: App, what: Kept, old: Old) -> bool:
    """Remove the files or the results of one import; whether the disk let them go."""
    try:
        if what == "files":
            app.spool.discard_taken(old.id)
        else:
            app.spool.remove_results(old.account, _results(old))
    except OSError as error:
        _log.error("not_removed", action="not_removed", import_id=old.id, what=what, error=error.strerror)
        return False
    return True


def _make_durable(app: App, what: Kept, some: Sequence[Old]) -> None:
    """Before the ledger remembers: what a loss of power brought back after that would stay for good."""
    if what == "files":
        app.spool.sync_discarded()
        return
    for account in {old.account for old in some}:
        app.spool.sync_results(account)


def _results(old: Old) -> list[str]:
    """The names in ``results/`` of an import."""
    return [name for name in (report_name(old.manifest, old.id), old.reject_file) if name is not None]


def _bytes(app: App, what: Kept, old: Old) -> int | None:
    """The size of what is still there of an import; ``None`` when it is gone already."""
    folder = app.spool.results(old.account)
    files = app.spool.taken_files(old.id) if what == "files" else [folder / name for name in _results(old)]
    sizes = [file.stat(follow_symlinks=False).st_size for file in files if file.is_file()]
    return sum(sizes) if sizes else None

"""Carry out one import: read its manifest, pull its file into the lake (`ingest.pipeline`), settle.

A duplicate (`ingest.duplicates`) is not pulled: it is skipped, or waits for the end of the first.

Whatever goes wrong ends in one place, `Carrier._fail`, which asks `ingest.outcomes` what happens next.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from time import monotonic, sleep

import structlog

from failpoints import passing
from ingest.addressees import notices_of_import
from ingest.backoff import next_attempt
from ingest.clock import Now
from ingest.disk import Disk
from ingest.drift import drift_between
from ingest.duplicates import Duplicates, Twin
from ingest.errors import (
    AccountDisabled,
    FileMissing,
    Interrupted,
    LeaseLost,
    LedgerUnavailable,
    SpoolUnavailable,
    WorkerLost,
)
from ingest.ledger.accounts import Accounts
from ingest.ledger.history import History
from ingest.ledger.queue import Lease, Queue
from ingest.notices.notice import Stage
from ingest.outcomes import OUR_FAULT, Next, after, cause_of, code_of, public_of
from ingest.pipeline import Attempt, Pipeline
from ingest.report import Report
from ingest.results import reject_file_name
from ingest.settings import Settings
from ingest.spool import Spool
from ingest.states import State
from ingest.steps.map import Tally
from ingest.steps.settle import rejects_message, settle
from keystore.errors import KeystoreError
from manifests.errors import ManifestInvalid
from manifests.model import Manifest
from manifests.parse import MAX_JSON_BYTES, parse_manifest
from manifests.types import ImportType
from stores.errors import StoreError
from stores.lake import Lake

_LEDGER_PAUSE_S = 1.0
_SPOOL_TEXT = "A file could not be read or written on our side."

_log = structlog.get_logger()


class Carrier:
    """Carries out claimed imports, one at a time."""

    def __init__(
        self,
        settings: Settings,
        *,
        queue: Queue,
        accounts: Accounts,
        history: History,
        pipeline: Pipeline,
        duplicates: Duplicates,
        spool: Spool,
        disk: Disk,
        lake: Lake,
        now: Now,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._accounts = accounts
        self._history = history
        self._pipeline = pipeline
        self._duplicates = duplicates
        self._spool = spool
        self._disk = disk
        self._lake = lake
        self._now = now

    def carry_out(self, lease: Lease) -> None:
        """Bring the import to an end, or to its next try.

        Raises `LedgerUnavailable`, `Interrupted` and ``KeyboardInterrupt``, all after it gave the import back, if the
        ledger let it within a lease's time; of what nobody foresaw nothing. Where it could not give it back the lease
        ends by itself, and another worker takes over.
        """
        log = _log.bind(import_id=lease.report.id, account=lease.report.account, attempt=lease.report.attempts)
        log.info("import_claimed", action="import_claimed")
        try:
            with self._heartbeat(lease):
                self._carry(lease)
        except LeaseLost:
            log.warning("import_lease_lost", action="import_lease_lost")
        except (Interrupted, KeyboardInterrupt):  # Ctrl-C, where a command carries it out
            self._give_back(lease)
            raise
        except LedgerUnavailable:
            self._give_back(lease, for_s=self._settings.worker.lease_s)
            raise
        except Exception as error:  # a fault in the handling of a fault
            log.critical("import_abandoned", action="import_abandoned", detail=cause_of(error))

    def _give_back(self, lease: Lease, *, for_s: float = 0.0) -> None:
        """Give the import back, when the ledger is there again: an outage is not a lost worker (FAULTS.md W5)."""
        log = _log.bind(import_id=lease.report.id, account=lease.report.account)
        deadline = monotonic() + for_s
        while True:
            try:
                self._queue.give_back(lease, self._now())
            except LedgerUnavailable:
                if monotonic() >= deadline:
                    raise
                sleep(_LEDGER_PAUSE_S)
            except LeaseLost:
                log.warning("import_lease_lost", action="import_lease_lost")
                return
            else:
                log.info("import_given_back", action="import_given_back")
                return

    def _carry(self, lease: Lease) -> None:
        account = self._accounts.get(lease.report.account)
        if account is None:
            raise LookupError("an import of an account that is not in the ledger")
        attempt, twin = Attempt(lease, account), None
        try:
            manifest, content = self._read_manifest(attempt)
            if account.skip_duplicates:
                with attempt.watch.step("compare"):
                    twin = self._duplicates.twin(attempt.report, manifest, content)
            if twin is None:
                self._pick_up(attempt)
                self._pipeline.store(attempt, manifest, partial(self._queue.holding, lease))
        except (LeaseLost, LedgerUnavailable):
            raise
        except Exception as error:
            caught = SpoolUnavailable(_SPOOL_TEXT, detail=cause_of(error)) if isinstance(error, OSError) else error
            try:
                was_stored = self._was_stored(attempt, caught)
            except StoreError as unknown:  # a lake that cannot say is tried again, or held: never a verdict
                was_stored, caught = False, unknown
            if not was_stored:
                self._fail(attempt, caught)
                return
        if twin is None:
            self._settle(attempt, replace(attempt.report, state=State.SUCCEEDED, code=None, message=None, remedy=None))
        elif twin.is_stored:
            self._settle(attempt, twin.report)
        else:
            self._wait(attempt, twin)

    def _was_stored(self, attempt: Attempt, error: Exception) -> bool:
        """Whether the import's rows are in the lake in spite of the error: what fails after the commit undoes nothing.

        Raises ``StoreError`` when the lake cannot say.
        """
        # its manifest may never have been read: it is gone where a ledger was restored from before the commit
        kinds = tuple(ImportType) if attempt.report.type is None else (ImportType(attempt.report.type),)
        counts = [self._lake.stored(attempt.report.account, kind, attempt.report.id) for kind in kinds]
        stored = next((count for count in counts if count is not None), None)
        if stored is None:
            return False
        _log.error(
            "import_failed_after_commit",
            action="import_failed_after_commit",
            import_id=attempt.report.id,
            detail=cause_of(error),
        )
        attempt.rows_stored = stored
        return True

    def _read_manifest(self, attempt: Attempt) -> tuple[Manifest, bytes]:
        """The manifest, also as it was uploaded; the import can be carried out as far as it says."""
        if attempt.lease.lost >= self._settings.worker.max_lost:
            raise WorkerLost(f"{attempt.lease.lost} workers were lost over this import. Its files are kept.")
        self._disk.check_import(self._spool.size(attempt.report.id))
        try:
            with self._spool.taken(attempt.report.id, "manifest").open("rb") as file:
                content = file.read(MAX_JSON_BYTES + 1)
        except FileNotFoundError:
            raise FileMissing("The manifest is not there any more.") from None
        passing("manifest.read")
        try:
            manifest = parse_manifest(content)
        except ManifestInvalid as invalid:
            attempt.report = replace(attempt.report, client_email=invalid.client_email, data_file=invalid.file_name)
            raise
        attempt.report = replace(
            attempt.report,
            type=manifest.type.value,
            key_id=manifest.key_id,
            client_email=manifest.client_email,
            data_file=manifest.file_name,
            dry_run=manifest.dry_run,
        )
        if attempt.account.state != "active":
            raise AccountDisabled(
                f"The account {attempt.account.id} was closed before the file was imported. Nothing of it was stored."
            )
        return manifest, content

    def _pick_up(self, attempt: Attempt) -> None:
        """Tell the sender that the file was picked up."""
        notices = notices_of_import(attempt.report, Stage.PICKED_UP, attempt.account)
        self._queue.picked_up(attempt.lease, attempt.report, notices, self._now())
        passing("picked_up.committed")

    def _wait(self, attempt: Attempt, twin: Twin) -> None:
        """Let a duplicate wait for the end of the first: as long as it has waited already, within bounds."""
        now, worker = self._now(), self._settings.worker
        waited_s = (now - twin.report.received_at).total_seconds()
        wait_s = min(max(waited_s, worker.retry_floor_s), worker.retry_ceiling_s)
        self._queue.wait(attempt.lease, twin.report, now, next_attempt_at=now + timedelta(seconds=wait_s))
        _log.info(
            "import_waits",
            action="import_waits",
            import_id=twin.report.id,
            account=twin.report.account,
            end_of=twin.report.duplicate_of,
            wait_s=wait_s,
        )

    def _fail(self, attempt: Attempt, error: Exception) -> None:
        """Reject, defer or hold the import, as the table of outcomes says; nothing of it was stored."""
        if isinstance(error, KeystoreError):
            # what was read of data that nothing has proven
            attempt.tally = None
            attempt.report = replace(attempt.report, columns=(), preview=())
        consequence = after(error)
        code, message = code_of(error), public_of(error)
        log = _log.bind(import_id=attempt.report.id, account=attempt.report.account, code=code, detail=cause_of(error))
        if consequence.next is Next.DEFER:
            worker, now = self._settings.worker, self._now()
            latest = now + timedelta(seconds=worker.give_up_after_s)
            give_up_at = min(attempt.lease.give_up_at or latest, latest)  # one set by a wrong clock is no promise (W8)
            if now < give_up_at:
                wait = next_attempt(
                    attempt.report.attempts, floor_s=worker.retry_floor_s, ceiling_s=worker.retry_ceiling_s
                )
                log.warning("import_deferred", action="import_deferred", wait_s=wait)
                next_attempt_at = now + timedelta(seconds=wait)
                self._queue.defer(
                    attempt.lease,
                    now,
                    code=code,
                    message=message,
                    next_attempt_at=next_attempt_at,
                    give_up_at=give_up_at,
                )
                return
            consequence = OUR_FAULT
        rejected = consequence.next is Next.REJECT
        if rejected:
            log.info("import_failed", action="import_failed")
        else:
            log.error("import_held", action="import_held")
        report = replace(
            attempt.report,
            state=State.FAILED if rejected else State.HELD,
            code=code,
            message=message,
            remedy=consequence.remedy,
            column=getattr(error, "column", None),
        )
        self._settle(attempt, report)

    def _settle(self, attempt: Attempt, report: Report) -> None:
        """Complete the report, and settle."""
        tally, rejects = attempt.tally, None
        report = replace(report, rows_stored=attempt.rows_stored, rows_read=attempt.rows_stored)
        if tally is not None:
            with attempt.watch.step("rejects"):
                rejects = self._rejects_message(attempt, tally)
            report = replace(
                report,
                rows_read=max(tally.rows_read, attempt.rows_stored),
                rows_rejected=tally.rows_rejected,
                rejects=tuple(tally.shown),
                reject_file=None if rejects is None else reject_file_name(report.manifest, report.id),
                rejects_in_file=0 if rejects is None else len(tally.kept),
            )
        if report.state == State.SUCCEEDED and (before := self._history.previous(report)) is not None:
            report = replace(report, drift=drift_between(before, report))
        report = replace(report, finished_at=self._now(), seconds=attempt.watch.rounded())
        settle(
            self._queue,
            self._spool,
            attempt.lease,
            report,
            attempt.account,
            self._now,
            rejects=rejects,
            keep_files=self._settings.retention.archive_days > 0,
        )
        _log.info(
            "import_settled",
            action="import_settled",
            import_id=report.id,
            account=report.account,
            state=str(report.state),
            code=report.code,
            rows_stored=report.rows_stored,
            rows_rejected=report.rows_rejected,
        )

    def _rejects_message(self, attempt: Attempt, tally: Tally) -> bytes | None:
        """The reject file; the verdict does not depend on it."""
        try:
            return rejects_message(attempt.header, tally.kept, attempt.public_key)
        except Exception as error:
            _log.error("rejects_unwritten", action="rejects_unwritten", detail=cause_of(error))
            return None

    @contextmanager
    def _heartbeat(self, lease: Lease) -> Iterator[None]:
        """Renew the lease in a thread until the block ends."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self._settings.worker.lease_s / 3):
                try:
                    self._queue.heartbeat(lease, self._now())
                except LeaseLost:
                    return  # settling will notice
                except LedgerUnavailable:
                    continue  # the lease has two more beats

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

"""Carry out one import: decrypt > parse > map > load as one pull pipeline, then settle.

`load` pulls; nothing is stored before the last byte was proven. Whatever goes wrong ends in one place,
`Carrier._fail`, which asks `ingest.outcomes` what happens next.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

import structlog

from ingest.backoff import next_attempt
from ingest.clock import Now
from ingest.drift import drift_between
from ingest.errors import (
    AccountDisabled,
    FileMissing,
    Interrupted,
    LeaseLost,
    LedgerUnavailable,
    SpoolUnavailable,
    WorkerLost,
)
from ingest.keyring import Keyring
from ingest.ledger.accounts import Account, Accounts
from ingest.ledger.history import History
from ingest.ledger.pgp_keys import PgpKeys
from ingest.ledger.queue import Lease, Queue
from ingest.ledger.signers import Signers
from ingest.notices.notice import Stage
from ingest.outcomes import OUR_FAULT, Next, after, cause_of, code_of, public_of
from ingest.report import Report
from ingest.results import reject_file_name
from ingest.settings import Settings
from ingest.spool import Spool
from ingest.states import State
from ingest.steps.ahead import ahead
from ingest.steps.bounds import Bounds
from ingest.steps.decrypt import Opening, PlainText
from ingest.steps.load import load
from ingest.steps.map import Tally, columns_read, mapped
from ingest.steps.parse import records_of
from ingest.steps.preview import preview
from ingest.steps.settle import notices_of, rejects_message, settle
from ingest.steps.stopwatch import Stopwatch
from keystore.errors import KeystoreError
from keystore.openpgp import Facts, Limits
from keystore.pgp_signer import Signer
from manifests.errors import ManifestError, ManifestInvalid
from manifests.model import Manifest
from manifests.parse import MAX_JSON_BYTES, parse_manifest
from manifests.plan import build_plan
from manifests.types import ImportType
from stores.errors import StoreError
from stores.lake import Lake

_SPOOL_TEXT = "A file could not be read or written on our side."
_FRAMES_AHEAD = 2  # each holds a chunk of the file: more of them is only more memory

_log = structlog.get_logger()


class Carrier:
    """Carries out claimed imports, one at a time."""

    def __init__(
        self,
        settings: Settings,
        *,
        queue: Queue,
        accounts: Accounts,
        pgp_keys: PgpKeys,
        signers: Signers,
        history: History,
        keyring: Keyring,
        spool: Spool,
        lake: Lake,
        now: Now,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._accounts = accounts
        self._pgp_keys = pgp_keys
        self._signers = signers
        self._history = history
        self._keyring = keyring
        self._spool = spool
        self._lake = lake
        self._now = now

    def carry_out(self, lease: Lease) -> None:
        """Bring the import to an end, or to its next try.

        Raises `LedgerUnavailable`, and `Interrupted` after it gave the import back; of what nobody foresaw nothing:
        in all these cases the lease ends by itself and another worker takes over.
        """
        log = _log.bind(import_id=lease.report.id, account=lease.report.account, attempt=lease.report.attempts)
        log.info("import_claimed", action="import_claimed")
        try:
            with self._heartbeat(lease):
                self._carry(lease)
        except LeaseLost:
            log.warning("import_lease_lost", action="import_lease_lost")
        except Interrupted:
            self._queue.give_back(lease)
            log.info("import_given_back", action="import_given_back")
            raise
        except LedgerUnavailable:
            raise
        except Exception as error:  # a fault in the handling of a fault
            log.critical("import_abandoned", action="import_abandoned", detail=cause_of(error))

    def _carry(self, lease: Lease) -> None:
        account = self._accounts.get(lease.report.account)
        if account is None:
            raise LookupError("an import of an account that is not in the ledger")
        attempt = _Attempt(lease, account)
        try:
            self._store(attempt, self._pick_up(attempt))
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
        self._settle(attempt, replace(attempt.report, state=State.SUCCEEDED, code=None, message=None, remedy=None))

    def _was_stored(self, attempt: _Attempt, error: Exception) -> bool:
        """Whether the import's rows are in the lake in spite of the error: what fails after the commit undoes nothing.

        Raises ``StoreError`` when the lake cannot say.
        """
        if attempt.report.type is None:  # its manifest was never read
            return False
        stored = self._lake.stored(attempt.report.account, ImportType(attempt.report.type), attempt.report.id)
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

    def _pick_up(self, attempt: _Attempt) -> Manifest:
        """Read the manifest, and tell the sender that the file was picked up."""
        if attempt.lease.lost >= self._settings.worker.max_lost:
            raise WorkerLost(f"{attempt.lease.lost} workers were lost over this import. Its files are kept.")
        try:
            with self._spool.taken(attempt.report.id, "manifest").open("rb") as file:
                content = file.read(MAX_JSON_BYTES + 1)
        except FileNotFoundError:
            raise FileMissing("The manifest is not there any more.") from None
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
        notices = notices_of(attempt.report, Stage.PICKED_UP, attempt.account)
        self._queue.picked_up(attempt.lease, attempt.report, notices, self._now())
        return manifest

    def _store(self, attempt: _Attempt, manifest: Manifest) -> None:
        """The pull pipeline, from the taken file to the lake."""
        report, watch = attempt.report, attempt.watch
        settings = self._settings
        opening = self._opening(attempt, manifest)
        plain = PlainText(self._spool.taken(report.id, "data"), manifest, opening, stopwatch=watch)
        tally = attempt.tally = Tally(
            max_shown=settings.results.max_rejects_shown,
            max_kept=settings.results.max_rejects_in_file,
            max_kept_bytes=settings.results.max_reject_bytes,
        )
        chunks = plain.chunks()
        try:
            with watch.step("parse"):
                bounds = Bounds(
                    chunk_bytes=settings.worker.chunk_bytes,
                    max_bytes=settings.openpgp.max_plain_bytes,
                    max_ratio=settings.openpgp.max_ratio,
                )
                records = records_of(watch.waiting(chunks), manifest, bounds)
            attempt.header = records.header
            plan = build_plan(
                manifest,
                records.header,
                self._lake.registry(report.account, manifest.type),
                allow_reserved_events=attempt.account.allow_reserved_events,
                max_properties=settings.limits.max_properties,
            )
            attempt.report = replace(attempt.report, columns=columns_read(plan))
            names = self._history.names_of_events(report.account, most=settings.limits.max_event_names)
            frames = watch.timed("parse", iter(records))
            rows = mapped(
                frames,
                plan,
                received_at=report.received_at,
                tally=tally,
                manifest=manifest,
                watch=watch,
                names=names,
            )
            with closing(ahead(rows, most=_FRAMES_AHEAD, name="map")) as ahead_rows:
                accepted = watch.waiting(ahead_rows)
                if manifest.dry_run:
                    attempt.report = replace(attempt.report, preview=preview(plan, tally, accepted, watch))
                else:
                    attempt.rows_stored = load(self._lake, attempt.lease, manifest.type, plan, accepted, watch)
                    self._history.add_event_names(report.account, names.stored, self._now())
        except ManifestError:
            # what stands in the data says nothing before the message has proven itself: its own failure goes first,
            # or the verdicts would tell apart what the sender's changes made of it (FAULTS.md P32)
            deque(chunks, maxlen=0)
            raise
        finally:
            chunks.close()
            _note_pair(attempt, manifest, opening, plain.facts)
            attempt.report = replace(
                attempt.report,
                bytes_encrypted=plain.bytes_encrypted or None,
                bytes_plain=plain.bytes_plain or None,
                sha256=plain.sha256,
                key_id=plain.facts.key_id or manifest.key_id,
                pair=plain.facts.pair or None,
                signature=plain.facts.signature or None,
                signer=plain.facts.signer or None,
            )
        if attempt.report.pair is not None:
            self._pgp_keys.mark_used(report.account, attempt.report.pair, self._now())

    def _opening(self, attempt: _Attempt, manifest: Manifest) -> Opening:
        """The pairs that may open a file of this account, and all else that it is read with."""
        account, settings = attempt.account, self._settings.openpgp
        pairs = self._keyring.pairs(account.id, manifest.key_id, unlocking=lambda: attempt.watch.step("unlock"))
        signers = []
        if any(pair.signatures != "ignore" for pair in pairs):
            signers = [Signer.stored(each.certificate) for each in self._signers.of_account(account.id)]
        return Opening(
            pairs,
            signers,
            limits=Limits(
                max_plain_bytes=settings.max_plain_bytes,
                max_ratio=settings.max_ratio,
                max_seconds=settings.max_seconds,
                legacy_ciphers=account.allow_legacy_ciphers,
            ),
            engine=settings.engine if account.allow_gnupg else "native",
            require_encryption=account.require_encryption,
            now=self._now(),
        )

    def _fail(self, attempt: _Attempt, error: Exception) -> None:
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
            give_up_at = attempt.lease.give_up_at or now + timedelta(seconds=worker.give_up_after_s)
            if now < give_up_at:
                wait = next_attempt(
                    attempt.report.attempts, floor_s=worker.retry_floor_s, ceiling_s=worker.retry_ceiling_s
                )
                log.warning("import_deferred", action="import_deferred", wait_s=wait)
                next_attempt_at = now + timedelta(seconds=wait)
                self._queue.defer(
                    attempt.lease, code=code, message=message, next_attempt_at=next_attempt_at, give_up_at=give_up_at
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

    def _settle(self, attempt: _Attempt, report: Report) -> None:
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
        settle(self._queue, self._spool, attempt.lease, report, attempt.account, self._now, rejects=rejects)
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

    def _rejects_message(self, attempt: _Attempt, tally: Tally) -> bytes | None:
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


class _Attempt:
    """What is known so far about one try of one import."""

    def __init__(self, lease: Lease, account: Account) -> None:
        self.lease = lease
        self.account = account
        self.report = lease.report
        self.watch = Stopwatch()
        self.header: list[str] = []
        self.tally: Tally | None = None
        self.rows_stored = 0
        self.public_key: bytes | None = None


def _note_pair(attempt: _Attempt, manifest: Manifest, opening: Opening, facts: Facts) -> None:
    """Remember which pair the message was for: the message decides, whatever the manifest says (FAULTS.md P19)."""
    pair = next((pair for pair in opening.pairs if pair.fingerprint == facts.pair), None)
    if pair is None:
        return
    attempt.public_key = pair.public_armored()
    log = _log.bind(import_id=attempt.report.id, account=attempt.account.id, key_id=pair.key_id)
    if manifest.key_id not in (None, pair.key_id):
        log.warning("key_mismatch", action="key_mismatch", named=manifest.key_id)
    if pair.expires_at is not None and pair.expires_at <= opening.now:  # allowed, and told (FAULTS.md P16)
        log.warning("key_expired", action="key_expired", expired_at=pair.expires_at.isoformat())

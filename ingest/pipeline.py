"""The pull pipeline of one import: decrypt > parse > map > load.

`load` pulls; nothing is stored before the last byte was proven.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import replace

import structlog

from failpoints import passing
from ingest.clock import Now
from ingest.keyring import Keyring
from ingest.ledger.accounts import Account
from ingest.ledger.history import History
from ingest.ledger.pgp_keys import PgpKeys
from ingest.ledger.queue import Lease
from ingest.ledger.replays import Replays
from ingest.ledger.signers import Signers
from ingest.settings import Settings
from ingest.spool import Spool
from ingest.steps.ahead import ahead
from ingest.steps.bounds import Bounds
from ingest.steps.decrypt import Opening, PlainText
from ingest.steps.load import load
from ingest.steps.map import Tally, columns_read, mapped
from ingest.steps.parse import records_of
from ingest.steps.preview import preview
from ingest.steps.remaining import remaining
from ingest.steps.stopwatch import Stopwatch
from keystore.openpgp import Facts, Limits
from keystore.pgp_signer import Signer
from manifests.errors import ManifestError
from manifests.model import Manifest
from manifests.plan import build_plan
from stores.lake import Lake

_FRAMES_AHEAD = 1  # each holds a chunk of the file: more of them is only more memory

_log = structlog.get_logger()


class Attempt:
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


class Pipeline:
    """Brings taken files into the lake, one at a time."""

    def __init__(
        self,
        settings: Settings,
        *,
        pgp_keys: PgpKeys,
        signers: Signers,
        history: History,
        replays: Replays,
        keyring: Keyring,
        spool: Spool,
        lake: Lake,
        now: Now,
    ) -> None:
        self._settings = settings
        self._replays = replays
        self._pgp_keys = pgp_keys
        self._signers = signers
        self._history = history
        self._keyring = keyring
        self._spool = spool
        self._lake = lake
        self._now = now

    def store(
        self, attempt: Attempt, manifest: Manifest, committing: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Pull the taken file through all steps into the lake, and commit it there within ``committing``.

        A dry run stores nothing. ``attempt`` learns on the way what becomes known, also when this raises: what the
        steps, the keyring, the ledger and the lake raise. An error of the data comes only after the message has proven
        itself.
        """
        report, watch = attempt.report, attempt.watch
        settings = self._settings
        opening = self._opening(attempt, manifest)
        origin = self._replays.origin(report.id)
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
            with ExitStack() as threads:
                frames = ahead(watch.timed("parse", iter(records)), most=_FRAMES_AHEAD, name="parse")
                records_ahead = watch.waiting(threads.enter_context(closing(frames)))
                if origin.others:
                    stored = self._lake.rows_of(report.account, manifest.type, origin.others)
                    records_ahead = remaining(records_ahead, stored)
                rows = mapped(
                    records_ahead,
                    plan,
                    received_at=origin.received_at,
                    tally=tally,
                    manifest=manifest,
                    watch=watch,
                    names=names,
                )
                mapped_ahead = ahead(rows, most=_FRAMES_AHEAD, name="map")
                accepted = watch.waiting(threads.enter_context(closing(mapped_ahead)))
                if manifest.dry_run:
                    attempt.report = replace(attempt.report, preview=preview(plan, tally, accepted, watch))
                else:
                    attempt.rows_stored = load(
                        self._lake, report, origin, manifest.type, plan, accepted, watch, committing
                    )
                    passing("load.stored")
                    self._history.add_event_names(report.account, names.stored, self._now())
                    passing("load.names_recorded")
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

    def _opening(self, attempt: Attempt, manifest: Manifest) -> Opening:
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


def _note_pair(attempt: Attempt, manifest: Manifest, opening: Opening, facts: Facts) -> None:
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

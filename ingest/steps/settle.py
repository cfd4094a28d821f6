"""Settle: writes what the sender finds in ``results/``, then ends the import with its notices. Safe to repeat."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from failpoints import passing
from ingest.addressees import notices_of_import
from ingest.clock import Now
from ingest.ledger.accounts import Account
from ingest.ledger.queue import Lease, Queue
from ingest.notices.notice import Stage
from ingest.report import RejectedRow, Report
from ingest.results import reject_csv, report_bytes, report_name
from ingest.spool import Spool
from ingest.states import STORED
from keystore.pgp_encrypt import encrypt_to

_log = structlog.get_logger()


def rejects_message(
    header: Sequence[str], rejected: Sequence[tuple[RejectedRow, Sequence[str | None]]], public_key: bytes | None
) -> bytes | None:
    """The rejected rows as a file encrypted to the pair that the data came with.

    ``None`` when no row was rejected, or when there is no pair to encrypt to: a row never lies in ``results/`` in the
    clear.
    """
    if not rejected or public_key is None:
        return None
    return encrypt_to(public_key, reject_csv(header, rejected))


def settle(
    queue: Queue,
    spool: Spool,
    lease: Lease,
    report: Report,
    account: Account,
    now: Now,
    *,
    rejects: bytes | None,
    keep_files: bool,
) -> None:
    """End the import as ``report.state`` says. Raises `LeaseLost` when another worker has it.

    The files of ``results/`` are written while the ledger holds the import for this worker, so a worker that lost it
    writes none. The verdict does not depend on them: a disk that refuses them is logged. The cipher text is kept until
    the sweeper comes (`ingest.retention`), so that nothing is lost by a mistake; that of an import whose rows are
    stored only if ``keep_files``.
    """

    def write_results() -> None:
        try:
            if rejects is not None and report.reject_file is not None:
                spool.write_result(report.account, report.reject_file, rejects)
            spool.write_result(report.account, report_name(report.manifest, report.id), report_bytes(report))
        except OSError as error:
            _log.error("results_unwritten", action="results_unwritten", import_id=report.id, error=error.strerror)

    stage = Stage(report.state) if report.state in STORED else Stage.FAILED
    queue.settle(lease, report, notices_of_import(report, stage, account), now(), while_held=write_results)
    passing("settle.committed")
    if report.state in STORED and not keep_files:
        try:
            spool.discard_taken(report.id)
            passing("discard.done")
        except OSError as error:
            _log.error("taken_undiscarded", action="taken_undiscarded", import_id=report.id, error=error.strerror)

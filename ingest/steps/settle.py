"""Settle: writes what the sender finds in ``results/``, then ends the import with its notices. Safe to repeat."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.clock import Now
from ingest.ledger.accounts import Account
from ingest.ledger.outbox import NewNotice
from ingest.ledger.queue import Lease, Queue
from ingest.notices.notice import Stage
from ingest.notices.recipients import choose_recipients
from ingest.report import RejectedRow, Report
from ingest.results import reject_csv, reject_file_name, report_bytes, report_name
from ingest.spool import Spool
from ingest.states import State
from keystore.pgp_encrypt import encrypt_to


def notices_of(report: Report, stage: Stage, account: Account) -> list[NewNotice]:
    """The notices of a stage: one for each address that may hear of this import."""
    chosen = choose_recipients(report.client_email, account.contacts, account.allowed_domains)
    return [NewNotice(stage, address, chosen.note) for address in chosen.addresses]


def write_rejects(
    spool: Spool,
    report: Report,
    header: Sequence[str],
    rejected: Sequence[tuple[RejectedRow, Sequence[str | None]]],
    public_key: bytes | None,
) -> str | None:
    """Write the rejected rows, encrypted to the pair that the file came with, and return the file's name.

    ``None`` when no row was rejected, or when there is no pair to encrypt to: a row never lies in ``results/`` in the
    clear.
    """
    if not rejected or public_key is None:
        return None
    name = reject_file_name(report.manifest, report.id)
    spool.write_result(report.account, name, encrypt_to(public_key, reject_csv(header, rejected)))
    return name


def settle(queue: Queue, spool: Spool, lease: Lease, report: Report, account: Account, now: Now) -> None:
    """End the import as ``report.state`` says. Raises `LeaseLost` when another worker has it.

    The cipher text of a stored import is removed; that of any other is kept, so that nothing is lost by a mistake.
    """
    spool.write_result(report.account, report_name(report.manifest, report.id), report_bytes(report))
    stage = Stage.SUCCEEDED if report.state == State.SUCCEEDED else Stage.FAILED
    queue.settle(lease, report, notices_of(report, stage, account), now())
    if report.state == State.SUCCEEDED:
        spool.discard_taken(report.id)

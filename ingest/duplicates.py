"""Uploads that come twice, byte for byte, to an account that wants such ones stored once (docs/adr/0023).

Compared are the data file as it was uploaded and the manifest. The first of the same bytes stores their rows; any other
waits for its end and is skipped if it has stored rows, or else takes its place. Never skipped are dry runs, replays,
which the operator means, and an import whose own rows are in the lake.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from ingest.ledger.firsts import Firsts, Upload
from ingest.report import Report
from ingest.spool import Spool
from ingest.states import ENDS, State
from ingest.steps.decrypt import CipherText
from manifests.model import Manifest
from stores.lake import Lake


@dataclass(frozen=True, slots=True)
class Twin:
    """The report of an import that is not the first of its bytes, and whether the first has stored them."""

    report: Report
    is_stored: bool


class Duplicates:
    """Compares imports with those before."""

    def __init__(self, *, firsts: Firsts, spool: Spool, lake: Lake) -> None:
        self._firsts = firsts
        self._spool = spool
        self._lake = lake

    def twin(self, report: Report, manifest: Manifest, content: bytes) -> Twin | None:
        """What an import is that is a duplicate; ``None`` when it has to be carried out: it is the first then.

        ``content`` is the manifest as it was uploaded. Reads the data file to its end. Raises ``OSError``,
        ``StoreError``, `LedgerUnavailable`.
        """
        data = self._spool.taken(report.id, "data")
        if manifest.dry_run or not data.is_file():  # of files that are gone the lake alone knows whether it had them
            return None
        with CipherText(data) as source:
            size, sha256 = source.finish()
        upload = Upload(report.account, sha256, hashlib.sha256(content).hexdigest())
        first, rows = self._firsts.take(upload, report.id), 0
        while first is not None and first.state in ENDS:
            rows = self._rows_stored(first, manifest)
            if rows > 0:
                break
            first = self._firsts.take(upload, report.id, instead_of=first)
        is_meant = report.replay_of is not None
        if first is None or is_meant or self._lake.stored(report.account, manifest.type, report.id) is not None:
            return None
        twin = replace(
            report,
            bytes_encrypted=size,
            sha256=sha256,
            duplicate_of=first.id,
            first_received_at=first.received_at,
            code=None,  # of an earlier try
            message=None,
        )
        return Twin(_skipped(twin, first, rows) if rows else twin, is_stored=rows > 0)

    def _rows_stored(self, first: Report, manifest: Manifest) -> int:
        """How many rows an import that is over has stored: the lake knows it also of one that failed or is held."""
        if first.state == State.SUCCEEDED:
            return first.rows_stored
        return self._lake.stored(first.account, manifest.type, first.id) or 0


def _skipped(report: Report, first: Report, rows: int) -> Report:
    rejected = f", {first.rows_rejected:,} rejected" if first.rows_rejected else ""
    return replace(
        report,
        state=State.SKIPPED,
        message=(
            f"Data file and manifest are byte for byte the same as those of the import {first.id}, received "
            f"{first.received_at:%Y-%m-%d %H:%M:%S} UTC. Its rows are stored already ({rows:,} stored{rejected}), and "
            "nothing was stored again."
        ),
        remedy=(
            "If it was sent twice by mistake there is nothing to do. If it was meant, encrypt the file again or change "
            "the manifest in any way, and send both again; or ask whoever runs this service to store duplicates of "
            "your account from now on."
        ),
    )

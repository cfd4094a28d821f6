"""Which key opened which request: each in the log, and their sum in the audit (FAULTS.md H7, H10).

A line of the audit is a durable transaction, far dearer than the request that it is about. So the audit has one line
for each account, key and code, every minute in which there was something; the log has each request with its ID. What
cannot be written, as on a full disk, stays in the sums and is written later; a process that is killed loses at most its
last minute, and the log has that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from ingest.http.authentication import Caller
from ingest.http.negotiation import OPENED
from ingest.ledger import audit
from ingest.ledger.database import Database
from ingest.outcomes import cause_of
from keystore.active_keysets import Opened

_EVERY_S = 60.0
_NO_KEY = "no key"

_log = structlog.get_logger()


@dataclass(slots=True)
class _Sum:
    requests: int = 0
    sealed_bytes: int = 0


class Openings:
    """Notes what was opened and what was refused; `keep` writes it down every minute."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._sums: dict[tuple[str, str, str], _Sum] = {}

    def note(self, caller: Caller, request_id: str, code: str, sealed_bytes: int, opened: Opened | None = None) -> None:
        """One request: how it ended, and by which key."""
        account = caller.access.account
        key = _NO_KEY if opened is None else f"{opened.slot} key {opened.tink_key_id}"
        counted = self._sums.setdefault((account, code, key), _Sum())
        counted.requests += 1
        counted.sealed_bytes += sealed_bytes
        _log.info(
            "hpke_request",
            action="hpke_request",
            account=account,
            credential=caller.credential_id,
            request_id=request_id,
            code=code,
            key=key,
            bytes_sealed=sealed_bytes,
            bytes_plain=None if opened is None else len(opened.plain),
        )

    async def keep(self) -> None:
        """Write the sums every minute, until cancelled; then once more."""
        try:
            while True:
                await asyncio.sleep(_EVERY_S)
                await self.write()
        finally:
            await asyncio.shield(self.write())

    async def write(self) -> None:
        """Write the sums into the audit and begin anew; what the ledger does not take is kept for the next time."""
        sums, self._sums = self._sums, {}
        if not sums:
            return
        try:
            await asyncio.to_thread(self._record, sums)
        except Exception as error:
            for name, counted in sums.items():
                kept = self._sums.setdefault(name, _Sum())
                kept.requests += counted.requests
                kept.sealed_bytes += counted.sealed_bytes
            _log.error("audit_not_written", action="audit_not_written", detail=cause_of(error))

    def _record(self, sums: dict[tuple[str, str, str], _Sum]) -> None:
        with self._database.write() as connection:
            for (account, code, key), counted in sums.items():
                audit.record(
                    connection,
                    at=self._now(),
                    actor="http",
                    action="hpke.open" if code == OPENED else "hpke.refuse",
                    subject=key,
                    outcome=f"{code} {counted.requests} requests {counted.sealed_bytes} bytes",
                    account=account,
                )

"""An installation without its service: imports are put into the spool and carried out by hand, step by step."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ingest.app import App
from ingest.carry import Carrier
from ingest.custody import make_pair
from ingest.installation import prepare
from ingest.ledger.imports import new_import_id
from ingest.ledger.queue import Lease, Queue
from ingest.report import Report
from ingest.settings import DoorSettings, OpenPgpSettings, Settings, VaultSettings, WorkerSettings
from ingest.states import State
from keystore.openpgp import EngineName
from keystore.pgp_encrypt import encrypt_to

ACCOUNT = "acme"
EMAIL = "data@acme.example"


class Workshop:
    """An account with a Curve25519 pair, a clock that is set by hand, and a carrier."""

    def __init__(
        self, folder: Path, *, chunk_bytes: int = 8_000_000, engine: EngineName = "auto", **sections: Any
    ) -> None:
        self.now = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
        self.settings = Settings(
            data_dir=folder / "data",
            door=DoorSettings(host_key_file=folder / "host_key"),
            openpgp=OpenPgpSettings(engine=engine),
            vault=VaultSettings(master_key_file=folder / "master.key"),
            worker=WorkerSettings(lease_s=60, max_lost=3, give_up_after_s=3600, chunk_bytes=chunk_bytes),
            **sections,
        )
        self.lease = timedelta(seconds=self.settings.worker.lease_s)
        prepare(self.settings)
        self.app = App(self.settings, now=lambda: self.now)
        self.app.accounts.add(ACCOUNT, now=self.now, actor="test", contact_addresses=[EMAIL])
        self.app.spool.open_account(ACCOUNT)
        self.key = make_pair(self.app, ACCOUNT, "cv25519", actor="test")

    def received(self, data: str | bytes, *, message: bytes | None = None, **manifest: Any) -> str:
        """An import of this data as a profile file, ready for a worker; its ID.

        ``message`` is the encrypted file, when it is not the data encrypted to the pair; a manifest's key that is
        ``None`` is left out.
        """
        content = {
            "fileName": "users.csv.asc",
            "type": "profile",
            "clientEmail": EMAIL,
            "keyId": self.key.key_id,
            **manifest,
        }
        import_id = new_import_id(self.now)
        self.app.imports.receive(import_id, ACCOUNT, "users.manifest", "users.csv.asc", self.now, state=State.READY)
        folder = self.app.spool.taken(import_id, "data").parent
        folder.mkdir()
        plain = data.encode() if isinstance(data, str) else data
        (folder / "data").write_bytes(message or encrypt_to(self.key.public_key, plain))
        given = {name: value for name, value in content.items() if value is not None}
        (folder / "manifest").write_text(json.dumps(given))
        return import_id

    def claimed(self) -> Lease:
        lease = self.app.queue.claim(self.now)
        assert lease is not None
        return lease

    def carried_out(self) -> Report:
        """What became of the import that waits longest."""
        lease = self.claimed()
        self.app.carrier.carry_out(lease)
        return self.report(lease.report.id)

    def report(self, import_id: str) -> Report:
        report = self.app.imports.get(import_id)
        assert report is not None
        return report

    def result(self, import_id: str) -> Any:
        """The report that the sender finds in results/."""
        return json.loads((self.app.spool.results(ACCOUNT) / f"users.manifest.{import_id}.json").read_text())

    def pass_time(self, **by: float) -> None:
        self.now += timedelta(**by)

    def carrier_with(self, queue: Queue) -> Carrier:
        """A carrier like the app's, on another queue."""
        return self.app.carrier_of(queue)

    def stages(self, import_id: str) -> list[str]:
        """The stages of the import's notices, in order."""
        return [delivery.stage for delivery in self.app.deliveries.of_import(import_id)]


def without_times(report: Report) -> Report:
    """The report without what differs from run to run."""
    return replace(
        report, seconds={}, finished_at=None, attempts=0, id="", received_at=datetime(2000, 1, 1, tzinfo=UTC)
    )

"""The notices of an account in a real ledger, a clock that is set by hand, and rounds of deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from ingest.addressees import notices_of_import
from ingest.ledger.accounts import Account, Accounts
from ingest.ledger.deliveries import Deliveries, Delivery
from ingest.ledger.imports import Imports, new_import_id
from ingest.ledger.outbox import Outbox
from ingest.ledger.queue import Lease, Queue
from ingest.notices.deliver import Courier, deliver_due
from ingest.notices.mailer import Mailer
from ingest.notices.notice import Channel, Stage
from ingest.notices.settings import MailSettings, NoticeSettings
from ingest.report import Report
from ingest.settings import Settings
from ingest.states import STORED, State
from tests.notices.relay import HOST, Relay
from tests.notices.samples import RECEIVED
from tests.support.ledgers import new_ledger

ACCOUNT = "acme"
OPS = "ops@example.com"


class NoticeDesk:
    """An account whose imports end as they are told to, and whose notices are delivered round by round."""

    def __init__(self, folder: Path, *, contacts: Sequence[str] = (OPS,), domains: Sequence[str] = ()) -> None:
        self.now = RECEIVED
        self.file = folder / "ledger.db"
        self.database = new_ledger(self.file)
        self.accounts = Accounts(self.database)
        self.accounts.add(ACCOUNT, now=self.now, actor="test", contact_addresses=contacts, allowed_domains=domains)
        self.imports = Imports(self.database)
        self.queue = Queue(self.database, lease=timedelta(minutes=1))
        self.outbox = Outbox(self.database)
        self.deliveries = Deliveries(self.database)

    @property
    def account(self) -> Account:
        account = self.accounts.get(ACCOUNT)
        assert account is not None
        return account

    def received(self, *, manifest: str = "users.manifest", to: str | None = OPS) -> Report:
        """An import that is ready for a worker, of whose manifest nothing has been read but the address."""
        import_id = new_import_id(self.now)
        self.imports.receive(import_id, ACCOUNT, manifest, "users.csv.asc", self.now, state=State.READY)
        report = self.imports.get(import_id)
        assert report is not None
        return replace(report, client_email=to)

    def ended(self, *, picked_up: bool = False, **facts: Any) -> Report:
        """An import that a worker has brought to its end, with its notices; ``facts`` are of the report."""
        manifest, to = facts.pop("manifest", "users.manifest"), facts.pop("client_email", OPS)
        self.received(manifest=manifest, to=to)
        lease = self.queue.claim(self.now)
        assert lease is not None
        if picked_up:
            report = replace(lease.report, client_email=to, type="profile")
            self.queue.picked_up(lease, report, notices_of_import(report, Stage.PICKED_UP, self.account), self.now)
        return self.settle(lease, client_email=to, **facts)

    def settle(self, lease: Lease, **facts: Any) -> Report:
        """The worker that holds the import brings it to its end."""
        facts = {"state": State.FAILED, "code": "pgp.corrupt", "message": "It is damaged.", **facts}
        report = replace(lease.report, type="profile", finished_at=self.now, **facts)
        stage = Stage(report.state) if report.state in STORED else Stage.FAILED
        self.queue.settle(lease, report, notices_of_import(report, stage, self.account), self.now)
        return report

    def settings(self, relay: Relay | None = None, *, mails_per_hour: int = 1000, **mail: Any) -> Settings:
        base: dict[str, Any] = {"security": "none", "timeout_s": 10, "answer_timeout_s": 10, "sender": "us@example.org"}
        if relay is not None:
            base |= {"host": HOST, "port": relay.port}
        return Settings(mail=MailSettings(**base | mail), notices=NoticeSettings(mails_per_hour=mails_per_hour))

    async def round(self, relay: Relay, outbox: Outbox | None = None, **settings: Any) -> int:
        """Try what is due once; how many were sent."""
        chosen = self.settings(relay, **settings)
        couriers: dict[Channel, Courier] = {Channel.MAIL: Mailer(chosen.mail)}
        return await deliver_due(outbox or self.outbox, couriers, chosen, lambda: self.now)

    def pass_time(self, **by: float) -> None:
        self.now += timedelta(**by)

    def all(self) -> list[Delivery]:
        """Every notice, oldest first."""
        return self.deliveries.newest(limit=100_000)[::-1]

    def states(self) -> list[str]:
        return [delivery.state for delivery in self.all()]

    def only(self) -> Delivery:
        (delivery,) = self.all()
        return delivery

    def close(self) -> None:
        self.database.close()

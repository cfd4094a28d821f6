"""The composition root: the only place that builds concrete things out of settings.

What needs heavy libraries (the lake, the cipher engines) is built when it is first asked for, so that small commands
answer at once.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from ingest.clock import Now, utc_now
from ingest.disk import Disk
from ingest.ledger import audit
from ingest.ledger.accounts import Accounts
from ingest.ledger.api_access import ApiAccesses
from ingest.ledger.database import Database
from ingest.ledger.deliveries import Deliveries
from ingest.ledger.firsts import Firsts
from ingest.ledger.history import History
from ingest.ledger.imports import Imports
from ingest.ledger.keysets import Keysets
from ingest.ledger.master_keys import MasterKeys
from ingest.ledger.outbox import Outbox
from ingest.ledger.pgp_keys import PgpKeys
from ingest.ledger.queue import Queue
from ingest.ledger.replays import Replays
from ingest.ledger.signers import Signers
from ingest.ledger.ssh_keys import SshKeys
from ingest.ledger.sweeps import Sweeps
from ingest.ledger.timeline import Timeline
from ingest.ledger.token_keys import TokenKeys
from ingest.ledger.uploads import Uploads
from ingest.ledger.webhooks import Webhooks
from ingest.settings import Settings
from ingest.spool import Spool
from keystore.errors import MasterKeyMissing
from keystore.held_keys import HeldKeys
from keystore.vault import Vault

if TYPE_CHECKING:
    from ingest.carry import Carrier
    from ingest.keyring import Keyring
    from ingest.uploads.batch import Batches
    from stores.lake import Lake


class App:
    """Everything that one installation consists of; `close` it."""

    def __init__(self, settings: Settings, *, now: Now = utc_now) -> None:
        self.settings = settings
        self.now = now
        self.database = Database(settings.ledger)
        self.accounts = Accounts(self.database)
        self.pgp_keys = PgpKeys(self.database)
        self.signers = Signers(self.database)
        self.keysets = Keysets(self.database)
        self.ssh_keys = SshKeys(self.database)
        self.api_accesses = ApiAccesses(self.database)
        self.token_keys = TokenKeys(self.database)
        self.imports = Imports(self.database)
        self.history = History(self.database)
        self.replays = Replays(self.database)
        self.firsts = Firsts(self.database)
        self.sweeps = Sweeps(self.database)
        self.uploads = Uploads(self.database)
        self.queue = Queue(
            self.database,
            lease=timedelta(seconds=settings.worker.lease_s),
            longest_wait=timedelta(seconds=settings.worker.retry_ceiling_s),
        )
        self.timeline = Timeline(self.database)
        self.outbox = Outbox(self.database)
        self.deliveries = Deliveries(self.database)
        self.webhooks = Webhooks(self.database)
        self.spool = Spool(settings.spool_dir)
        self.disk = Disk([settings.data_dir, settings.spool_dir, settings.lake_dir], settings.disk)
        self.master_keys = MasterKeys(self.database)
        self.held_keys = HeldKeys(settings.vault.master_key_file, allow_environment=settings.vault.allow_environment)

    def open_vault(self) -> Vault:
        """The vault under the master key that the ledger was sealed under last; open it anew rather than keep it.

        Raises `MasterKeyMissing`, or `MasterKeyWrong` when the ledger was sealed under another one; never makes a new
        key.
        """
        named = self.master_keys.all()
        if not named:
            raise MasterKeyMissing("The ledger was never initialised: run `sealdrop init`.")
        vault = self.held_keys.vault([key.id for key in named])
        self.master_keys.verify(vault, named)
        return vault

    def refusals(self, action: str, account: str, *, actor: str) -> AbstractContextManager[None]:
        """Record in the audit that the deed of the block was refused to the account, when one of our errors says so."""
        return audit.refusals(self.database, now=self.now, actor=actor, action=action, subject=account, account=account)

    @cached_property
    def keyring(self) -> Keyring:
        """The unlocked pairs of this process."""
        from ingest.keyring import Keyring

        return Keyring(self.pgp_keys, self.open_vault, keep_s=self.settings.openpgp.key_cache_s, now=self.now)

    @cached_property
    def lake(self) -> Lake:
        """Where the data ends up."""
        from stores.lake import Lake

        return Lake(self.settings.lake_dir)

    @cached_property
    def batches(self) -> Batches:
        """What stores uploads in this process."""
        from ingest.uploads.batch import Batches

        return Batches(
            self.settings,
            accounts=self.accounts,
            history=self.history,
            uploads=self.uploads,
            sweeps=self.sweeps,
            lake=self.lake,
            now=self.now,
        )

    @cached_property
    def carrier(self) -> Carrier:
        """What carries out imports in this process."""
        return self.carrier_of(self.queue)

    def carrier_of(self, queue: Queue) -> Carrier:
        """A carrier that takes its leases from this queue."""
        from ingest.carry import Carrier
        from ingest.duplicates import Duplicates
        from ingest.pipeline import Pipeline

        pipeline = Pipeline(
            self.settings,
            pgp_keys=self.pgp_keys,
            signers=self.signers,
            history=self.history,
            replays=self.replays,
            keyring=self.keyring,
            spool=self.spool,
            lake=self.lake,
            now=self.now,
        )
        return Carrier(
            self.settings,
            queue=queue,
            accounts=self.accounts,
            history=self.history,
            pipeline=pipeline,
            duplicates=Duplicates(firsts=self.firsts, spool=self.spool, lake=self.lake),
            spool=self.spool,
            disk=self.disk,
            lake=self.lake,
            now=self.now,
        )

    def close(self) -> None:
        """Close the ledger's connections."""
        self.database.close()

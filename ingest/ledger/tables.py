"""The ledger's tables.

Times are stored as ISO 8601 text in UTC with microseconds (they sort as they read, on every engine); JSON columns
hold only what is shown, never what is searched. The schema is made by the migrations; a test compares them with these
tables.

A sealed secret names the master key that it is sealed under; the database derives that name into a column of its own,
which refers to `master_keys`. So no secret is stored under a key that the ledger does not know, and no key leaves the
ledger before its last secret: by constraint, whatever the processes are doing (FAULTS.md K3).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

MAX_PGP_KEYS = 20
MAX_SSH_KEYS = 10
MAX_SIGNERS = 20

metadata = MetaData()


def moment_text(value: datetime) -> str:
    """A time as the ledger stores it, ``2026-11-22T08:15:00.000000Z``; a naive one is a bug of ours."""
    if value.tzinfo is None:
        raise ValueError("the ledger stores aware times only")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Moment(TypeDecorator[datetime]):
    """An aware UTC time as sortable text."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Store what `moment_text` says."""
        del dialect
        return None if value is None else moment_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read back what was stored."""
        del dialect
        return None if value is None else datetime.fromisoformat(value)


def sealed_column(name: str, *, nullable: bool = False) -> tuple[Column[bytes], Column[bytes]]:
    """A column of sealed secrets, and the one that says which master key each is sealed under (`keystore.vault`)."""
    return (
        Column(name, LargeBinary, nullable=nullable),
        Column(
            f"{name}_under",
            LargeBinary,
            Computed(f"substr({name}, 2, 8)", persisted=True),
            ForeignKey("master_keys.id"),
        ),
    )


def _where(condition: str) -> dict[str, Any]:
    """Options of an index over the rows that fulfil the condition, for both engines."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows only in a column of type INTEGER

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("require_encryption", Boolean, nullable=False),
    Column("allow_reserved_events", Boolean, nullable=False),
    Column("allow_legacy_ciphers", Boolean, nullable=False),
    Column("allow_gnupg", Boolean, nullable=False),
    Column("skip_duplicates", Boolean, nullable=False, default=False),
    Column("allowed_domains", JSON, nullable=False),
    Column("sources", Text),
    Column("hpke_enabled", Boolean, nullable=False, default=False),
    Column("hpke_entitled", Boolean, nullable=False, default=False),
    Column("hpke_enforced", Boolean, nullable=False, default=False),
    Column("created_at", Moment, nullable=False),
    Column("removed_at", Moment),
    CheckConstraint("state IN ('active', 'disabled')", name="account_state"),
)

contacts = Table(
    "contacts",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("address", String(254), primary_key=True),
)

ssh_keys = Table(
    "ssh_keys",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("fingerprint", String(64), nullable=False, unique=True),  # one key, one account (FAULTS.md S8)
    Column("public_key", Text, nullable=False),
    Column("expires_at", Moment),
    Column("sources", Text),
    Column("cert_authority", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    CheckConstraint(f"slot BETWEEN 1 AND {MAX_SSH_KEYS}", name="ssh_key_slot"),
)

pgp_keys = Table(
    "pgp_keys",
    metadata,
    Column("key_id", String(36), primary_key=True),
    Column("version", Integer, primary_key=True),  # counts the pairs that a key ID has had, from 1
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("slot", Integer),
    Column("state", String(16), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("algorithm", String(64), nullable=False),
    Column("user_ids", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("retires_at", Moment),
    Column("last_used_at", Moment),
    Column("signatures", String(8), nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    *sealed_column("sealed_private_key", nullable=True),
    *sealed_column("sealed_passphrase", nullable=True),
    UniqueConstraint("account", "slot", name="pgp_key_slot_once"),
    CheckConstraint(
        f"slot BETWEEN 1 AND {MAX_PGP_KEYS}", name="pgp_key_slot"
    ),  # a constraint, no counting (FAULTS.md K4)
    CheckConstraint("state IN ('active', 'retiring', 'retired', 'destroyed')", name="pgp_key_state"),
    # every pair takes a slot, also a previous one; a destroyed pair has neither slot nor secrets
    CheckConstraint("(state = 'destroyed') = (slot IS NULL)", name="pgp_key_destroyed_slot"),
    CheckConstraint("(state = 'destroyed') = (sealed_private_key IS NULL)", name="pgp_key_destroyed_secret"),
    CheckConstraint("state <> 'destroyed' OR sealed_passphrase IS NULL", name="pgp_key_destroyed_passphrase"),
    CheckConstraint("(state = 'retiring') = (retires_at IS NOT NULL)", name="pgp_key_retiring"),
    CheckConstraint("signatures IN ('ignore', 'verify', 'require')", name="pgp_key_signatures"),
    Index("pgp_key_fingerprint_once", "account", "fingerprint", unique=True, **_where("state <> 'destroyed'")),
    Index("pgp_key_primary_once", "key_id", unique=True, **_where("state = 'active'")),
)

signers = Table(
    "signers",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("algorithm", String(64), nullable=False),
    Column("user_ids", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("certificate", LargeBinary, nullable=False),
    UniqueConstraint("account", "fingerprint", name="signer_fingerprint_once"),
    CheckConstraint(f"slot BETWEEN 1 AND {MAX_SIGNERS}", name="signer_slot"),
)

# Of each account and direction two: primary, and previous until its end. By constraint a request keyset is ours, with
# its private half sealed, and a response keyset is the customer's, of which we have the public half only.
keysets = Table(
    "keysets",
    metadata,
    Column("keyset_id", String(36), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("direction", String(8), nullable=False),
    Column("slot", String(8), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("until", Moment),
    Column("public_keyset", LargeBinary, nullable=False),
    *sealed_column("sealed_private_keyset", nullable=True),
    UniqueConstraint("account", "direction", "slot", name="keyset_slot_once"),
    CheckConstraint("direction IN ('request', 'response')", name="keyset_direction"),
    CheckConstraint("slot IN ('primary', 'previous')", name="keyset_slot"),
    CheckConstraint("(slot = 'previous') = (until IS NOT NULL)", name="keyset_end"),
    CheckConstraint("(direction = 'request') = (sealed_private_keyset IS NOT NULL)", name="keyset_owner"),
)

imports = Table(
    "imports",
    metadata,
    Column("sequence", _Id, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("manifest", String(128), nullable=False),
    Column("data_file", String(128)),
    Column("type", String(16)),
    Column("key_id", String(36)),
    Column("pair", String(64)),
    Column("signature", String(16)),
    Column("signer", String(64)),
    Column("client_email", String(254)),
    Column("state", String(16), nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("retried_at", Moment),  # the last time that the operator let it be tried again
    Column("finished_at", Moment),
    Column("attempts", Integer, nullable=False, default=0),
    Column("lost", Integer, nullable=False, default=0),
    Column("next_attempt_at", Moment),
    Column("give_up_at", Moment),
    Column("lease_until", Moment),
    Column("fence", Integer, nullable=False, default=0),
    Column("code", String(64)),
    Column("message", Text),
    Column("remedy", Text),
    Column("failed_column", Text),
    Column("rows_read", _Id, nullable=False, default=0),
    Column("rows_stored", _Id, nullable=False, default=0),
    Column("rows_rejected", _Id, nullable=False, default=0),
    Column("rejects", JSON),
    Column("reject_file", String(256)),
    Column("rejects_in_file", Integer, nullable=False, default=0),
    Column("seconds", JSON),
    Column("bytes_encrypted", _Id),
    Column("bytes_plain", _Id),
    Column("sha256", String(64)),
    Column("dry_run", Boolean, nullable=False, default=False),
    Column("columns", JSON),
    Column("drift", JSON),
    Column("preview", JSON),
    Column("replay_of", String(32)),  # the import that was uploaded; never one that is a replay itself
    Column("duplicate_of", String(32)),  # the import that had the same bytes first
    Column("first_received_at", Moment),  # when that one was received
    Column("files_removed_at", Moment),
    Column("results_removed_at", Moment),
    Index("imports_by_state", "state", "next_attempt_at"),
    Index("imports_by_account", "account", "sequence"),
    Index("imports_by_pair", "account", "pair", "sequence"),
    Index("imports_by_replay", "replay_of", **_where("replay_of IS NOT NULL")),
    sqlite_autoincrement=True,  # a sequence is never given twice, also not after a row was removed
)

# Of accounts that want duplicates skipped: the one import that stores the rows of an upload, known by the bytes of both
# of its files. One that has ended without storing any loses its place to the next (`ingest.ledger.firsts`).
firsts = Table(
    "firsts",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("manifest_sha256", String(64), primary_key=True),
    Column("import_id", ForeignKey("imports.id"), nullable=False),
)

timeline = Table(
    "timeline",
    metadata,
    Column("import_id", ForeignKey("imports.id"), primary_key=True),
    Column("number", Integer, primary_key=True),  # counts the entries of an import, from 1
    Column("at", Moment, nullable=False),
    Column("what", String(16), nullable=False),
    Column("detail", JSON, nullable=False),
)

# One row: when the sweeper last believed the clock, and until when it watches one that jumped.
sweeps = Table(
    "sweeps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("believed_at", Moment, nullable=False),
    Column("watched_until", Moment),
    CheckConstraint("id = 1", name="sweeps_has_one_row"),
)

event_names = Table(
    "event_names",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("name", String(512), primary_key=True),
    Column("discarded", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
)

notices = Table(
    "notices",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("import_id", ForeignKey("imports.id")),
    Column("subject", String(128)),  # of a notice about no import: the pair and its last day, a file, a digest
    Column("stage", String(16), nullable=False),
    Column("channel", String(8), nullable=False),
    Column("recipient", String(254), nullable=False),
    Column("occasion", Integer, nullable=False, default=0),  # counts the notices of a stage that comes again
    Column("message_id", String(128), nullable=False, unique=True),
    Column("note", Text),
    Column("report", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_at", Moment, nullable=False),
    Column("claimed_at", Moment),  # a process is trying it since then, or ended over it
    Column("perhaps_taken", Boolean, nullable=False, default=False),
    Column("last_attempt_at", Moment),
    Column("last_status", Integer),  # of SMTP or HTTP
    Column("sent_at", Moment),
    Column("last_error", Text),
    Column("digest_id", _Id),  # the digest that tells it
    UniqueConstraint("import_id", "stage", "channel", "recipient", "occasion", name="notice_once"),
    UniqueConstraint("subject", "stage", "channel", "recipient", name="notice_once_by_subject"),
    CheckConstraint("(import_id IS NULL) <> (subject IS NULL)", name="notice_about_one_thing"),
    CheckConstraint("channel IN ('mail', 'webhook')", name="notice_channel"),
    CheckConstraint("state IN ('pending', 'sent', 'given_up', 'folded', 'withdrawn')", name="notice_state"),
    CheckConstraint("(state = 'folded') = (digest_id IS NOT NULL)", name="notice_folded"),
    Index("notices_due", "state", "next_attempt_at"),
    Index("notices_of_account", "account", "sent_at"),
    Index("notices_of_digest", "digest_id"),
)

# Where an account's notices are posted to; the secrets that sign them are rows of their own, primary and previous.
webhooks = Table(
    "webhooks",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("url", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
)

webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("secret_id", String(36), primary_key=True),
    Column("account", ForeignKey("webhooks.account"), nullable=False),
    Column("slot", String(8), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("until", Moment),
    *sealed_column("sealed_secret"),
    UniqueConstraint("account", "slot", name="webhook_secret_slot_once"),
    CheckConstraint("slot IN ('primary', 'previous')", name="webhook_secret_slot"),
    CheckConstraint("(slot = 'previous') = (until IS NOT NULL)", name="webhook_secret_end"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),  # the number of the line: 1, 2, 3, ... without a gap
    Column("at", Moment, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("account", String(64)),
    Column("subject", String(256), nullable=False),
    Column("outcome", String(64), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("mac", LargeBinary(32)),
    Index("audit_by_account", "account", "id"),
)

# One row: where the audit ends. Every writer of a line locks it, so the chain has one end also on PostgreSQL.
audit_tip = Table(
    "audit_tip",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line", _Id, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("next_key", LargeBinary(32)),
    Column("keyed_from", _Id),
    *sealed_column("sealed_first_key", nullable=True),
    CheckConstraint("id = 1", name="audit_has_one_tip"),
)

# The master keys that secrets are sealed under, oldest first; the last one seals. Two: a rotation is unfinished.
# Each row holds a constant that is sealed under its own key, so that a wrong key is noticed at start (FAULTS.md K2).
master_keys = Table(
    "master_keys",
    metadata,
    Column("sequence", _Id, primary_key=True, autoincrement=True),
    Column("id", LargeBinary(8), nullable=False, unique=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("since", Moment, nullable=False),
    sqlite_autoincrement=True,  # the newest key has the highest sequence, also after one was removed
)

"""The ledger's tables.

Times are stored as ISO 8601 text in UTC with microseconds (they sort as they read, on every engine); JSON columns
hold only what is shown, never what is searched. The schema is made by the migrations; a test compares them with these
tables.
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
)
from sqlalchemy.types import TypeDecorator

MAX_PGP_KEYS = 20
MAX_SSH_KEYS = 10
MAX_SIGNERS = 20

metadata = MetaData()


class Moment(TypeDecorator[datetime]):
    """An aware UTC time as sortable text."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Store ``2026-11-22T08:15:00.000000Z``; a naive time is a bug of ours."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger stores aware times only")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read back what was stored."""
        del dialect
        return None if value is None else datetime.fromisoformat(value)


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
    Column("allowed_domains", JSON, nullable=False),
    Column("sources", Text),
    Column("created_at", Moment, nullable=False),
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
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("slot", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("algorithm", String(64), nullable=False),
    Column("user_ids", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("last_used_at", Moment),
    Column("signatures", String(8), nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("sealed_private_key", LargeBinary, nullable=False),
    Column("sealed_passphrase", LargeBinary),
    UniqueConstraint("account", "slot", name="pgp_key_slot_once"),
    UniqueConstraint("account", "fingerprint", name="pgp_key_fingerprint_once"),
    CheckConstraint(
        f"slot BETWEEN 1 AND {MAX_PGP_KEYS}", name="pgp_key_slot"
    ),  # a constraint, no counting (FAULTS.md K4)
    CheckConstraint("state IN ('active', 'retired')", name="pgp_key_state"),
    CheckConstraint("signatures IN ('ignore', 'verify', 'require')", name="pgp_key_signatures"),
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
    Index("imports_by_state", "state", "next_attempt_at"),
    Index("imports_by_account", "account", "sequence"),
    sqlite_autoincrement=True,  # a sequence is never given twice, also not after a row was removed
)

notices = Table(
    "notices",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("import_id", ForeignKey("imports.id"), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("recipient", String(254), nullable=False),
    Column("message_id", String(128), nullable=False, unique=True),
    Column("note", Text),
    Column("report", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_at", Moment, nullable=False),
    Column("sent_at", Moment),
    Column("last_error", Text),
    UniqueConstraint("import_id", "stage", "recipient", name="notice_once"),
    CheckConstraint("state IN ('pending', 'sent', 'given_up')", name="notice_state"),
    Index("notices_due", "state", "next_attempt_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("account", String(64)),
    Column("subject", String(256), nullable=False),
    Column("outcome", String(64), nullable=False),
)

vault_check = Table(
    "vault_check",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

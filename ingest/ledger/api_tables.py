"""The tables of the HTTP API."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from ingest.ledger.tables import Moment, metadata, sealed_column

MAX_CREDENTIALS = 10
MAX_CLIENT_AUTHORITIES = 5

# What a program of the customer's shows at the HTTP API; the secret itself is not here, only what tells it again.
api_credentials = Table(
    "api_credentials",
    metadata,
    Column("credential_id", String(16), primary_key=True),
    Column("account", ForeignKey("accounts.id"), nullable=False),
    Column("slot", Integer, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("verifier", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("account", "slot", name="api_credential_slot_once"),
    CheckConstraint(f"slot BETWEEN 1 AND {MAX_CREDENTIALS}", name="api_credential_slot"),
)

# Who issues the client certificates of an account (mutual TLS).
client_authorities = Table(
    "client_authorities",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("account", "fingerprint", name="client_authority_once"),
    CheckConstraint(f"slot BETWEEN 1 AND {MAX_CLIENT_AUTHORITIES}", name="client_authority_slot"),
)

# The keys that sign access tokens, of which the newest signs.
token_keys = Table(
    "token_keys",
    metadata,
    Column("kid", String(64), primary_key=True),
    Column("created_at", Moment, nullable=False),
    *sealed_column("sealed_private_key"),
)

# Uploads that came with an Idempotency-Key, for a day: what the answer was, and which commit of the lake has the rows.
# Both the key and the body are only known by their hashes.
upload_keys = Table(
    "upload_keys",
    metadata,
    Column("account", ForeignKey("accounts.id"), primary_key=True),
    Column("key_hash", LargeBinary(32), primary_key=True),
    Column("body_hash", LargeBinary(32), nullable=False),
    Column("writer", String(32), nullable=False),
    Column("number", Integer, nullable=False),
    Column("there", JSON, nullable=False),
    Column("faults", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("upload_keys_by_age", "created_at"),
)

# One row: the key that signs the cursors of the HTTP API.
cursor_keys = Table(
    "cursor_keys",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("created_at", Moment, nullable=False),
    *sealed_column("sealed_key"),
    CheckConstraint("id = 1", name="cursors_have_one_key"),
)

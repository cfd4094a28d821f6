"""The HTTP API: credentials, client certificate authorities, keys of tokens, and who encrypts with HPKE."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("hpke_enabled", "hpke_entitled", "hpke_enforced"):
        op.add_column("accounts", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "api_credentials",
        sa.Column("credential_id", sa.String(16), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.CheckConstraint("slot BETWEEN 1 AND 10", name="api_credential_slot"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("credential_id"),
        sa.UniqueConstraint("account", "slot", name="api_credential_slot_once"),
    )
    op.create_table(
        "client_authorities",
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.CheckConstraint("slot BETWEEN 1 AND 5", name="client_authority_slot"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("account", "slot"),
        sa.UniqueConstraint("account", "fingerprint", name="client_authority_once"),
    )
    op.create_table(
        "token_keys",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("sealed_private_key", sa.LargeBinary(), nullable=False),
        sa.Column(
            "sealed_private_key_under",
            sa.LargeBinary(),
            sa.Computed("substr(sealed_private_key, 2, 8)", persisted=True),
        ),
        sa.ForeignKeyConstraint(["sealed_private_key_under"], ["master_keys.id"]),
        sa.PrimaryKeyConstraint("kid"),
    )

"""Signers of an account, the signature policy of a pair, an account's own policy of engines and ciphers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "accounts", sa.Column("allow_legacy_ciphers", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("accounts", sa.Column("allow_gnupg", sa.Boolean(), nullable=False, server_default=sa.true()))
    for name, length in (("pair", 64), ("signature", 16), ("signer", 64)):
        op.add_column("imports", sa.Column(name, sa.String(length), nullable=True))
    with op.batch_alter_table("pgp_keys") as batch:
        batch.add_column(sa.Column("signatures", sa.String(8), nullable=False, server_default="verify"))
        batch.create_check_constraint("pgp_key_signatures", "signatures IN ('ignore', 'verify', 'require')")
    op.create_table(
        "signers",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("algorithm", sa.String(length=64), nullable=False),
        sa.Column("user_ids", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("expires_at", sa.String(32), nullable=True),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("slot BETWEEN 1 AND 20", name="signer_slot"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("account", "slot"),
        sa.UniqueConstraint("account", "fingerprint", name="signer_fingerprint_once"),
    )

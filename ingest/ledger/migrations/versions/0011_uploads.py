"""Idempotency keys of uploads, and the key that signs cursors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "upload_keys",
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("body_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("writer", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("there", sa.JSON(), nullable=False),
        sa.Column("faults", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("account", "key_hash"),
    )
    op.create_index("upload_keys_by_age", "upload_keys", ["created_at"])
    op.create_table(
        "cursor_keys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_key_under", sa.LargeBinary(), sa.Computed("substr(sealed_key, 2, 8)", persisted=True)),
        sa.CheckConstraint("id = 1", name="cursors_have_one_key"),
        sa.ForeignKeyConstraint(["sealed_key_under"], ["master_keys.id"]),
        sa.PrimaryKeyConstraint("id"),
    )

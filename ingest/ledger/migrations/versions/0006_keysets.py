"""HPKE keysets of accounts: ours that open requests, and the customers' that responses are sealed to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "keysets",
        sa.Column("keyset_id", sa.String(36), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("slot", sa.String(8), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("until", sa.String(32), nullable=True),
        sa.Column("public_keyset", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_private_keyset", sa.LargeBinary(), nullable=True),
        sa.Column(
            "sealed_private_keyset_under",
            sa.LargeBinary(),
            sa.Computed("substr(sealed_private_keyset, 2, 8)", persisted=True),
        ),
        sa.CheckConstraint("direction IN ('request', 'response')", name="keyset_direction"),
        sa.CheckConstraint("slot IN ('primary', 'previous')", name="keyset_slot"),
        sa.CheckConstraint("(slot = 'previous') = (until IS NOT NULL)", name="keyset_end"),
        sa.CheckConstraint("(direction = 'request') = (sealed_private_keyset IS NOT NULL)", name="keyset_owner"),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"]),
        sa.ForeignKeyConstraint(["sealed_private_keyset_under"], ["master_keys.id"]),
        sa.PrimaryKeyConstraint("keyset_id"),
        sa.UniqueConstraint("account", "direction", "slot", name="keyset_slot_once"),
    )

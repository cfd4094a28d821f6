"""What an import read and would have stored, what drifted since the previous one, and the event names of an account."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("imports", sa.Column("dry_run", sa.Boolean(), nullable=False, server_default=sa.false()))
    for name in ("columns", "drift", "preview"):
        op.add_column("imports", sa.Column(name, sa.JSON(), nullable=True))
    op.create_table(
        "event_names",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=512), nullable=False),
        sa.Column("discarded", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("account", "name"),
    )

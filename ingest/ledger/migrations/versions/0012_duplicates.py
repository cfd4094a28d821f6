"""Accounts that want duplicates skipped, and which import of the same bytes was the first."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("skip_duplicates", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("imports", sa.Column("duplicate_of", sa.String(32), nullable=True))
    op.add_column("imports", sa.Column("first_received_at", sa.String(32), nullable=True))
    op.create_table(
        "firsts",
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("manifest_sha256", sa.String(64), nullable=False),
        sa.Column("import_id", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"]),
        sa.ForeignKeyConstraint(["import_id"], ["imports.id"]),
        sa.PrimaryKeyConstraint("account", "sha256", "manifest_sha256"),
    )

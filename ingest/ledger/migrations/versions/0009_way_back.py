"""The timeline of imports, replays, and what the sweeper has removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("imports", sa.Column("replay_of", sa.String(32), nullable=True))
    op.add_column("imports", sa.Column("files_removed_at", sa.String(32), nullable=True))
    op.add_column("imports", sa.Column("results_removed_at", sa.String(32), nullable=True))
    replays = sa.text("replay_of IS NOT NULL")
    op.create_index("imports_by_replay", "imports", ["replay_of"], sqlite_where=replays, postgresql_where=replays)
    op.create_table(
        "timeline",
        sa.Column("import_id", sa.String(32), sa.ForeignKey("imports.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("what", sa.String(16), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
    )
    op.create_table(
        "sweeps",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("believed_at", sa.String(32), nullable=False),
        sa.Column("watched_until", sa.String(32), nullable=True),
        sa.CheckConstraint("id = 1", name="sweeps_has_one_row"),
    )

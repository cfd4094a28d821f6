"""Expiry, sources and certificate authorities among SSH keys; sources of an account."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("accounts", sa.Column("sources", sa.Text(), nullable=True))
    op.add_column("ssh_keys", sa.Column("expires_at", sa.String(32), nullable=True))
    op.add_column("ssh_keys", sa.Column("sources", sa.Text(), nullable=True))
    op.add_column("ssh_keys", sa.Column("cert_authority", sa.Boolean(), nullable=False, server_default=sa.false()))

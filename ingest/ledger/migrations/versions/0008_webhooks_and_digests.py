"""Webhooks; notices by webhook, that come again, that a digest tells; how each delivery stands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# a notice about no import is about a key pair so far, whose ID its subject begins with
_ACCOUNT = """
UPDATE notices SET account = COALESCE(
    (SELECT imports.account FROM imports WHERE imports.id = notices.import_id),
    (SELECT MIN(pgp_keys.account) FROM pgp_keys WHERE pgp_keys.key_id = substr(notices.subject, 1, 36))
)
"""


def upgrade() -> None:
    op.add_column("imports", sa.Column("retried_at", sa.String(32), nullable=True))
    op.add_column("notices", sa.Column("account", sa.String(64), nullable=True))
    op.execute(_ACCOUNT)
    with op.batch_alter_table("notices") as batch:
        batch.alter_column("account", existing_type=sa.String(64), nullable=False)
        batch.create_foreign_key("notices_account_fkey", "accounts", ["account"], ["id"])
        batch.add_column(sa.Column("channel", sa.String(8), nullable=False, server_default="mail"))
        batch.add_column(sa.Column("occasion", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("claimed_at", sa.String(32), nullable=True))
        batch.add_column(sa.Column("perhaps_taken", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch.add_column(sa.Column("last_attempt_at", sa.String(32), nullable=True))
        batch.add_column(sa.Column("last_status", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("digest_id", _ID, nullable=True))
        batch.drop_constraint("notice_once", type_="unique")
        batch.drop_constraint("notice_once_by_subject", type_="unique")
        batch.drop_constraint("notice_state", type_="check")
        batch.create_unique_constraint("notice_once", ["import_id", "stage", "channel", "recipient", "occasion"])
        batch.create_unique_constraint("notice_once_by_subject", ["subject", "stage", "channel", "recipient"])
        batch.create_check_constraint("notice_channel", "channel IN ('mail', 'webhook')")
        batch.create_check_constraint("notice_state", "state IN ('pending', 'sent', 'given_up', 'folded', 'withdrawn')")
        batch.create_check_constraint("notice_folded", "(state = 'folded') = (digest_id IS NOT NULL)")
        batch.create_index("notices_of_account", ["account", "sent_at"])
        batch.create_index("notices_of_digest", ["digest_id"])
    op.create_table(
        "webhooks",
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "webhook_secrets",
        sa.Column("secret_id", sa.String(36), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("slot", sa.String(8), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("until", sa.String(32), nullable=True),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_secret_under", sa.LargeBinary(), sa.Computed("substr(sealed_secret, 2, 8)", persisted=True)),
        sa.CheckConstraint("slot IN ('primary', 'previous')", name="webhook_secret_slot"),
        sa.CheckConstraint("(slot = 'previous') = (until IS NOT NULL)", name="webhook_secret_end"),
        sa.ForeignKeyConstraint(["account"], ["webhooks.account"]),
        sa.ForeignKeyConstraint(["sealed_secret_under"], ["master_keys.id"]),
        sa.PrimaryKeyConstraint("secret_id"),
        sa.UniqueConstraint("account", "slot", name="webhook_secret_slot_once"),
    )

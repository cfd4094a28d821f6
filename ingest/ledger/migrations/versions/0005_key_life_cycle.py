"""The life cycle of key pairs: states, several pairs of a key ID, notices about them; removed accounts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BYTES = sa.LargeBinary()


def upgrade() -> None:
    op.add_column("accounts", sa.Column("removed_at", sa.String(32), nullable=True))
    op.create_index("imports_by_pair", "imports", ["account", "pair", "sequence"], unique=False)
    with op.batch_alter_table("pgp_keys") as batch:
        batch.add_column(sa.Column("version", sa.Integer(), primary_key=True, nullable=False, server_default="1"))
        batch.add_column(sa.Column("retires_at", sa.String(32), nullable=True))
        batch.alter_column("slot", existing_type=sa.Integer(), nullable=True)
        batch.alter_column("sealed_private_key", existing_type=_BYTES, nullable=True)
        batch.drop_constraint("pgp_key_fingerprint_once", type_="unique")
        batch.drop_constraint("pgp_key_state", type_="check")
        batch.create_check_constraint("pgp_key_state", "state IN ('active', 'retiring', 'retired', 'destroyed')")
        batch.create_check_constraint("pgp_key_destroyed_slot", "(state = 'destroyed') = (slot IS NULL)")
        batch.create_check_constraint(
            "pgp_key_destroyed_secret", "(state = 'destroyed') = (sealed_private_key IS NULL)"
        )
        batch.create_check_constraint(
            "pgp_key_destroyed_passphrase", "state <> 'destroyed' OR sealed_passphrase IS NULL"
        )
        batch.create_check_constraint("pgp_key_retiring", "(state = 'retiring') = (retires_at IS NOT NULL)")
        if op.get_context().dialect.name == "postgresql":  # SQLite's has no name, and is replaced
            batch.drop_constraint("pgp_keys_pkey", type_="primary")
        batch.create_primary_key("pgp_keys_pkey", ["key_id", "version"])
    _unique_where("pgp_key_fingerprint_once", ["account", "fingerprint"], "state <> 'destroyed'")
    _unique_where("pgp_key_primary_once", ["key_id"], "state = 'active'")
    with op.batch_alter_table("notices") as batch:
        batch.add_column(sa.Column("subject", sa.String(128), nullable=True))
        batch.alter_column("import_id", existing_type=sa.String(32), nullable=True)
        batch.create_unique_constraint("notice_once_by_subject", ["subject", "stage", "recipient"])
        batch.create_check_constraint("notice_about_one_thing", "(import_id IS NULL) <> (subject IS NULL)")


def _unique_where(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "pgp_keys", columns, unique=True, sqlite_where=where, postgresql_where=where)

"""Master keys by their ID, and the audit as a chain; lines that are there already are bound as they are."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from keystore.audit_chain import BEFORE_THE_FIRST, next_hash

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _name_master_keys()
    with op.batch_alter_table("pgp_keys") as batch:
        for name in ("sealed_private_key", "sealed_passphrase"):
            batch.add_column(_under(name))
            batch.create_foreign_key(f"{name}_known", "master_keys", [f"{name}_under"], ["id"])
    op.create_table(
        "audit_tip",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("line", _BIG, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("next_key", sa.LargeBinary(32), nullable=True),
        sa.Column("keyed_from", _BIG, nullable=True),
        sa.Column("sealed_first_key", sa.LargeBinary(), nullable=True),
        _under("sealed_first_key"),
        sa.CheckConstraint("id = 1", name="audit_has_one_tip"),
        sa.ForeignKeyConstraint(["sealed_first_key_under"], ["master_keys.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    _chain_audit()


def _under(name: str) -> sa.Column[bytes]:
    return sa.Column(f"{name}_under", sa.LargeBinary(), sa.Computed(f"substr({name}, 2, 8)", persisted=True))


def _name_master_keys() -> None:
    """The one master key so far moves from ``vault_check`` to a table that may name two."""
    op.create_table(
        "master_keys",
        sa.Column("sequence", _BIG, autoincrement=True, nullable=False),
        sa.Column("id", sa.LargeBinary(8), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("since", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    connection = op.get_bind()
    first_line = connection.scalar(sa.text("SELECT min(at) FROM audit"))
    since = first_line or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    connection.execute(
        sa.text(
            "INSERT INTO master_keys (id, sealed, since) SELECT substr(sealed, 2, 8), sealed, :since FROM vault_check"
        ),
        {"since": since},
    )
    op.drop_table("vault_check")


def _chain_audit() -> None:
    with op.batch_alter_table("audit") as batch:
        batch.add_column(sa.Column("hash", sa.LargeBinary(32), nullable=True))
        batch.add_column(sa.Column("mac", sa.LargeBinary(32), nullable=True))
    connection = op.get_bind()
    line_hash, number = BEFORE_THE_FIRST, 0
    found = connection.execute(
        sa.text("SELECT id, at, actor, action, account, subject, outcome FROM audit ORDER BY id")
    ).all()
    for number, (line, *parts) in enumerate(found, 1):
        line_hash = next_hash(line_hash, (str(number), *parts))
        connection.execute(
            sa.text("UPDATE audit SET id = :number, hash = :hash WHERE id = :id"),
            {"number": number, "hash": line_hash, "id": line},
        )
    with op.batch_alter_table("audit") as batch:
        batch.alter_column("hash", existing_type=sa.LargeBinary(32), nullable=False)
        batch.create_index("audit_by_account", ["account", "id"])
    connection.execute(
        sa.text("INSERT INTO audit_tip (id, line, hash) VALUES (1, :line, :hash)"), {"line": number, "hash": line_hash}
    )

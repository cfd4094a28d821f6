"""Runs the migrations on the connection that `ingest.ledger.database` hands over."""

from __future__ import annotations

from alembic import context
from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.batch import ApplyBatchImpl
from sqlalchemy import Table

from ingest.ledger.tables import metadata


class Sqlite(SQLiteImpl):
    """Rebuilds a table where SQLite cannot alter it: derived columns are derived anew, since they cannot be copied."""

    __dialect__ = "sqlite"

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        for column in table.columns:
            if column.computed is not None:
                batch_impl.column_transfers[column.name].pop("expr", None)
        super().prep_table_for_batch(batch_impl, table)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

"""Which import is the first of the same bytes: the one that stores their rows. For accounts that skip duplicates.

Bytes have one place, and one import has it. It keeps the place while it is on its way and when it has stored rows; when
it has ended without, the next that comes takes the place. Only one process at a time takes a place, so two imports of
the same bytes never both have it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, insert, select, update

from failpoints import passing
from ingest.ledger.database import Database
from ingest.ledger.imports import report_of
from ingest.ledger.tables import firsts, imports
from ingest.report import Report
from ingest.states import ENDS


@dataclass(frozen=True, slots=True)
class Upload:
    """What is compared: the SHA-256 (hexadecimal) of the data file as it was uploaded, and of its manifest."""

    account: str
    sha256: str
    manifest_sha256: str


class Firsts:
    """Gives places to imports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, upload: Upload, import_id: str, *, instead_of: Report | None = None) -> Report | None:
        """Take the place for an import; ``None`` when it has it now, or had it before, else the import that has it.

        The place is given when nobody has it, or when ``instead_of`` has, which is over and was not tried again since
        it was looked at: its report, with the number of its tries, is what it was. Safe to repeat.
        """
        place = and_(
            firsts.c.account == upload.account,
            firsts.c.sha256 == upload.sha256,
            firsts.c.manifest_sha256 == upload.manifest_sha256,
        )
        with self._database.write_in_turn() as connection:
            holder = connection.scalar(select(firsts.c.import_id).where(place))
            if holder == import_id:
                return None
            if holder is None:
                facts = {"sha256": upload.sha256, "manifest_sha256": upload.manifest_sha256}
                connection.execute(insert(firsts).values(account=upload.account, **facts, import_id=import_id))
            else:
                row = connection.execute(select(imports).where(imports.c.id == holder)).mappings().one()
                first = report_of(row)
                if first != instead_of or first.state not in ENDS:
                    return first
                connection.execute(update(firsts).where(place).values(import_id=import_id))
            passing("first.taken")
        passing("first.committed")
        return None

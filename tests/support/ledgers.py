"""A new ledger for each test, without the time that its migrations take."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from ingest.ledger.database import Database


def new_ledger(file: Path) -> Database:
    """A ledger of this version in ``file``; close it."""
    file.write_bytes(_migrated())
    return Database(f"sqlite:///{file}")


@functools.cache
def _migrated() -> bytes:
    """What the migrations make, once for all tests of a process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        database = Database(f"sqlite:///{file}")
        database.migrate()
        database.close()
        return file.read_bytes()

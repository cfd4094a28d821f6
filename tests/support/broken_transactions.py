"""One transaction after the other, on a disk that refuses one call of SQLite's after the other.

    python -m tests.support.broken_transactions FOLDER ERROR

Runs under the shim of `tests.support.broken_disk`; prints a line of JSON for each transaction that met a refusal.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from sqlalchemy import event, text

from ingest.errors import LedgerUnavailable
from ingest.ledger.database import Database
from tests.support.broken_disk import PLACES, BrokenDisk

_MOST = 10  # calls of one kind in a transaction
_ADD, _COUNT = text("INSERT INTO facts VALUES (:n)"), "SELECT count(*) FROM facts WHERE n = ?"


def main(folder: Path, error: int) -> None:
    """Print what became of each transaction, and of the one after it by the same process, when the disk was well."""
    disk, path = BrokenDisk(Path(os.environ["BROKEN_DISK"])), folder / "ledger.db"
    numbers = itertools.count(1)
    with closing(Database(f"sqlite:///{path}")) as database:
        database.migrate()
        opened: list[object] = []
        event.listen(database.engine, "connect", lambda connection, _: opened.append(connection))
        with database.write() as connection:
            connection.execute(text("CREATE TABLE facts (n INTEGER)"))
        for (call, file), on, first in itertools.product(PLACES, (False, True), range(1, _MOST)):
            number, failed = next(numbers), None
            before = len(opened)
            disk.refuse(call, file, error=error, first=first, on=on)
            try:
                with database.write() as connection:
                    connection.execute(_ADD, {"n": number})
            except LedgerUnavailable as caught:
                failed = getattr(getattr(caught.__cause__, "orig", None), "sqlite_errorname", "")
            if not disk.mend():
                continue
            with closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")  # nobody holds it
                there = other.execute(_COUNT, (number,)).fetchone()[0]
                sound = other.execute("PRAGMA quick_check").fetchone()[0]
                other.execute("ROLLBACK")
            with database.write() as connection:
                connection.execute(_ADD, {"n": -number})
            told = {"call": call.name, "file": file.name, "on": on, "first": first, "failed": failed}
            anew = len(opened) > before
            sys.stdout.write(json.dumps({**told, "there": there, "sound": sound, "anew": anew}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

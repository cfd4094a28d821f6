"""Where the ledger of an installation is: in its folder, or on a PostgreSQL server, where each has its own database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.postgres import Postgres


@dataclass(frozen=True)
class Ledger:
    """A SQLite file in the installation's folder, or a database of the server; goes from process to process."""

    server: Postgres | None = None
    database: str = "template0"

    def copied(self) -> Ledger:
        """Another with the same content, of which nobody has a connection; a file is copied with its folder."""
        return self if self.server is None else replace(self, database=self.server.new(self.database))

    def url(self, installation: Path) -> str:
        if self.server is None:
            return f"sqlite:///{installation / 'data' / 'ledger.db'}"
        return self.server.url(self.database)

    @property
    def environment(self) -> dict[str, str]:
        """What tells the processes of an installation."""
        return {} if self.server is None else {"SEALDROP_LEDGER_URL": self.server.url(self.database)}


IN_ITS_FOLDER = Ledger()

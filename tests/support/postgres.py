"""A real PostgreSQL server for a test session, started by the tests; skips with the reason where there is none."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

# commits are written, as `restart` kills the server, and not synced, as nobody cuts the power
_FAST = ("fsync=off", "full_page_writes=off", "listen_addresses=", "max_connections=60")


class Postgres:
    """A server in a folder of its own, reached by a socket there; `new` makes a database from a template."""

    def __init__(self) -> None:
        program = _program("initdb")
        self._user = _unprivileged_user()
        self.folder = Path(tempfile.mkdtemp(prefix="sd-pg-"))
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        data = self.folder / "data"
        self._run(program, "-D", data, "-U", "sealdrop", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        self.start()

    def url(self, database: str) -> str:
        made = URL.create(
            "postgresql+psycopg", username="sealdrop", database=database, query={"host": str(self.folder)}
        )
        return made.render_as_string()

    def new(self, template: str = "template0") -> str:
        """A new database; its name."""
        name = f"ledger_{secrets.token_hex(6)}"
        self.tell(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def end_connections(self, database: str) -> None:
        """End every connection to a database, as an administrator may."""
        self.tell(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")

    def tell(self, statement: str) -> None:
        """Have the server do something that is about no database in particular."""
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def restart(self) -> None:
        """End every connection in its middle, as a crash of the server does."""
        self.stop()
        self.start()

    def stop(self) -> None:
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        options = " ".join(f"-c {option}" for option in (*_FAST, f"unix_socket_directories={self.folder}"))
        self._control("-l", self.folder / "log", "-o", options, "start")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _control(self, *command: object) -> None:
        self._run(_program("pg_ctl"), "-D", self.folder / "data", "-w", *command)

    def _run(self, *command: object) -> None:
        subprocess.run(
            [str(word) for word in command],
            user=self._user,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:  # Debian keeps them out of PATH
        places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        found = str(places[-1]) if places else None
    if found is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    return found


def _unprivileged_user() -> str | None:
    """The user that the server runs as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.skip("PostgreSQL does not run as root, and there is no other user here")

"""Runs the real command line again and again, each time killed at another step: SIGKILL, as from outside.

    python -m tests.support.killed

Reads a line of JSON for each run, `{"arguments": [...], "kill_at": 3}`, and answers with one: how many steps were
begun, and the exit code, which is -9 for a process that was killed. A step is whatever changes something: a file that
is opened for writing, linked, renamed or removed, a statement that writes to the ledger, a commit. A process is forked
for each run, so that Python and the libraries are loaded once; none of those loaded here starts threads. A run that is
to be killed gives each secret a transaction of its own.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

import ingest.app
import ingest.rotation
import ingest.vault_state  # noqa: F401  # loaded before the fork
from ingest.cli import main
from ingest.ledger import master_keys

_READS = ("SELECT", "PRAGMA", "BEGIN")
_CHANGES = ("os.link", "os.rename", "os.remove")


class _Steps:
    """Counts the steps of this process, and kills it before the one that it was told."""

    def __init__(self, kill_at: int | None, told: int) -> None:
        self._kill_at = kill_at
        self._told = told
        self._count = 0

    def begin(self) -> None:
        self._count += 1
        os.pwrite(self._told, struct.pack("I", self._count), 0)
        if self._count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(self, name: str, arguments: tuple[Any, ...]) -> None:
        writes = name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if name in _CHANGES or writes:
            self.begin()

    def executed(self, _connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.lstrip().startswith(_READS):
            self.begin()

    def commits(self, _connection: Any) -> None:
        self.begin()


def _run(arguments: list[str], kill_at: int | None, told: int) -> int:
    """In the forked process: the command, step by step. The exit code."""
    steps = _Steps(kill_at, told)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    if kill_at is not None:
        master_keys._AT_ONCE = 1
    sys.argv = ["sealdrop", *arguments]
    event.listen(Engine, "before_cursor_execute", steps.executed)
    event.listen(Engine, "commit", steps.commits)
    sys.addaudithook(steps.audited)
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _serve() -> None:
    told = os.memfd_create("steps")
    for line in sys.stdin:
        wanted = json.loads(line)
        os.pwrite(told, struct.pack("I", 0), 0)
        child = os.fork()
        if child == 0:
            code = 99
            with suppress(BaseException):
                code = _run(wanted["arguments"], wanted["kill_at"], told)
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(json.dumps({"steps": struct.unpack("I", os.pread(told, 4, 0))[0], "code": code}) + "\n")
        sys.stdout.flush()


class Killed:
    """The process that does so, for a test; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.killed"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def __enter__(self) -> Killed:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, *arguments: object, kill_at: int | None = None) -> tuple[int, int]:
        """Run a command; how many steps it began, and its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"arguments": [*map(str, arguments)], "kill_at": kill_at}) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return told["steps"], told["code"]


if __name__ == "__main__":
    _serve()

"""The process that parts of a service are forked from, with what they need already loaded.

    python -m tests.crash.nursery

Reads a line of JSON for each wish and answers with one. Everything is loaded here and nothing used: the lake's library
and polars do not survive a fork once they have been at work, and they begin to work in the forked processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import failpoints
import ingest.by_hand
import ingest.carry
import ingest.cli.data
import ingest.cli.imports
import ingest.cli.setup
import ingest.keyring
import ingest.recovery
import ingest.service
import ingest.worker
import stores.lake  # noqa: F401  # all of these are loaded before the fork
from ingest.app import App
from ingest.cli import main
from ingest.nudge import Nudges
from ingest.settings import load_settings


class Children:
    """The forked processes, each with the exit code that it had, once that is known."""

    def __init__(self) -> None:
        self._codes: dict[int, int | None] = {}
        self._lines: dict[int, Nudges] = {}  # the end of one would end its worker

    def grant(self, wish: dict[str, Any]) -> object:
        if "part" in wish:
            return self._fork(wish)
        if "alive" in wish:
            return self._code(wish["alive"], os.WNOHANG) is None
        if "nudge" in wish:
            self._lines[wish["nudge"]].send()
            return True
        return self._kill(wish["kill"])

    def end(self) -> None:
        for pid in self._codes:
            self._kill(pid)

    def _kill(self, pid: int) -> int | None:
        if self._code(pid, os.WNOHANG) is None:
            os.kill(pid, signal.SIGKILL)
        return self._code(pid, 0)

    def _code(self, pid: int, options: int) -> int | None:
        if self._codes[pid] is None:
            ended, status = os.waitpid(pid, options)
            if ended:
                self._codes[pid] = os.waitstatus_to_exitcode(status)
        return self._codes[pid]

    def _fork(self, wish: dict[str, Any]) -> int:
        ours, theirs = Nudges.pair()
        pid = os.fork()
        if pid == 0:
            code: object = 99
            try:
                _live(wish, theirs)
            except SystemExit as end:
                code = end.code
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code if isinstance(code, int) else 0)
        theirs.close()
        self._codes[pid] = None
        self._lines[pid] = ours
        return pid


def _live(wish: dict[str, Any], line: Nudges) -> None:
    """In the forked process: one part, to its end."""
    log = os.open(wish["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(wish["environment"])
    if wish["part"] == "desk":
        sys.argv = ["sealdrop", "--config", wish["config"], "serve", "--only", "door", "--only", "notices"]
        main()
        return
    if wish["part"] == "command":
        sys.argv = ["sealdrop", "--config", wish["config"], *wish["command"]]
        main()
        return
    settings = load_settings(Path(wish["config"]))
    if wish["part"] == "recovery":
        failpoints.arm(os.environ)
        with contextlib.closing(App(settings)) as app:
            ingest.recovery.recover(app)
        return
    with contextlib.closing(App(settings)) as app:
        app.open_vault()
        handed = app.held_keys.handed_over()
    keys_out, keys_in = Pipe(duplex=False)
    keys_in.send_bytes(handed)
    ingest.worker.run_worker(settings, line, keys_out)


def _serve() -> None:
    children = Children()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(children.grant(json.loads(line))) + "\n")
        sys.stdout.flush()
    children.end()


if __name__ == "__main__":
    _serve()

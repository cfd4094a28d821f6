"""A real installation, served by the real command in a process of its own, with a real SMTP server beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import psutil

from ingest.demo.mailbox import Mailbox, text_of
from ingest.ledger.database import Database
from ingest.ledger.imports import Imports
from ingest.states import ENDS
from stores.lake import Lake

T = TypeVar("T")

SEALDROP = Path(sys.executable).parent / "sealdrop"
WAIT_S = 60.0


class LoopThread:
    """An event loop in a thread, for the SMTP server of tests that are not asynchronous."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S * 2)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Post:
    """The mails that arrived, for tests that are not asynchronous."""

    def __init__(self) -> None:
        self._thread = LoopThread()
        self.mailbox = Mailbox()
        self._thread.run(self.mailbox.open())

    @property
    def port(self) -> int:
        return self.mailbox.port

    def about(self, import_id: str, subject: str) -> EmailMessage:
        """The mail about an import whose subject starts so; waits for it."""

        def fits(mail: EmailMessage) -> bool:
            return mail["Subject"].startswith(subject) and import_id in text_of(mail)

        return self._thread.run(self.mailbox.wait_for(fits, WAIT_S))

    def count(self, import_id: str) -> int:
        return sum(import_id in text_of(mail) for mail in self.mailbox.mails)

    def close(self) -> None:
        self._thread.run(self.mailbox.close())
        self._thread.close()


def sealdrop(*arguments: object, environment: Mapping[str, str] | None = None, code: int = 0) -> str:
    """Run the real command; its standard output. Fails the test when it ends with another code."""
    ran = subprocess.run(
        [str(SEALDROP), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        timeout=WAIT_S * 2,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert ran.returncode == code, f"{arguments}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    assert "Traceback" not in ran.stderr
    return ran.stdout


class Instance:
    """An installation that can be served, killed and served again."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.config = folder / "sealdrop.toml"
        self.log = folder / "serve.log"
        self.post = Post()
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.environment = {"SEALDROP_DOOR__PORT": "0", "SEALDROP_MAIL__SECURITY": "none", **environment}
        mail = ("--mail-host", "127.0.0.1", "--mail-port", self.post.port)
        sealdrop("init", folder, *mail, environment=self.environment)
        self.ledger = Database(environment.get("SEALDROP_LEDGER_URL", f"sqlite:///{folder / 'data' / 'ledger.db'}"))

    def run(self, *arguments: object, code: int = 0) -> str:
        """Run a command about this installation."""
        return sealdrop("--config", self.config, *arguments, environment=self.environment, code=code)

    def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))

    def start(self) -> None:
        """Serve, and wait until the door is open."""
        with self.log.open("ab") as log:
            start = log.tell()
            self.process = subprocess.Popen(
                [str(SEALDROP), "--config", str(self.config), "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        self.port = wait_for(lambda: self._door_port(start))

    def _door_port(self, start: int) -> int | None:
        assert self.process is not None
        text = self.log.read_bytes()[start:].decode()
        assert self.process.poll() is None, text
        for line in text.splitlines():
            if '"action": "door_open"' in line:
                return int(json.loads(line)["port"])
        return None

    def workers(self) -> list[psutil.Process]:
        """The worker processes that are alive."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if "multiprocessing.spawn" in " ".join(child.cmdline())]

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def imports(self, account: str) -> list[dict[str, Any]]:
        """The account's imports, oldest first."""
        reports = Imports(self.ledger).newest(account=account, limit=1000)
        return [report.as_json() for report in reversed(reports)]

    def lake_events(self, account: str) -> pl.DataFrame:
        """All events of an account, as the lake's readers see them."""
        return Lake(self.folder / "data" / "lake").events(account)

    def wait_for_imports(self, account: str, count: int) -> list[dict[str, Any]]:
        """The account's imports, once there are so many and all are over."""

        def over() -> list[dict[str, Any]] | None:
            imports = self.imports(account)
            ended = [one for one in imports if one["state"] in ENDS]
            return imports if len(imports) >= count and len(ended) == len(imports) else None

        return wait_for(over)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
            self.process.kill()
            self.process.wait()
        self.ledger.close()
        self.post.close()


def wait_for(look: Callable[[], T | None], timeout_s: float = WAIT_S) -> T:
    """The first value that is not None; looks every 20 ms, and fails the test when none comes in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing came within {timeout_s} s")


@contextlib.contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Instance]:
    """A served installation; ended at the end of the block."""
    instance = Instance(folder, **environment)
    try:
        instance.start()
        yield instance
    finally:
        instance.close()

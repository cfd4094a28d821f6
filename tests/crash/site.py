"""An installation whose processes die: the real service in one process tree, or its parts forked from one process.

A forked part runs the same code as the real one, from `main` or `run_worker` on; only the second or so that Python and
the libraries need to be loaded is saved. The real one is what `python -m tests.crash` kills; the tests, which have less
time, fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

import failpoints
from failpoints import Action
from ingest.demo.mailbox import Mailbox
from ingest.ledger.database import Database
from stores.lake import Lake
from tests.crash.workload import Template
from tests.support.served import SEALDROP

WAIT_S = 60.0
AT_THE_DESK = ("publish.", "rename.", "collect.", "take.", "notices.", "notice.", "digest.", "waiting.")
"""The places that lie in the process of door and notices; all others lie in workers."""

# quick leases, so that what was lost is taken over at once; on a busy machine one may end under a living worker, and so
# often that an import must not be held for it
_QUICK = {
    "SEALDROP_MAIL__POLL_S": "0.1",
    "SEALDROP_MAIL__RETRY_FLOOR_S": "0.2",
    "SEALDROP_NOTICES__MAILS_PER_HOUR": "10000",
    "SEALDROP_OPENPGP__KEY_CACHE_S": "0.001",  # or a pair is unlocked once, and its failpoint passed no more
    "SEALDROP_RETENTION__ARCHIVE_DAYS": "0",
    "SEALDROP_WATCH__RESCAN_S": "0.2",
    "SEALDROP_WORKER__CHUNK_BYTES": "4000",
    "SEALDROP_WORKER__LEASE_S": "1",
    "SEALDROP_WORKER__MAX_LOST": "100",
    "SEALDROP_WORKER__POLL_S": "0.1",
    "SEALDROP_WORKER__RETRY_FLOOR_S": "0.2",
}


async def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Look every 20 ms; raises ``TimeoutError`` after a generous time."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {WAIT_S} s: {what}")
        await asyncio.sleep(0.02)


class Site(ABC):
    """A copy of the template that is run, with an SMTP server beside it; ``point`` is the failpoint that is on."""

    action = Action.KILL
    ACTS_AT = 1000  # the passing that counts; a round begins to count where so many are left as it wants

    def __init__(self, template: Template, folder: Path, point: str | None, **environment: str) -> None:
        self.template = template
        self.point = point
        self.folder = folder
        shutil.copytree(template.installation, folder)
        self.log = folder / "log"
        self.passed = folder / "passed"
        self.passed.touch()
        self.mailbox = Mailbox()
        self.ledger = template.ledger.copied()
        self.database = Database(self.ledger.url(folder))
        self.lake = Lake(folder / "data" / "lake")
        self.spool_root = folder / "data" / "spool"
        self.port = 0
        self._message_ids: list[str] = []
        self._environment = environment

    def set_environment(self, **environment: str) -> None:
        """Give these variables as well to the processes that are started from now on."""
        self._environment.update(environment)

    async def open(self) -> None:
        """Start the SMTP server, and all parts."""
        await self.mailbox.open()
        await self.start()

    @abstractmethod
    async def start(self) -> None:
        """Start all parts, and wait until the door is open."""

    @abstractmethod
    async def start_and_die(self) -> None:
        """Start what passes the failpoint at its start, and wait until that is dead."""

    async def recover(self) -> None:  # noqa: B027  # the start of a real service does it
        """Do what a service does before it starts."""

    @abstractmethod
    async def run(self, *command: str) -> int:
        """Run a command of the installation to its end; its exit code, negative when it was killed."""

    @abstractmethod
    async def mend(self) -> bool:
        """Start again what has died; whether the door or the notices had."""

    @abstractmethod
    def kill(self) -> None:
        """Kill all processes at once, as a loss of power does, and wait until they are gone."""

    def message_ids(self) -> list[str]:
        """Those of all mails that have arrived, in their order."""
        self._message_ids += [mail["Message-ID"] for mail in self.mailbox.mails[len(self._message_ids) :]]
        return self._message_ids

    def go_on(self) -> None:  # noqa: B027  # most workers do by themselves
        """Let the workers look into the ledger."""

    async def close(self) -> None:
        self.kill()
        self.database.close()
        await self.mailbox.close()

    def taken(self) -> list[str]:
        """The IDs of the imports that have files in the spool."""
        return [path.name for path in (self.spool_root / "taken").iterdir() if not path.name.startswith(".")]

    def count_anew(self, *, skip: int) -> None:
        """Let passings count from ``skip`` on, so that the failpoint acts once more."""
        self.passed.write_text(f"{self.point}\n" * skip)

    def has_acted(self) -> bool:
        """Whether the failpoint was passed often enough."""
        return self.passed.read_text().splitlines().count(str(self.point)) >= self.ACTS_AT

    def environment(self, *, armed: bool) -> dict[str, str]:
        """What the settings of a process are, beside those in the file."""
        wanted = {}
        if armed and self.point is not None:
            action = f"{self.point}:{self.ACTS_AT}:{self.action}"
            wanted = {failpoints.VARIABLE: action, failpoints.PASSED_VARIABLE: str(self.passed)}
        mail = {"SEALDROP_MAIL__PORT": str(self.mailbox.port)}
        return {**_QUICK, **mail, **self.ledger.environment, **self._environment, **wanted}

    def records(self, action: str) -> list[dict[str, Any]]:
        """What the processes have logged of this action."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if f'"action": "{action}"' in line]

    async def door_is_open(self, opened_before: int) -> None:
        await wait_until(lambda: len(self.records("door_open")) > opened_before, "the door is open")
        self.port = self.records("door_open")[-1]["port"]


class Served(Site):
    """The real command, with all parts in one tree of processes."""

    def __init__(self, template: Template, folder: Path, point: str | None, **environment: str) -> None:
        super().__init__(template, folder, point, **environment)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        opened = len(self.records("door_open"))
        self._serve()
        await self.door_is_open(opened)

    def _serve(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # it returns at once
                [str(SEALDROP), "--config", str(self.folder / "sealdrop.toml"), "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment(armed=True)},
            )

    async def start_and_die(self) -> None:
        self._serve()
        await wait_until(lambda: self._process is None or self._process.poll() is not None, "the service is dead")

    async def run(self, *command: str) -> int:
        with self.log.open("ab") as log:
            ran = await asyncio.create_subprocess_exec(
                *(str(SEALDROP), "--config", str(self.folder / "sealdrop.toml"), *command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment(armed=True)},
            )
            return await ran.wait()

    async def mend(self) -> bool:
        if self._process is None or self._process.poll() is None:
            return False  # a worker that has died is replaced by its service
        await self.start()
        return True

    def kill(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self._process.pid).children(recursive=True)
            self._process.kill()
            for child in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            psutil.wait_procs(family, WAIT_S)
        self._process.wait()


class Nursery:
    """The process that parts are forked from; a context manager that ends it and them."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **environment},
        )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate()

    def ask(self, **wish: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Forked(Site):
    """Door and notices as one process, the desk, and workers beside it, all forked; one of them has the failpoint.

    When a worker has it, another waits until the first is dead, so that this one gets there.
    """

    def __init__(
        self, nursery: Nursery, template: Template, folder: Path, point: str | None, **environment: str
    ) -> None:
        super().__init__(template, folder, point, **environment)
        self._nursery = nursery
        self._desk: int | None = None
        self._heir: int | None = None
        self._victim: int | None = None

    async def aim(self, point: str) -> None:
        """Have another failpoint from now on; nothing is under way."""
        before, self.point = self.point, point
        if before != point and (str(before).startswith(AT_THE_DESK) or self._is_at_the_desk):
            self.end(self._desk)
            await self.mend()
        self.end(self._victim)
        self._victim = None if self._is_at_the_desk else self.fork("worker", armed=True)

    async def open(self) -> None:
        await super().open()
        if self.point is not None:
            await self.aim(self.point)

    async def start(self) -> None:
        opened = len(self.records("door_open"))
        self._desk = self.fork("desk", armed=self._is_at_the_desk)
        if self._heir is None:
            self._heir = self.fork("worker", SEALDROP_WORKER__POLL_S="3600")  # it works when it is nudged
        await self.door_is_open(opened)

    async def start_and_die(self) -> None:
        pid = self.fork("desk" if self._is_at_the_desk else "recovery", armed=True)
        await wait_until(lambda: not self.is_alive(pid), "the part is dead")

    async def recover(self) -> None:
        pid = self.fork("recovery")
        await wait_until(lambda: not self.is_alive(pid), "recovery is through")

    async def run(self, *command: str) -> int:
        pid = self.fork("command", armed=True, command=command)
        await wait_until(lambda: not self.is_alive(pid), f"{command} has ended")
        return int(self._nursery.ask(kill=pid))

    async def mend(self) -> bool:
        if self._desk is None or self.is_alive(self._desk):
            return False
        await self.start()
        return True

    def go_on(self) -> None:
        if self._heir is not None and (self._victim is None or not self.is_alive(self._victim)):
            self._nursery.ask(nudge=self._heir)

    def kill(self) -> None:
        for pid in (self._desk, self._heir, self._victim):
            self.end(pid)
        self._desk = self._heir = self._victim = None

    def is_alive(self, pid: int) -> bool:
        return bool(self._nursery.ask(alive=pid))

    def fork(self, part: str, *, armed: bool = False, command: Sequence[str] = (), **environment: str) -> int:
        """Start a part; its process ID."""
        config, log = str(self.folder / "sealdrop.toml"), str(self.log)
        environment = {**self.environment(armed=armed), **environment}
        return int(self._nursery.ask(part=part, command=command, config=config, log=log, environment=environment))

    @property
    def _is_at_the_desk(self) -> bool:
        return self.point is not None and self.point.startswith(AT_THE_DESK)

    def end(self, pid: int | None) -> None:
        if pid is not None:
            self._nursery.ask(kill=pid)

"""The data endpoints served by a real uvicorn, with an authentication for tests: the header ``X-Account`` is believed.

python -m tests.support.data_api SETTINGS_FILE [MOMENT]     serves until it is killed; prints its port

With a moment it kills itself in the first upload: `before` its commits, `between` the one of events and the one of
profiles, or `after` both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette

from ingest.app import App
from ingest.http.data_routes import data_routes
from ingest.http.problems import Problem, answer_problem
from ingest.settings import load_settings
from ingest.uploads.intake import Intake
from manifests.types import ImportType
from stores.lake import Lake

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ROOT = Path(__file__).parents[2]


class _Believing:
    """Takes the account from a header."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["account"] = dict(scope["headers"])[b"x-account"].decode()
        await self._app(scope, receive, send)


def application(app: App) -> Starlette:
    intake = Intake(app.settings.uploads, app.batches)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await intake.close()

    served = Starlette(routes=data_routes(app, intake), exception_handlers={Problem: answer_problem}, lifespan=lifespan)
    served.add_middleware(_Believing)
    return served


def client(port: int, account: str = "acme") -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-Account": account}, timeout=60)


@contextlib.contextmanager
def served(app: App) -> Iterator[int]:
    """The endpoints in a thread of this process; the port."""
    # asyncio switches Nagle's algorithm off only for sockets that are named TCP: 40 ms a request
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        config = uvicorn.Config(application(app), log_config=None, lifespan="on", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(60)


class ServedApart:
    """The endpoints in a process of their own, to be killed."""

    def __init__(self, settings_file: Path, kill_at: str = "") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.data_api", str(settings_file), kill_at],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait(60)


class _Doomed(Lake):
    """A lake whose process ends at a moment of an upload of both kinds."""

    moment = ""

    def append(self, account: str, kind: ImportType, import_id: str, **rest: Any) -> int:
        self._end_at("before" if kind is ImportType.EVENT else "between")
        stored = super().append(account, kind, import_id, **rest)
        self._end_at("after" if kind is ImportType.PROFILE else "never")
        return stored

    def _end_at(self, moment: str) -> None:
        if moment == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    opened = App(load_settings(Path(sys.argv[1])))
    opened.database.migrate()
    if sys.argv[2]:
        _Doomed.moment = sys.argv[2]
        opened.lake = _Doomed(opened.settings.lake_dir)
    with served(opened) as port:
        print(port, flush=True)  # noqa: T201
        threading.Event().wait()

"""The worker processes of one service: started, nudged, and started again when one ends by itself.

Started by spawn: the lake's library does not survive a fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from time import monotonic

import structlog

from ingest.settings import Settings
from ingest.worker import run_worker

_RESTART_PAUSE_S = 1.0

_log = structlog.get_logger()


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    started: float


class Workers:
    """Keeps ``settings.worker.processes`` workers alive on the running event loop."""

    def __init__(self, settings: Settings, *, on_settled: Callable[[], None]) -> None:
        self._settings = settings
        self._on_settled = on_settled
        self._workers: list[_Worker] = []
        self._stopping = False
        self._restarts: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the processes; returns before they are ready to work."""
        for _ in range(self._settings.worker.processes):
            await asyncio.to_thread(self._spawn)
            self._watch(self._workers[-1])

    def nudge(self) -> None:
        """Tell the workers to look into the ledger now."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.pipe.send_bytes(b".")

    async def stop(self, timeout_s: float) -> None:
        """Let each worker finish its import for at most ``timeout_s``, then end it; its import runs again later."""
        self._stopping = True
        for task in self._restarts:
            task.cancel()
        loop = asyncio.get_running_loop()
        deadline = monotonic() + timeout_s
        for worker in self._workers:
            loop.remove_reader(worker.process.sentinel)
            loop.remove_reader(worker.pipe.fileno())
            worker.pipe.close()
        for worker in self._workers:
            await asyncio.to_thread(worker.process.join, max(0.0, deadline - monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                await asyncio.to_thread(worker.process.join)
            worker.process.close()
        self._workers.clear()

    def _spawn(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=run_worker, args=(self._settings, theirs), name="sealdrop-worker")
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours, monotonic()))

    def _watch(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(worker.process.sentinel, self._ended, worker)
        loop.add_reader(worker.pipe.fileno(), self._heard, worker)

    def _heard(self, worker: _Worker) -> None:
        try:
            worker.pipe.recv_bytes()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(worker.pipe.fileno())
            return
        self._on_settled()

    def _ended(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(worker.process.sentinel)
        loop.remove_reader(worker.pipe.fileno())
        worker.pipe.close()
        worker.process.join()
        _log.error("worker_ended", action="worker_ended", exit_code=worker.process.exitcode)
        worker.process.close()
        self._workers.remove(worker)
        if not self._stopping:
            task = loop.create_task(self._replace(worker.started))
            self._restarts.add(task)
            task.add_done_callback(self._restarts.discard)

    async def _replace(self, started: float) -> None:
        """Start a worker in place of one that ended; not at once when that one hardly lived."""
        await asyncio.sleep(max(0.0, _RESTART_PAUSE_S - (monotonic() - started)))
        await asyncio.to_thread(self._spawn)
        self._watch(self._workers[-1])

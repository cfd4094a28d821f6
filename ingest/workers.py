"""The worker processes of one service: started, nudged, and started again when one ends by itself.

Started by spawn: the lake's library does not survive a fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from time import monotonic

import structlog

from ingest.nudge import Nudges
from ingest.settings import Settings
from ingest.worker import run_worker
from keystore.held_keys import HeldKeys

_RESTART_PAUSE_S = 1.0
_LET_GO_S = 10.0

_log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _Worker:
    process: SpawnProcess
    nudges: Nudges
    started: float


class Workers:
    """Keeps ``settings.worker.processes`` workers alive on the running event loop.

    Each is handed the master keys that the service holds, through a pipe that nobody else sees.
    """

    def __init__(self, settings: Settings, keys: HeldKeys, *, on_settled: Callable[[], None]) -> None:
        self._settings = settings
        self._keys = keys
        self._on_settled = on_settled
        self._workers: list[_Worker] = []
        self._restarts: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the processes; returns before they are ready to work."""
        for _ in range(self._settings.worker.processes):
            self._watch(await asyncio.to_thread(self._spawn))

    def nudge(self) -> None:
        """Tell the workers to look into the ledger now; never waits."""
        for worker in self._workers:
            worker.nudges.send()

    async def stop(self, timeout_s: float) -> None:
        """Let each worker finish its import for at most ``timeout_s``; then it gives the import back, and ends."""
        for task in self._restarts:
            task.cancel()
        await asyncio.gather(*self._restarts, return_exceptions=True)
        deadline = monotonic() + timeout_s
        for worker in self._workers:
            self._unwatch(worker)
        for worker in self._workers:
            await asyncio.to_thread(_end, worker.process, max(0.0, deadline - monotonic()))
        self._workers.clear()

    def _spawn(self) -> _Worker:
        ours, theirs = Nudges.pair()
        context = multiprocessing.get_context("spawn")
        keys_out, keys_in = context.Pipe(duplex=False)
        process = context.Process(target=run_worker, args=(self._settings, theirs, keys_out), name="sealdrop-worker")
        with contextlib.closing(keys_in):
            try:
                process.start()
            finally:
                theirs.close()
                keys_out.close()
            with contextlib.suppress(BrokenPipeError):  # it has ended already, which its sentinel tells
                keys_in.send_bytes(self._keys.handed_over())
        return _Worker(process, ours, monotonic())

    def _watch(self, worker: _Worker) -> None:
        self._workers.append(worker)
        loop = asyncio.get_running_loop()
        loop.add_reader(worker.process.sentinel, self._ended, worker)
        loop.add_reader(worker.nudges.fileno(), self._heard, worker)

    def _unwatch(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(worker.process.sentinel)
        loop.remove_reader(worker.nudges.fileno())
        worker.nudges.close()

    def _heard(self, worker: _Worker) -> None:
        if worker.nudges.take():
            self._on_settled()
        else:  # its end is told by the process itself
            asyncio.get_running_loop().remove_reader(worker.nudges.fileno())

    def _ended(self, worker: _Worker) -> None:
        self._unwatch(worker)
        self._workers.remove(worker)
        _end_group(worker.process)
        worker.process.join()
        _log.error("worker_ended", action="worker_ended", exit_code=worker.process.exitcode)
        worker.process.close()
        task = asyncio.get_running_loop().create_task(self._replace(worker.started))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _replace(self, started: float) -> None:
        """Start a worker in place of one that ended; not at once when that one hardly lived."""
        pause_s = max(0.0, _RESTART_PAUSE_S - (monotonic() - started))
        while True:
            await asyncio.sleep(pause_s)
            try:
                worker = await asyncio.shield(asyncio.to_thread(self._spawn))
            except OSError as error:
                _log.error("worker_not_started", action="worker_not_started", error=error.strerror)
                pause_s = _RESTART_PAUSE_S
            else:
                self._watch(worker)
                return


def _end(process: SpawnProcess, timeout_s: float) -> None:
    process.join(timeout_s)
    if process.is_alive():
        process.terminate()
        process.join(_LET_GO_S)
    if process.is_alive():
        process.kill()
        _end_group(process)
        process.join()
    process.close()


def _end_group(process: SpawnProcess) -> None:
    """End what a killed worker has left running, as gpg; nobody waited for it yet, so the group's number is its own."""
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

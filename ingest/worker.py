"""A worker process: claims imports and carries them out, one after the other, until its service ends.

The end of the service's line means «finish what you do, then stop». SIGTERM means «stop now»: the import is given
back, and the next worker has it at once. SIGKILL of the service ends its workers with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from multiprocessing.connection import Connection
from types import FrameType

import structlog

import failpoints
from ingest.app import App
from ingest.errors import Interrupted, LedgerUnavailable
from ingest.hardening import bound_process, harden_process
from ingest.logs import set_up_logs
from ingest.nudge import Nudges
from ingest.settings import Settings
from ingest.watched_leases import WatchedLeases

_log = structlog.get_logger()


def run_worker(settings: Settings, service: Nudges, keys: Connection) -> None:
    """The whole life of a worker process; ``keys`` brings the master keys that its service holds."""
    harden_process(end_with_parent=True)
    bound_process(max_memory_bytes=settings.worker.max_memory_bytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the service decides
    signal.signal(signal.SIGTERM, _interrupt)
    set_up_logs(settings.log_level)
    failpoints.arm(os.environ)
    with contextlib.suppress(Interrupted), contextlib.closing(App(settings)) as app:
        try:
            app.held_keys.take_over(keys.recv_bytes())
        except EOFError:  # the service has ended
            return
        keys.close()
        app.open_vault()
        _work(app, service)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: letting go must not be interrupted
    raise Interrupted


def _work(app: App, service: Nudges) -> None:
    leases = WatchedLeases(app.settings.worker.lease_s)
    while True:
        wait_s = app.settings.worker.poll_s
        try:
            app.disk.look()
            lease = None
            if not app.disk.is_lowest:
                lease = app.queue.claim(app.now(), unrenewed=leases.unrenewed(app.queue.held()))
            if lease is not None:
                app.carrier.carry_out(lease)
                service.send()
                wait_s = 0
        except LedgerUnavailable as error:
            _log.warning("ledger_unavailable", action="ledger_unavailable", detail=error.detail)
        app.keyring.forget_old()
        if not service.wait(wait_s):
            return

"""A worker process: claims imports and carries them out, one after the other, until its parent ends.

The parent holds the other end of a pipe. A byte from it means «look into the ledger now»; its end means «finish what
you do, then stop»: so a worker never outlives its parent for longer than one import. The worker sends a byte back
after each import.
"""

from __future__ import annotations

import contextlib
import signal
from multiprocessing.connection import Connection

import structlog

from ingest.app import App
from ingest.errors import LedgerUnavailable
from ingest.hardening import harden_process
from ingest.logs import set_up_logs
from ingest.settings import Settings

_log = structlog.get_logger()


def run_worker(settings: Settings, parent: Connection) -> None:
    """The whole life of a worker process."""
    harden_process(end_with_parent=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    set_up_logs(settings.log_level)
    with contextlib.closing(App(settings)) as app:
        app.open_vault()
        _work(app, settings, parent)


def _work(app: App, settings: Settings, parent: Connection) -> None:
    carrier = app.carrier
    while True:
        try:
            lease = app.queue.claim(app.now())
            if lease is not None:
                carrier.carry_out(lease)
                parent.send_bytes(b".")
                if _ended(parent, wait_s=0):
                    return
                continue
        except LedgerUnavailable as error:
            _log.warning("ledger_unavailable", action="ledger_unavailable", detail=error.detail)
        except BrokenPipeError:
            return
        app.keyring.forget_old()
        if _ended(parent, wait_s=settings.worker.poll_s):
            return


def _ended(parent: Connection, *, wait_s: float) -> bool:
    """Wait for a nudge; whether the parent has ended."""
    try:
        while parent.poll(wait_s):
            parent.recv_bytes()
            wait_s = 0
    except (EOFError, OSError):
        return True
    return False

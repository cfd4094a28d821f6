"""A lock between processes of one machine; it ends with its process, so a killed one leaves nothing to clean up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from stores.errors import StoreBusy
from stores.seam import unavailable

_LOOK_S = 0.005

PUBLIC_BUSY = "The same is being done at this moment. Try again later."


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock for the block.

    Raises `StoreBusy` when it does not come free in time, `StoreUnavailable` when it cannot be made.
    """
    with unavailable("open a lock"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StoreBusy(PUBLIC_BUSY, detail=f"{path.parent.name}/{path.name}") from None
                time.sleep(_LOOK_S)
        yield
    finally:
        os.close(descriptor)

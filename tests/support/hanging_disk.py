"""A folder whose storage has stopped answering: a FUSE file system that nobody serves, which only root may mount."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_DETACH = 2  # umount2(2), MNT_DETACH


@contextlib.contextmanager
def hanging(folder: Path) -> Iterator[None]:
    """Whatever reaches into ``folder`` waits until the block ends, and then fails; a signal does not always help it.

    Skips the test, with the reason, where no such file system can be mounted.
    """
    system = ctypes.CDLL(None, use_errno=True)
    try:
        served = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"no FUSE file system can be had here: {error}")
    try:
        options = f"fd={served},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()}"
        if system.mount(b"hanging", os.fsencode(folder), b"fuse", 0, options.encode()) != 0:
            pytest.skip(f"no FUSE file system can be mounted here: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            system.umount2(os.fsencode(folder), _DETACH)
    finally:
        os.close(served)  # which ends all that waits

"""Hygiene of a process that sees secrets: no core files, limits, an end together with its parent."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def harden_process(*, end_with_parent: bool) -> None:
    """Keep this process's memory out of core files and from other processes; optionally end it with its parent."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        if end_with_parent:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def bound_process(*, max_memory_bytes: int) -> None:
    """Give this process and its children a group of their own, and bound its memory: one that eats it ends alone.

    The memory that counts is what the process may write to (``RLIMIT_DATA``), touched or not: several times what it
    has resident. 0 is no limit. A terminal's Ctrl-C reaches neither it nor its children (FAULTS.md W15).
    """
    os.setpgid(0, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if max_memory_bytes and (hard == resource.RLIM_INFINITY or max_memory_bytes < hard):
        resource.setrlimit(resource.RLIMIT_DATA, (max_memory_bytes, max_memory_bytes))

"""Making files and names durable. The lake's library never does (LIBRARIES.md 4)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

Sync = Callable[[Path], None]
"""What makes the bytes of a file, or the names in a folder, durable; raises ``OSError`` when it cannot."""


def sync_path(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, survive a loss of power.

    Raises ``OSError`` when the disk refuses. What was written is then lost for good: another sync that succeeds
    proves nothing (FAULTS.md W11).
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path, *, below: Path, sync: Sync) -> None:
    """Make ``folder`` and those between it and ``below``, private to this user, their names durable; may be repeated.

    Raises ``OSError`` when one cannot be made or synced.
    """
    below.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in folder.relative_to(below).parts:
        (below / name).mkdir(mode=0o700, exist_ok=True)
        sync(below)
        below /= name

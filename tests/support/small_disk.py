"""A small file system of its own that a test can fill: a tmpfs, which only root may mount."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted file system at ``folder`` of ``size`` bytes; `fill` leaves so many of them free."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._balloon = folder / ".balloon"

    @property
    def free(self) -> int:
        facts = os.statvfs(self.folder)
        return facts.f_bavail * facts.f_frsize

    def fill(self, *, free: int = 0) -> None:
        self.release()
        with self._balloon.open("wb") as balloon:
            os.posix_fallocate(balloon.fileno(), 0, self.free - free)

    def release(self) -> None:
        self._balloon.unlink(missing_ok=True)


@contextlib.contextmanager
def mounted(folder: Path, *, megabytes: int, inodes: int = 10_000) -> Iterator[SmallDisk]:
    """Skips the test, with the reason, where nothing can be mounted."""
    folder.mkdir(parents=True)
    options = f"size={megabytes}m,nr_inodes={inodes},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "sealdrop-test", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)

"""Private folders for gpg: one for each message, removed after it, and swept after a crash (FAULTS.md P27-P29, K6).

A folder is locked (``flock``) by the process that works in it, so that the kernel tells at once whether that process
still lives, also from another container and when its process ID was given to another.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
COMMAND_S = 60

_MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - the folder inside is private and has a random name
_SHORT_FOLDER = Path("/tmp")  # noqa: S108 - the same
_NAME = re.compile(r"sealdrop-gpg-(\d+)-\w+")
# s2k-count: the agent need not measure how slow to make its own copy of the key, which lives in memory for one message
_AGENT_OPTIONS = "auto-expand-secmem 0x30000\ndisable-scdaemon\ns2k-count 65536\n"
_LONGEST_PARENT = 60  # a socket's path has at most 107 bytes, the folder's name and the socket's take some 45
_REMOVALS, _REMOVAL_PAUSE_S = 20, 0.05
_BEING_MADE_S = 60.0


@contextlib.contextmanager
def private_home() -> Iterator[Path]:
    """A private folder, in memory if it can be, with a short path; its agent is killed and it is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix=f"sealdrop-gpg-{os.getpid()}-", dir=_parents()[0]))
    lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (home / "gpg-agent.conf").write_text(_AGENT_OPTIONS)
        yield home
    finally:
        _remove(home)
        os.close(lock)


def sweep_homes() -> int:
    """How many folders were removed that killed processes of this user had left, with the agents in them.

    Call it at start; folders in use, by this process or any other, are left alone. Raises nothing.
    """
    count = 0
    for parent in _parents():
        with contextlib.suppress(OSError):
            for home in list(parent.iterdir()):
                if _NAME.fullmatch(home.name) and _is_left_over(home):
                    _remove(home)
                    count += 1
    return count


def _parents() -> list[Path]:
    """Where a folder may be made, the best place first (FAULTS.md P28: the path of a socket must be short)."""
    places = dict.fromkeys((_MEMORY_FOLDER, Path(tempfile.gettempdir()), _SHORT_FOLDER))
    return [
        place for place in places if len(os.fsencode(place)) <= _LONGEST_PARENT and os.access(place, os.W_OK | os.X_OK)
    ] or [Path(tempfile.gettempdir())]


def _is_left_over(home: Path) -> bool:
    """Whether the folder is ours and nobody works in it. One that was just made is not locked yet: give it a minute."""
    try:
        lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        status = os.fstat(lock)
        if status.st_uid != os.getuid():
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    match = _NAME.fullmatch(home.name)
    maker_lives = match is not None and _lives(int(match[1]))
    return not maker_lives or time.time() - status.st_mtime > _BEING_MADE_S


def _lives(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _remove(home: Path) -> None:
    """Kill what runs in the folder, then remove it."""
    for command in (["--kill", "all"], ["--remove-socketdir"]):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["gpgconf", "--homedir", str(home), *command],
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=COMMAND_S,
                check=False,
            )
    for _ in range(_REMOVALS):
        shutil.rmtree(home, ignore_errors=True)
        if not home.exists():
            return
        time.sleep(_REMOVAL_PAUSE_S)  # an agent that is ending may still write into its folder

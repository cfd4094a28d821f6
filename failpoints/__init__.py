"""Failpoints: named places, most of them on the way of an import, at which a test lets a process die, or a disk fail.

They are compiled in and off. Only `arm` switches one on, for the process that calls it, and only from the environment
of that process: no settings file, no client and no account can (docs/adr/0016).

    SEALDROP_FAILPOINT=name:n[:action]     the n-th passing; see `Action`, the default is ``kill``
    SEALDROP_FAILPOINT_PASSED=FILE         count the passings of all processes together in this file

Without a file each process counts for itself, so that each dies at its n-th passing. With one there is a single n-th
passing, however many processes there are and however often they are started again; the file gets a line for each
passing of any place.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from enum import StrEnum
from threading import Lock

import structlog

VARIABLE = "SEALDROP_FAILPOINT"
PASSED_VARIABLE = "SEALDROP_FAILPOINT_PASSED"

POINTS: Mapping[str, str] = {
    # the door
    "publish.unsynced": "the client has closed its upload; no byte of it is durable",
    "publish.synced": "the bytes are durable, without a name in the drop",
    "publish.linked": "the file has two names, that of the part and that in the drop",
    "publish.named": "the file has its name in the drop, which is not durable",
    "publish.durable": "the file is in the drop for good; its client has no answer",
    "rename.linked": "a waiting file has its old and its new name",
    "rename.named": "a waiting file has its new name, which is not durable",
    # collect
    "collect.paired": "a manifest and its data file are complete; nothing is in the ledger",
    "collect.received": "the import is in the ledger; its files are in the drop",
    "take.folder_made": "the folder for the import's files is there, and empty",
    "take.moved": "a file is in that folder, which is not durable",
    "take.synced": "the file is there for good; that it left the drop is not durable",
    "take.durable": "one file of the import is taken",
    "collect.taken": "all files of the import are taken; no worker may have it yet",
    "collect.ready": "a worker may have the import; its client has no answer",
    # the worker, up to the first row
    "claim.leased": "the lease is written and not committed",
    "claim.committed": "the worker has the import",
    "manifest.read": "the manifest is read, and the sender not told that it was picked up",
    "first.taken": "an import of an account that skips duplicates has the place of its bytes; it is not committed",
    "first.committed": "no other import of the same bytes will be stored",
    "picked_up.enqueued": "the notice that it was picked up is written and not committed",
    "picked_up.committed": "the sender will be told that it was picked up",
    "key.unlocked": "the key pair is unlocked",
    # the pipeline
    "decrypt.chunk": "a chunk is decrypted",
    "decrypt.proven": "the whole message is read, and its integrity proven",
    "parse.chunk": "a chunk is parsed",
    "map.chunk": "the rows of a chunk are typed",
    # the lake
    "lake.folders_made": "the table has its folders",
    "lake.frame_written": "a row group of the data file is written",
    "lake.file_closed": "the data file is written; no byte of it is durable",
    "lake.file_synced": "the data file's bytes are durable, its name is not",
    "lake.file_durable": "the data file is durable; no entry of the log names it",
    "lake.table_made": "the table's first entry is written and not durable",
    "lake.columns_added": "an entry with new columns is written and not durable",
    "lake.entry_written": "an entry of the log is written, so its rows are there; it is not durable",
    "lake.entry_synced": "the entry's bytes are durable, its name is not",
    "lake.committed": "the rows are in the lake for good; the ledger does not know",
    "lake.checkpoint_written": "a checkpoint is written and not durable",
    "lake.checkpoint_synced": "its bytes are durable, its name is not",
    "lake.checkpoint_durable": "the checkpoint is there for good; log entries past their time still are",
    "load.stored": "the rows are in the lake; the ledger does not know their event names",
    "load.names_recorded": "the ledger knows the names of the events",
    # settle
    "settle.begun": "the verdict and its notices are written and not committed; no result is there",
    "result.written": "a result is written under a name that nobody sees; no byte of it is durable",
    "result.synced": "its bytes are durable",
    "result.moved": "the sender sees the result; its name is not durable",
    "settle.results_written": "all results are there for good; the verdict is not committed",
    "settle.committed": "the import is over; its cipher text is still there",
    "discard.begun": "one of its two files is removed",
    "discard.done": "both are removed; the service was not told that something was settled",
    # notices
    "notices.claimed": "the process has the notices that are due; none is sent",
    "notice.accepted": "the relay has taken a notice; the ledger does not know",
    "notice.marked": "the ledger knows that the notice was sent",
    "digest.folded": "notices are folded into a digest, which is not committed",
    "waiting.told": "the sender will be told of a file that waits; this process does not remember that it is",
    # recovery at the start
    "recovery.moved": "a torn file of a log is in the quarantine, which is not durable",
    "recovery.kept": "it is there for good; that it left the log is not durable",
    "recovery.set_aside": "one torn file is set aside; others may be there",
    "recovery.logs_read": "all logs end well; no import that the ledger has forgotten is back",
    "recovery.brought_back": "one such import is in the ledger again",
    "collect.withdrawn": "a manifest was gone before it was taken, and now all of it is; the ledger has the import",
    # imports by hand, replays, and another try
    "by_hand.written": "copies of the files are written where nobody looks; none is durable",
    "by_hand.kept": "the copies are durable; nothing is in the ledger",
    "by_hand.received": "the import is in the ledger; its files are where nobody looks",
    "given.moved": "its files are taken, which is not durable",
    "by_hand.taken": "its files are taken for good; no worker may have it yet",
    "by_hand.ready": "a worker may have the import; whoever asked for it was not told",
    "retry.written": "another try of an import is written and not committed",
    "retry.committed": "a worker may try the import again",
    # the sweeper
    "sweep.removed": "the files or results of some imports are removed, which is not durable",
    "sweep.synced": "they are gone for good; the ledger does not know",
    "sweep.remembered": "the ledger knows that they are gone",
    # compaction
    "compact.begun": "the journal says what will be replaced; nothing is made",
    "compact.indexed": "the index of the new run is durable; it has no rows yet",
    "compact.written": "all new files are durable; no entry of the log names them",
    "compact.linked": "the entry that puts them in the place of the old ones is in the log; its name is not durable",
    "compact.replaced": "it is; what was needed for sorting is still there",
    "compact.removing": "one of the files is removed that no entry names any more, or never will",
    "compact.removed": "all of a journal are gone for good; the journal is there",
}
"""Every place, with what is true when it is passed; in the order of facts."""

_log = structlog.get_logger()


class Action(StrEnum):
    """What happens at the n-th passing.

    ``kill``: the process dies as by SIGKILL. ``pause``: it stops as by SIGSTOP, with all its threads. ``eio`` and
    ``enospc``: the place raises what a broken or a full disk would, in the stead of what comes next.
    """

    KILL = "kill"
    PAUSE = "pause"
    EIO = "eio"
    ENOSPC = "enospc"


class FailpointInvalid(Exception):
    """`VARIABLE` names no place, or is not written as it should be; the text says which."""


class _Armed:
    def __init__(self, name: str, at: int, action: Action, passed: str | None) -> None:
        self._name = name
        self._at = at
        self._action = action
        self._file = None if passed is None else os.open(passed, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._count = 0
        self._lock = Lock()  # steps run in threads, and the position in the file belongs to all of them

    def passing(self, name: str) -> None:
        with self._lock:
            count = self._counted(name)
        if name == self._name and count == self._at:
            self._act()

    def _counted(self, name: str) -> int:
        if self._file is None:
            self._count += name == self._name
            return self._count
        os.write(self._file, f"{name}\n".encode())
        end = os.lseek(self._file, 0, os.SEEK_CUR)  # where this line ended, whatever others have written since
        return os.pread(self._file, end, 0).splitlines().count(name.encode())

    def _act(self) -> None:
        match self._action:
            case Action.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Action.PAUSE:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Action.EIO:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            case Action.ENOSPC:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


_armed: _Armed | None = None


def passing(name: str) -> None:
    """The process passes this place; nothing happens unless `arm` has switched a place on. Raises as `Action` says."""
    if _armed is not None:
        _armed.passing(name)


def arm(environment: Mapping[str, str]) -> None:
    """Switch on the place that `VARIABLE` names in this process, and say so loudly in the log; off without it.

    Raises `FailpointInvalid`: a test must not pass because its failpoint was misspelt.
    """
    global _armed
    wanted = environment.get(VARIABLE)
    if wanted is None:
        _armed = None
        return
    name, _, rest = wanted.partition(":")
    number, _, action = rest.partition(":")
    if name not in POINTS:
        raise FailpointInvalid(f"{VARIABLE}: there is no failpoint {name!r}")
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise FailpointInvalid(f"{VARIABLE}: write {name}:1 for its first passing, not {wanted!r}")
    if action not in ("", *Action):
        raise FailpointInvalid(f"{VARIABLE}: a failpoint can {', '.join(Action)}, not {action!r}")
    _armed = _Armed(name, int(number), Action(action or Action.KILL), environment.get(PASSED_VARIABLE))
    _log.critical("failpoint_armed", action="failpoint_armed", failpoint=wanted)

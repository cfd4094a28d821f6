"""What to do after a loss of power: set a torn end of a table's log aside, so that the table reads and takes imports.

Only the end of a log can be torn, since no entry is put on top of one that is not durable (`stores.table`). An entry is
torn when it is empty, does not parse, or names a data file that is missing or shorter than it says; the library itself
reads an *empty* last entry without a word, as a commit of nothing. The import of a torn entry runs again.

Torn entries and checkpoints are renamed into ``<account>/quarantine/``; nothing is deleted. Data files stay where they
are: no entry names them any more. A broken entry below a good one is not the work of a power loss: `StoreDamaged`.
"""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from failpoints import passing
from stores.durable import Sync, make_folders
from stores.errors import StoreDamaged
from stores.seam import PUBLIC_DAMAGED, damaged, unavailable

_ENTRY = re.compile(r"\d{20}\.json")


def recover_table(folder: Path, sync: Sync) -> list[str]:
    """Set aside the torn end of one table's log; returns one line for each file, oldest last.

    Safe to repeat. Raises `StoreDamaged` when the table cannot be read even so, and `StoreUnavailable` when the disk
    refuses.
    """
    with unavailable("look for a torn log"):
        lines = _checkpoints(folder, sync)
        entries = sorted(path for path in (folder / "_delta_log").iterdir() if _ENTRY.fullmatch(path.name))
        while entries and (torn := _torn(entries[-1], folder)):
            lines.append(_set_aside(entries.pop(), folder, torn, sync))
        for entry in entries[:-1]:
            if _actions(entry) is None:
                raise StoreDamaged(
                    PUBLIC_DAMAGED, detail=f"{_named(entry, folder)}: broken, with good entries above it"
                )
    with damaged(f"read {folder.parent.name}/{folder.name}"):
        try:
            DeltaTable(folder)
        except TableNotFoundError:  # its only entry was torn
            if entries:
                raise
    return lines


def _checkpoints(folder: Path, sync: Sync) -> list[str]:
    """Set torn checkpoints aside: what they sum up is still in the entries below, dropped only after a sync."""
    log = folder / "_delta_log"
    torn = [checkpoint for checkpoint in sorted(log.glob("*.checkpoint*.parquet")) if _is_torn(checkpoint)]
    hint = log / "_last_checkpoint"
    lines = []
    # before the checkpoints: once those are gone nothing would tell that it names one of them
    if hint.exists() and (torn or _actions(hint) is None):
        lines.append(_set_aside(hint, folder, "names a torn checkpoint, or is torn", sync))
    return lines + [_set_aside(checkpoint, folder, "torn checkpoint", sync) for checkpoint in torn]


def _is_torn(checkpoint: Path) -> bool:
    try:
        pq.read_metadata(checkpoint)
    except pa.ArrowInvalid:
        return True
    return False


def _torn(entry: Path, folder: Path) -> str | None:
    """Why the last entry of a log cannot stay, ``None`` when it is good."""
    actions = _actions(entry)
    if actions is None:
        return "torn"
    for action in actions:
        if (add := action.get("add")) is None or "://" in add["path"]:
            continue
        file = folder / unquote(add["path"])
        if not file.is_file():
            return "names a data file that is missing"
        if file.stat().st_size < add["size"]:
            return "names a data file that is cut short"
    return None


def _actions(entry: Path) -> list[dict[str, Any]] | None:
    """The lines of an entry, ``None`` when it is empty or does not parse."""
    try:
        actions = [json.loads(line) for line in entry.read_bytes().splitlines() if line.strip()]
    except ValueError:
        return None
    return actions if actions and all(isinstance(action, dict) for action in actions) else None


def _set_aside(path: Path, folder: Path, why: str, sync: Sync) -> str:
    quarantine = folder.parent / "quarantine"
    make_folders(quarantine, below=folder.parent, sync=sync)
    # the next import writes an entry of the same name, which may be torn in its turn
    path.rename(quarantine / f"{folder.name}-{secrets.token_hex(4)}-{path.name}")
    passing("recovery.moved")
    sync(quarantine)  # first, so that at no moment a loss of power takes it from both
    passing("recovery.kept")
    sync(path.parent)
    passing("recovery.set_aside")
    return f"{_named(path, folder)}: {why}"


def _named(path: Path, folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}/{path.name}"

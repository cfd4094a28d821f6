"""From the path that a client names to a place in its drop: pure string work, no look at the disk.

There are two folders, ``/`` and ``/results``, and no others. Everything that is not a folder or an allowed name in
one of the two is refused here, so that the code behind never sees a separator, a dot path or a control character
(FAULTS.md S10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asyncssh import SFTPInvalidFilename

from ingest.spool import is_allowed_name, is_result_name
from manifests.names import FILE_NAME_RULE

RESULTS = "results"

FLAT = "The drop has no folders other than /results: upload to / itself, without a folder in the path."
BAD_NAME = f"This file name is not allowed: {FILE_NAME_RULE}. Rename the file and send it again."


@dataclass(frozen=True, slots=True)
class Folder:
    """``/`` or ``/results``."""

    results: bool

    def __str__(self) -> str:
        return f"/{RESULTS}" if self.results else "/"


@dataclass(frozen=True, slots=True)
class File:
    """A name in the drop or in its results; whether there is such a file is not known yet."""

    folder: Literal["drop", "results"]
    name: str

    def __str__(self) -> str:
        return f"/{self.name}" if self.folder == "drop" else f"/{RESULTS}/{self.name}"


def place_of(path: bytes) -> Folder | File:
    """The place that ``path`` names, absolute or relative to ``/``.

    Raises ``SFTPInvalidFilename`` for a name that is not allowed, for a folder that there is not, and for ``..`` in
    anything but the path of a folder (clients send ``/results/..`` for ``cd ..``).
    """
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        raise SFTPInvalidFilename(BAD_NAME) from None
    parts: list[str] = []
    climbed = False
    for part in text.split("/"):
        if part == "..":
            climbed = True
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    match parts:
        case []:
            return Folder(results=False)
        case ["results"]:
            return Folder(results=True)
        case ["results", name] if not climbed and is_result_name(name):
            return File("results", name)
        case [name] if not climbed and is_allowed_name(name):
            return File("drop", name)
        case [_] | ["results", _]:
            raise SFTPInvalidFilename(BAD_NAME)
        case _:
            raise SFTPInvalidFilename(FLAT)

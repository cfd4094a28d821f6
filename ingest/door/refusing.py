"""Which of the library's hooks the door opens, and the refusal of all others (STYLE.md 1.7).

The library's own hooks act on the whole file system of this machine. `ALLOWED`, `DENIED` and `HELPERS` together name
every public hook of the installed class; a test compares them, so that a hook which an upgrade brings fails that test
rather than opening a door.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import asyncssh
from asyncssh import SFTPPermissionDenied

from ingest.door.paths import FLAT

ALLOWED = frozenset(
    {"open", "close", "read", "write", "fsync", "fstat", "fsetstat"}  # open files
    | {"stat", "lstat", "setstat", "scandir", "realpath", "remove", "rename", "posix_rename"}  # names
    | {"exit"}
)
DENIED = frozenset(
    {"mkdir", "rmdir", "symlink", "link", "readlink", "lsetstat", "lock", "unlock", "statvfs", "fstatvfs"}
    | {"open56"}  # `open` of later protocol versions, which are not spoken here
    | {"map_path", "reverse_map_path"}  # the library's way from a client's path to one of this machine
)
# hooks that touch no file: what they tell is replaced where it would tell about this machine
HELPERS = frozenset(
    {"channel", "connection", "env", "logger", "convert_attrs", "format_user", "format_group", "format_longname"}
)

_NOT_OFFERED = "This server does not offer that operation. put, get, ls, rename and rm work."
_NO_LINKS = "The drop holds plain files only: upload the file itself in place of a link."


def _refused(text: str) -> Callable[..., NoReturn]:
    """A hook that answers ``text`` to whatever it is asked."""

    def hook(*_: object) -> NoReturn:
        raise SFTPPermissionDenied(text)

    return hook


class RefusingServer(asyncssh.SFTPServer):
    """Refuses all of `DENIED`; a subclass answers all of `ALLOWED`, which have no default of ours."""

    mkdir = rmdir = _refused(FLAT)
    symlink = link = readlink = _refused(_NO_LINKS)
    lsetstat = lock = unlock = statvfs = fstatvfs = open56 = map_path = reverse_map_path = _refused(_NOT_OFFERED)

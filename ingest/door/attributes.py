"""What the door tells of files and folders as SFTP attributes (draft-ietf-secsh-filexfer-02 §5)."""

from __future__ import annotations

import stat

from asyncssh import SFTPAttrs, SFTPPermissionDenied

from ingest.door.account_drop import Seen


def file_attributes(facts: Seen) -> SFTPAttrs:
    """Size and times, and a mode that says whether the client may write."""
    mode = stat.S_IFREG | (0o600 if facts.writable else 0o400)
    return SFTPAttrs(size=facts.size, permissions=mode, atime=facts.modified, mtime=facts.modified, nlink=1)


def folder_attributes(*, writable: bool) -> SFTPAttrs:
    """A folder, of no size and no time."""
    return SFTPAttrs(permissions=stat.S_IFDIR | (0o700 if writable else 0o500), nlink=1)


def check_size(attrs: SFTPAttrs, size: int | None) -> None:
    """Raises ``SFTPPermissionDenied`` when a client asks for another size than the file has (FAULTS.md S11)."""
    if attrs.size is not None and attrs.size != size:
        raise SFTPPermissionDenied("The size of a file cannot be set: send the whole file again.")

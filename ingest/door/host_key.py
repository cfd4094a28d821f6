"""The server's host key: made once, private to its owner, never replaced without being asked (FAULTS.md S21).

A door that made a new key by itself would look like an attacker to every client that knows the old one.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from ingest.door.errors import HostKeyExists, HostKeyExposed, HostKeyMissing, HostKeyUnusable
from ingest.spool import fsync_folder

_MAX_BYTES = 65_536
_SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class HostKey:
    """What clients may know of a host key: ``SHA256:...`` and the line ``ssh-ed25519 AAAA...``."""

    fingerprint: str
    public_line: str

    def known_hosts_line(self, host: str, port: int) -> str:
        """The line for a client's ``known_hosts``, without a newline; a port other than 22 puts brackets around."""
        place = host if port == _SSH_PORT else f"[{host}]:{port}"
        return f"{place} {self.public_line}"


def make_host_key(path: Path) -> None:
    """Write a new Ed25519 key to ``path``, mode 0600, durably.

    Raises `HostKeyExists` when the file is there, `HostKeyUnusable` when it cannot be written.
    """
    content = asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh")
    # written beside and then linked: a crash leaves no half key, and link refuses to overwrite
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(draft)
        finally:
            draft.unlink(missing_ok=True)
        fsync_folder(path.parent)
    except FileExistsError:
        raise HostKeyExists(f"{path}: a host key is there already; it was left as it is.") from None
    except OSError as error:
        raise HostKeyUnusable(f"{path}: the host key cannot be written: {error.strerror}.") from None


def load_host_key(path: Path) -> asyncssh.SSHKey:
    """The private host key in ``path``.

    Raises `HostKeyMissing`, `HostKeyExposed` when group or others have any access, `HostKeyUnusable` when the file
    cannot be read, or holds no private key without a passphrase.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise HostKeyMissing(
            f"{path}: there is no host key. `sealdrop init` makes one; restore the old one from a backup "
            "if clients know it already."
        ) from None
    except OSError as error:
        raise HostKeyUnusable(f"{path}: the host key cannot be read: {error.strerror}.") from None
    try:
        content = _read_private(path, descriptor)
    finally:
        os.close(descriptor)
    try:
        return asyncssh.import_private_key(content)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        raise HostKeyUnusable(
            f"{path}: this is no usable private SSH key without a passphrase. Restore it from a backup.",
            detail=type(error).__name__,
        ) from None


def describe_host_key(path: Path) -> HostKey:
    """The public half of the key in ``path``; raises as `load_host_key`."""
    key = load_host_key(path)
    algorithm, encoded = key.export_public_key("openssh").decode("ascii").split()[:2]
    return HostKey(fingerprint=key.get_fingerprint("sha256"), public_line=f"{algorithm} {encoded}")


def _read_private(path: Path, descriptor: int) -> bytes:
    """The content of an open key file, after a look at who else may read it."""
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        raise HostKeyUnusable(f"{path}: the host key is not a regular file.")
    if facts.st_mode & 0o077:
        raise HostKeyExposed(
            f"{path}: others may read or change the host key (mode {stat.S_IMODE(facts.st_mode):04o}). "
            f"Run `chmod 600 {path}`; if others may have read it, make a new key and tell the clients."
        )
    try:
        return os.read(descriptor, _MAX_BYTES)
    except OSError as error:
        raise HostKeyUnusable(f"{path}: the host key cannot be read: {error.strerror}.") from None

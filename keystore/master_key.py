"""The master key: 32 random bytes, written as 64 hexadecimal digits, that seal everything in the vault.

Sources, in this order (FAULTS.md K2): the systemd credential ``master-key``, a file that only its owner can read,
and, only when the settings allow it, the environment. It is never made anew when one is missing or wrong: that would
turn a mistake into a loss. During a rotation the next key lies in a file beside the first one, ``master.key.next``
(docs/adr/0011).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keystore.errors import MasterKeyMissing
from keystore.secret import Secret

MASTER_KEY_BYTES = 32
CREDENTIAL_NAME = "master-key"
ENVIRONMENT_NAME = "SEALDROP_MASTER_KEY"

SourceKind = Literal["credential", "file", "next file", "environment"]


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A master key, and where it was found: the kind of source, and its place in words."""

    secret: Secret
    kind: SourceKind
    place: str

    @property
    def id(self) -> str:
        """The key's public ID."""
        return master_key_id(self.secret)


def master_key_id(key: Secret) -> str:
    """The public ID of a master key, 16 hexadecimal digits: it tells keys apart, and nothing about the key."""
    return hashlib.sha256(b"sealdrop master key id" + key.expose()).digest()[:8].hex()


def next_key_file(path: Path) -> Path:
    """Where the next key lies while the key in ``path`` is rotated; beside the real file when that is a link."""
    return _beside(path, "next")


def old_key_file(path: Path, key_id: str) -> Path:
    """Where the old key of this ID lies once another has taken its place in ``path``."""
    return _beside(path, f"old-{key_id}")


def make_master_key(path: Path) -> None:
    """Write a new master key to ``path``, as `write_master_key` does."""
    write_master_key(path, Secret(secrets.token_bytes(MASTER_KEY_BYTES)))


def write_master_key(path: Path, key: Secret) -> None:
    """Write a master key to ``path`` (mode 0600), whole or not at all, and durably.

    Raises ``FileExistsError`` rather than replace one.
    """
    clear_up(path)
    part = _beside(path, "part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.expose().hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(part, path)
    finally:
        part.unlink()
    _sync_folder(path.parent)


def clear_up(path: Path) -> None:
    """Remove what a `write_master_key` to ``path`` left that was killed: a key that is not in use, or a second name."""
    _beside(path, "part").unlink(missing_ok=True)


def put_next_in_place(path: Path, *, old_id: str, new_id: str) -> None:
    """Make the key in `next_key_file` the one in ``path``, and keep the old one in `old_key_file`.

    Safe to repeat; at every step both keys lie in files, durably, and ``path`` holds one of them. Raises
    `MasterKeyMissing` when a file holds another key than it should; then nothing was replaced.
    """
    real, following, old = path.resolve(), next_key_file(path), old_key_file(path, old_id)
    with suppress(FileExistsError):  # of a try before this one
        os.link(real, old)
    _sync_folder(real.parent)
    for file, key_id in ((old, old_id), (following, new_id)):
        found = read_master_key(file, "file")
        if found is None or found.id != key_id:
            raise MasterKeyMissing(f"{file} does not hold the master key with the ID {key_id}; nothing was replaced.")
    following.replace(real)
    clear_up(following)
    _sync_folder(real.parent)


def find_master_key(path: Path, *, allow_environment: bool) -> MasterKey | None:
    """The master key from the first source that has one; ``None`` when there is none.

    One from the environment is wiped out there, so it is found once in a process. Raises `MasterKeyMissing` when the
    source can be read by others or holds no key.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials is not None and (Path(credentials) / CREDENTIAL_NAME).is_file():
        place = f"the systemd credential {CREDENTIAL_NAME}"
        return MasterKey(_parsed((Path(credentials) / CREDENTIAL_NAME).read_bytes(), place), "credential", place)
    if (found := read_master_key(path, "file")) is not None:
        return found
    if allow_environment and (value := _wiped_from_environment(ENVIRONMENT_NAME)) is not None:
        place = f"the environment variable {ENVIRONMENT_NAME}"
        return MasterKey(_parsed(value, place), "environment", place)
    return None


def read_master_key(path: Path, kind: SourceKind) -> MasterKey | None:
    """The master key in a file; ``None`` when there is no such file.

    Raises `MasterKeyMissing` when the file can be read by others or holds no key, ``OSError`` when we cannot read it.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise MasterKeyMissing(
                f"The master key file {path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`."
            )
        place = f"the file {path}"
        return MasterKey(_parsed(file.read(4 * MASTER_KEY_BYTES), place), kind, place)


def _parsed(digits: bytes, place: str) -> Secret:
    try:
        key = bytes.fromhex(digits.strip().decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise MasterKeyMissing(f"{place} does not hold a master key: {2 * MASTER_KEY_BYTES} hexadecimal digits.")
    return Secret(key)


def _wiped_from_environment(name: str) -> bytes | None:
    """Take a variable out of the environment, and overwrite its value where /proc/PID/environ shows it."""
    getenv = ctypes.CDLL(None).getenv
    getenv.argtypes, getenv.restype = [ctypes.c_char_p], ctypes.c_void_p
    place = getenv(name.encode())
    if place is None:
        return None
    value = ctypes.string_at(place)
    ctypes.memset(place, ord("x"), len(value))
    os.environ.pop(name, None)
    return value


def _beside(path: Path, suffix: str) -> Path:
    real = path.resolve()
    return real.with_name(f"{real.name}.{suffix}")


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""The master key: 32 random bytes, written as 64 hexadecimal digits, that seal everything in the vault.

Sources, in this order (FAULTS.md K2): the systemd credential ``master-key``, a file that only its owner can read,
and, only when the settings allow it, the environment. It is never made anew when one is missing or wrong: that would
turn a mistake into a loss.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from keystore.errors import MasterKeyMissing
from keystore.secret import Secret

MASTER_KEY_BYTES = 32
CREDENTIAL_NAME = "master-key"
ENVIRONMENT_NAME = "SEALDROP_MASTER_KEY"


def make_master_key(path: Path) -> None:
    """Write a new master key to ``path`` (mode 0600), durably. Raises ``FileExistsError`` rather than replace one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(MASTER_KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load_master_key(path: Path, *, allow_environment: bool) -> Secret:
    """The master key from the first source that has one.

    Raises `MasterKeyMissing` when no source has one, when the file can be read by others, or when it holds no key.
    """
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if credentials is not None and (Path(credentials) / CREDENTIAL_NAME).is_file():
        return _parse((Path(credentials) / CREDENTIAL_NAME).read_text(), f"the systemd credential {CREDENTIAL_NAME}")
    if path.is_file():
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise MasterKeyMissing(
                f"The master key file {path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`."
            )
        return _parse(path.read_text(), f"the file {path}")
    if allow_environment and (value := os.environ.pop(ENVIRONMENT_NAME, None)) is not None:
        return _parse(value, f"the environment variable {ENVIRONMENT_NAME}")
    raise MasterKeyMissing(
        f"There is no master key: no systemd credential {CREDENTIAL_NAME} and no file {path}. "
        "`sealdrop init` makes one for a new installation; for an existing one, put back the key that it was made with."
    )


def _parse(text: str, source: str) -> Secret:
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise MasterKeyMissing(f"{source} does not hold a master key: {2 * MASTER_KEY_BYTES} hexadecimal digits.")
    return Secret(key)

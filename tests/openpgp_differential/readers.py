"""The three readers: ours, gpg and Sequoia. Each gives the plain text, or nothing when it refuses the message."""

from __future__ import annotations

import io
import subprocess

import pysequoia

from keystore.errors import KeystoreError
from keystore.openpgp import decrypt
from keystore.pgp_keys import PrivateKey
from keystore.secret import Secret
from tests.openpgp.sender import PASSPHRASE, Gpg

KINDS = {"rsa": ("rsa3072", "rsa3072"), "cv": ("ed25519", "cv25519"), "nist": ("nistp256", "nistp256")}
NAMES = ("native", "gpg", "sequoia")

Verdicts = tuple[bytes | None, bytes | None, bytes | None]


class Readers:
    """All three with the same pairs: one of each kind in gpg's home, and one of version 6 that gpg has not."""

    def __init__(self, gpg: Gpg) -> None:
        self._gpg = gpg
        secret_keys = {kind: gpg.secret_key(kind) for kind in KINDS}
        passphrase = Secret(PASSPHRASE.encode())
        self.tsks = {kind: pysequoia.Tsk.from_bytes(key) for kind, key in secret_keys.items()}
        self._keys = {kind: PrivateKey.unlock(kind, Secret(key), passphrase) for kind, key in secret_keys.items()}
        # no gpg makes these, and none reads what is sent to them
        self.tsks["v6"] = pysequoia.Tsk.generate("v6", profile=pysequoia.Profile.RFC9580)
        self._keys["v6"] = PrivateKey.unlock("v6", Secret(bytes(self.tsks["v6"])), None)

    def verdicts(self, kind: str, message: bytes) -> Verdicts:
        """What each makes of a message to the pair of this kind, in the order of `NAMES`."""
        return self._native(kind, message), self._by_gpg(message), self._by_sequoia(kind, message)

    def key(self, kind: str) -> PrivateKey:
        """The pair of this kind, as we hold it."""
        return self._keys[kind]

    def decryptor(self, kind: str) -> pysequoia.PyDecryptor:
        """A new one each time: one that met a cut message cannot be used again."""
        return self.tsks[kind].decryptor(None if kind == "v6" else PASSPHRASE)

    def _native(self, kind: str, message: bytes) -> bytes | None:
        try:
            return b"".join(decrypt(io.BytesIO(message), [self._keys[kind]], engine="native"))
        except KeystoreError:
            return None

    def _by_gpg(self, message: bytes) -> bytes | None:
        """gpg alone, judged by its exit code, and by its own word that something was decrypted with integrity."""
        unlock = ["--pinentry-mode", "loopback", "--passphrase", PASSPHRASE]
        quiet = ["--batch", "--no-tty", "--skip-verify", "--no-auto-key-locate", "--status-fd", "2"]
        done = subprocess.run(
            ["gpg", "--homedir", str(self._gpg.home), *quiet, *unlock, "--decrypt"],
            input=message,
            capture_output=True,
            check=False,
        )
        return done.stdout if done.returncode == 0 and b"] GOODMDC" in done.stderr else None

    def _by_sequoia(self, kind: str, message: bytes) -> bytes | None:
        try:
            return pysequoia.decrypt(bytes=message, decryptor=self.decryptor(kind)).bytes
        except BaseException as error:
            # Exception itself for all that Sequoia refuses, but a panic in Rust for messages cut near their start
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                return None
            raise

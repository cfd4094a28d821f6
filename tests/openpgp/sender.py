"""A sender with a real gpg in a home of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

PASSPHRASE = "pässword with spaces"
KINDS = {"rsa": ("rsa3072", "rsa3072"), "cv": ("ed25519", "cv25519"), "nist": ("nistp256", "nistp384")}


class Gpg:
    """gpg on PATH; a failing command fails the test with gpg's own words."""

    def __init__(self) -> None:
        # not pytest's folder: the path of the agent's socket must stay short
        self.home = Path(tempfile.mkdtemp(prefix="sender-"))
        (self.home / "gpg-agent.conf").write_text("s2k-count 65536\n")

    def run(self, *arguments: str, stdin: bytes | None = None, ok: tuple[int, ...] = (0,)) -> bytes:
        common = ["--batch", "--no-tty", "--yes", "--trust-model", "always", "--no-auto-key-locate"]
        loopback = ["--pinentry-mode", "loopback", "--passphrase", PASSPHRASE]
        done = subprocess.run(
            ["gpg", "--homedir", str(self.home), *common, *loopback, *arguments],
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert done.returncode in ok, done.stderr.decode(errors="replace")
        return done.stdout

    def make_key(self, user_id: str, primary: str, subkey: str = "", *, expires: str = "never") -> str:
        self.run("--quick-gen-key", user_id, primary, "default", expires)
        fingerprint = self.fingerprint(user_id)
        if subkey:
            self.run("--quick-add-key", fingerprint, subkey, "encr", expires)
        return fingerprint

    def fingerprint(self, user_id: str) -> str:
        lines = self.run("--list-keys", "--with-colons", f"={user_id}").decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr"))

    def secret_key(self, user_id: str) -> bytes:
        return self.run("--armor", "--export-secret-keys", f"={user_id}")

    def encrypt(self, user_id: str, plain: bytes, *options: str) -> bytes:
        return self.run(*options, "--recipient", f"={user_id}", "--encrypt", stdin=plain)

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=True)
        # an agent that is ending takes its sockets away at the same time
        shutil.rmtree(self.home, ignore_errors=True)

"""A customer with an account, an SSH key and a PGP pair made by the real gpg, who uploads with the real sftp."""

from __future__ import annotations

import asyncio
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest.demo.sender import Gpg, Uploader
from tests.support.served import Instance

PASSPHRASE = b"canary-passphrase \xc3\xa9\xe2\x82\xac"


@dataclass(frozen=True)
class PgpPair:
    """A pair that gpg made: the armored private key, and the user ID that gpg encrypts to."""

    private_key: Path
    user_id: str


class GpgHome:
    """One gpg home for a test session: its agent is ended at the end."""

    def __init__(self, folder: Path) -> None:
        self.gpg = Gpg(folder / "gpg")
        self._folder = folder

    def pair(self, name: str, algorithm: str) -> PgpPair:
        user_id = f"{name}@example.com"
        private_key = asyncio.run(self.gpg.make_pair(user_id, PASSPHRASE, algorithm=algorithm))
        file = self._folder / f"{name}.private.asc"
        file.write_bytes(private_key)
        return PgpPair(file, user_id)

    def encrypt(self, file: Path, pair: PgpPair, *options: str) -> Path:
        return asyncio.run(self.gpg.encrypt(file, pair.user_id, *options))

    def decrypted(self, message: bytes) -> bytes:
        return asyncio.run(self.gpg.decrypt(message, PASSPHRASE))

    def close(self) -> None:
        asyncio.run(self.gpg.close())


class Customer:
    """An account of a served installation, and its customer's folder."""

    def __init__(self, instance: Instance, name: str, folder: Path, gpg: GpgHome, pair: PgpPair) -> None:
        self.instance = instance
        self.name = name
        self.email = f"data@{name}.example"
        self.folder = folder
        self.gpg = gpg
        self.pair = pair
        folder.mkdir(parents=True)
        public_key = Uploader.make_key(folder)
        instance.run("account", "add", name, "--ssh-key", public_key, "--contact", self.email)
        passphrase = folder / "passphrase"
        passphrase.write_bytes(PASSPHRASE + b"\n")
        imported = instance.json("key", "import", name, pair.private_key, "--passphrase-file", passphrase)
        self.key_id: str = imported["key_id"]

    def uploader(self) -> Uploader:
        known_hosts = subprocess.run(
            ["ssh-keygen", "-y", "-f", self.instance.folder / "ssh_host_ed25519_key"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        line = f"[127.0.0.1]:{self.instance.port} {known_hosts.strip()}"
        return Uploader(self.folder, self.name, "127.0.0.1", self.instance.port, line)

    def write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content)
        return path

    def manifest(self, name: str, **keys: Any) -> Path:
        """A JSON manifest with the customer's address and key ID unless other ones are given."""
        content = {"clientEmail": self.email, "keyId": self.key_id, **keys}
        return self.write(name, json.dumps(content, indent=2))

    def encrypted(self, name: str, content: str, *options: str) -> Path:
        """A file that gpg encrypted to the customer's pair, armored."""
        return self.gpg.encrypt(self.write(name, content), self.pair, *options)

    def put(self, *files: Path) -> None:
        asyncio.run(self.uploader().put(*files))

    def sftp(self, *commands: str) -> str:
        return asyncio.run(self.uploader().sftp(*commands))

    def get(self, name: str) -> bytes:
        target = self.folder / "downloaded"
        asyncio.run(self.uploader().get(name, target))
        return target.read_bytes()

    def results(self) -> list[str]:
        """The names in results/, by name."""
        lines = self.sftp("ls -1 results").splitlines()
        return sorted(line.removeprefix("results/") for line in lines if line and not line.startswith("sftp>"))

    def decrypted(self, message: bytes) -> bytes:
        """What gpg makes of a message, with the customer's own key."""
        return self.gpg.decrypted(message)

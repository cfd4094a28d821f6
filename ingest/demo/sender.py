"""A customer: makes keys, encrypts files and uploads them, with the real gpg and sftp where they are installed."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import asyncssh

from keystore.pgp_encrypt import encrypt_to


class SenderFailed(Exception):
    """A program of the customer's failed; the text is what it said."""


async def run_program(*command: str | Path, stdin: bytes = b"") -> bytes:
    """What the program wrote to standard output. Raises `SenderFailed` with what it said when it failed."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin)
    if process.returncode != 0:
        raise SenderFailed(
            f"{command[0]} ended with {process.returncode}: {(err or out).decode(errors='replace').strip()}"
        )
    return out


class Gpg:
    """The customer's gpg, with a home of its own; `close` it, or its agent stays behind."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700, parents=True, exist_ok=True)

    @staticmethod
    def is_installed() -> bool:
        """Whether there is a gpg."""
        return shutil.which("gpg") is not None

    async def make_pair(self, user_id: str, passphrase: bytes, *, algorithm: str = "rsa3072") -> bytes:
        """Make a pair as the guide for customers says, and return the armored private key."""
        unlock = ("--pinentry-mode", "loopback", "--passphrase-fd", "0")
        if algorithm == "rsa3072":
            parameters = "Key-Type: RSA\nKey-Length: 3072\nSubkey-Type: RSA\nSubkey-Length: 3072\n"
        else:
            parameters = (
                "Key-Type: EDDSA\nKey-Curve: Ed25519\nKey-Usage: sign\nSubkey-Type: ECDH\nSubkey-Curve: Curve25519\n"
            )
        parameters += f"Subkey-Usage: encrypt\nName-Email: {user_id}\nExpire-Date: 0\n%commit\n"
        batch = self.home / "make-pair"
        batch.write_text(parameters)
        await self._run(*unlock, "--full-generate-key", batch, stdin=passphrase)
        return await self._run(*unlock, "--armor", "--export-secret-keys", user_id, stdin=passphrase)

    async def import_public(self, public_key: bytes) -> None:
        """Put somebody's public key into this home."""
        await self._run("--import", stdin=public_key)

    async def encrypt(self, file: Path, recipient: str, *options: str) -> Path:
        """``gpg --encrypt --armor -r recipient file``; the new file has ``.asc`` appended."""
        target = file.with_name(file.name + ".asc")
        target.unlink(missing_ok=True)
        await self._run(
            "--trust-model", "always", *options, "--encrypt", "--armor", "-r", recipient, "-o", target, file
        )
        return target

    async def decrypt(self, message: bytes, passphrase: bytes) -> bytes:
        """The plain text of a message to one of the pairs of this home. Raises `SenderFailed`."""
        file = self.home / "message"
        file.write_bytes(message)
        unlock = ("--pinentry-mode", "loopback", "--passphrase-fd", "0")
        return await self._run(*unlock, "--decrypt", file, stdin=passphrase)

    async def close(self) -> None:
        """End the agent of this home."""
        if shutil.which("gpgconf") is not None:
            await run_program("gpgconf", "--homedir", self.home, "--kill", "all")

    async def _run(self, *arguments: str | Path, stdin: bytes = b"") -> bytes:
        quiet = ("--batch", "--yes", "--quiet", "--no-tty", "--no-auto-key-locate", "--disable-dirmngr")
        return await run_program("gpg", "--homedir", self.home, *quiet, *arguments, stdin=stdin)


def encrypt_without_gpg(file: Path, public_key: bytes) -> Path:
    """The same as `Gpg.encrypt`, for machines without gpg."""
    target = file.with_name(file.name + ".asc")
    target.write_bytes(encrypt_to(public_key, file.read_bytes()))
    return target


class Uploader:
    """The customer's SFTP client: OpenSSH's when it is installed, else asyncssh."""

    def __init__(self, folder: Path, account: str, host: str, port: int, known_hosts: str) -> None:
        self._account = account
        self._host = host
        self._port = port
        self._key = folder / "id_ed25519"
        self._known_hosts = folder / "known_hosts"
        self._known_hosts.write_text(known_hosts + "\n")

    @staticmethod
    def has_openssh() -> bool:
        """Whether there is an sftp client."""
        return shutil.which("sftp") is not None

    @staticmethod
    def make_key(folder: Path) -> Path:
        """Make the customer's SSH key, and return the public one's file."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(folder / "id_ed25519")
        (folder / "id_ed25519").chmod(0o600)
        key.write_public_key(folder / "id_ed25519.pub")
        return folder / "id_ed25519.pub"

    async def put(self, *files: Path) -> None:
        """Upload the files in this order, in one session. Raises `SenderFailed`."""
        if self.has_openssh():
            await self.sftp(*(f'put "{file}"' for file in files))
            return
        async with self._connect() as connection, connection.start_sftp_client() as client:
            for file in files:
                await client.put(str(file), file.name)

    async def get(self, name: str, target: Path) -> None:
        """Download a file. Raises `SenderFailed`."""
        if self.has_openssh():
            await self.sftp(f'get "{name}" "{target}"')
            return
        async with self._connect() as connection, connection.start_sftp_client() as client:
            await client.get(name, str(target))

    async def sftp(self, *commands: str) -> str:
        """Run commands in one session of the OpenSSH client, and return what it printed."""
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self._known_hosts,
        }
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        batch = "\n".join(commands) + "\n"
        target = f"{self._account}@{self._host}"
        flags += ["-F", "/dev/null", "-q", "-b", "-", "-i", str(self._key), "-P", str(self._port)]
        return (await run_program("sftp", *flags, target, stdin=batch.encode())).decode()

    def _connect(self) -> AbstractAsyncContextManager[asyncssh.SSHClientConnection]:
        return asyncssh.connect(
            self._host,
            self._port,
            username=self._account,
            client_keys=[str(self._key)],
            known_hosts=str(self._known_hosts),
            config=None,
        )

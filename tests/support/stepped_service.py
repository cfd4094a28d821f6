"""The real service, with all its parts and an HTTP API, run by a clock that the test sets; an SMTP server beside it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import asyncssh
import httpx
import psutil
from aiosmtpd.smtp import SMTP, Envelope, Session

from ingest.app import App
from ingest.cli.ssh_keys import keys_in
from ingest.custody import make_pair
from ingest.demo.mailbox import Mailbox
from ingest.installation import Choices, initialise
from ingest.ledger.api_access import Credential
from ingest.ledger.timeline import What
from ingest.report import Report
from keystore.passcode import make_passcode, verifier_of
from keystore.pgp_encrypt import encrypt_to
from tests.support.served import SEALDROP
from tests.support.soon import soon
from tests.support.stepped_clock import SteppedClock

ACCOUNT, EMAIL = "acme", "data@acme.example"


class Greylisting(Mailbox):
    """Takes a mail, or says «later»."""

    later = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        return "451 later" if self.later else await super().handle_DATA(server, session, envelope)


class SteppedService:
    """An installation with one account; made by the right clock, then run by ``clock``."""

    def __init__(self, folder: Path, mailbox: Greylisting, **environment: str) -> None:
        folder.mkdir(exist_ok=True)
        self.clock = SteppedClock(folder)
        self.mailbox = mailbox
        self.folder = folder / "installation"
        self._log = folder / "log"
        shims = " ".join(each for each in (environment.get("LD_PRELOAD"), self.clock.environment["LD_PRELOAD"]) if each)
        self._environment = {**environment, **self.clock.environment, "LD_PRELOAD": shims}
        self._process: subprocess.Popen[bytes] | None = None
        self.app = App(initialise(self.folder, Choices("127.0.0.1", 0, "127.0.0.1", mailbox.port, "none")))
        self._ssh_key = folder / "key"
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(self._ssh_key)
        key.write_public_key(folder / "key.pub")
        ssh_keys, now = keys_in(folder / "key.pub"), self.app.now()
        self.app.accounts.add(ACCOUNT, now=now, actor="test", contact_addresses=[EMAIL], ssh_public_keys=ssh_keys)
        self.app.spool.open_account(ACCOUNT)
        self._pair = make_pair(self.app, ACCOUNT, "cv25519", actor="test")
        self._passcode = make_passcode()
        credential = Credential(
            self._passcode.credential_id, ACCOUNT, ("upload", "events:read"), verifier_of(self._passcode.text), now
        )
        self.app.api_accesses.add_credential(credential, actor="test")

    async def start(self) -> None:
        """Serve, and wait until the door is open."""
        opened = len(self.records("door_open"))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  # it returns at once
                [str(SEALDROP), "--config", str(self.folder / "sealdrop.toml"), "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
            )
        await soon(lambda: len(self.records("door_open")) > opened)

    async def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            await soon(lambda: self._process is None or self._process.poll() is not None)

    async def close(self) -> None:
        await self.stop()
        self.app.close()

    def records(self, action: str) -> list[dict[str, Any]]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [json.loads(line) for line in lines if f'"action": "{action}"' in line]

    def encrypted(self, plain: str) -> bytes:
        return encrypt_to(self._pair.public_key, plain.encode())

    @contextlib.asynccontextmanager
    async def sftp(self) -> AsyncIterator[asyncssh.SFTPClient]:
        port = self.records("door_open")[-1]["port"]
        async with (
            asyncssh.connect(
                "127.0.0.1",
                port,
                username=ACCOUNT,
                client_keys=[str(self._ssh_key)],
                known_hosts=None,
                config=None,
                agent_path=None,
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):
            yield sftp

    async def put(self, name: str, content: bytes) -> None:
        async with self.sftp() as sftp, sftp.open(name, "wb") as file:
            await file.write(content)

    def manifest(self, data_file: str) -> bytes:
        facts = {"fileName": data_file, "type": "profile", "clientEmail": EMAIL, "keyId": self._pair.key_id}
        return json.dumps(facts).encode()

    @contextlib.asynccontextmanager
    async def http(self) -> AsyncIterator[httpx.AsyncClient]:
        port = self.records("http_open")[-1]["port"]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client

    async def token(self, client: httpx.AsyncClient) -> dict[str, str]:
        """The header with a new access token."""
        form = {"grant_type": "client_credentials", "client_id": ACCOUNT, "client_secret": self._passcode.text}
        answer = (await client.post("/1/oauth/token", data=form)).raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}", "X-Account-Id": ACCOUNT}

    def imports(self) -> list[Report]:
        """All imports, oldest first."""
        return list(reversed(self.app.imports.newest(limit=1000)))

    def worker_of(self, import_id: str) -> psutil.Process:
        """The process that has claimed the import last."""
        claims = [entry for entry in self.app.timeline.of_import(import_id) if entry.what == What.CLAIMED]
        return psutil.Process(int(claims[-1].detail["worker"].rpartition(":")[2]))

    def mails(self, subject: str) -> list[EmailMessage]:
        return [mail for mail in self.mailbox.mails if mail["Subject"].startswith(subject)]


@contextlib.asynccontextmanager
async def stepped_service(folder: Path, **environment: str) -> AsyncIterator[SteppedService]:
    """A served installation; ended at the end of the block."""
    mailbox = Greylisting()
    await mailbox.open()
    service = SteppedService(folder, mailbox, **environment)
    try:
        await service.start()
        yield service
    finally:
        await service.close()
        await mailbox.close()

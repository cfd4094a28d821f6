"""The command line in this process, on an installation of its own for each test; what needs a process has one."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import structlog

from ingest.cli import main
from ingest.installation import Choices, initialise
from keystore.pgp_encrypt import encrypt_to

EVENTS = "user,event,when,Amount\nu1,Charged,2026-01-02,10\nu2,Charged,2026-01-03,canary-cell\nu3,Viewed,2026-01-05,7\n"
EVENT_COLUMNS = {
    "user": {"ctName": "identity"},
    "event": {"ctName": "evtName"},
    "when": {"ctName": "ts", "dataType": "Date", "format": "yyyy-MM-dd"},
    "Amount": {"dataType": "Integer"},
}


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Desk:
    """An operator at an installation."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.config = folder / "sealdrop.toml"
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def bare(self, *arguments: object, code: int | None = 0) -> Ran:
        """Run a command without naming the installation. Fails the test when it ends with another code, if given."""
        self._monkeypatch.setattr(sys, "argv", ["sealdrop", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._capsys.readouterr()
        ran = Ran(int(ended.value.code or 0), printed.out, printed.err)
        assert code in (None, ran.code), f"{arguments}: {ran}"
        return ran

    def run(self, *arguments: object, code: int = 0) -> Ran:
        return self.bare("--config", self.config, *arguments, code=code)

    def fails(self, *arguments: object) -> str:
        """Run a command that must fail; what it says, and nothing on standard output."""
        ran = self.run(*arguments, code=1)
        assert ran.out == ""
        assert ran.err.startswith("error: ")
        return ran.err

    def json(self, *arguments: object, code: int = 0) -> Any:
        return self.run(*arguments, "--json", code=code).json

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def ssh_key(self, name: str = "id", algorithm: str = "ssh-ed25519", *, key_size: int | None = None) -> Path:
        """A new SSH key pair; the file of the public one."""
        options: dict[str, Any] = {} if key_size is None else {"key_size": key_size}
        key = asyncssh.generate_private_key(algorithm, **options)
        key.write_private_key(self.folder / name)
        key.write_public_key(self.folder / f"{name}.pub")
        return self.folder / f"{name}.pub"

    def account_with_pair(self, name: str = "acme") -> str:
        """Add an account and make it a pair; the key ID."""
        self.run("account", "add", name, "--contact", f"data@{name}.example")
        made = self.json("key", "generate", name, "--type", "cv25519", "--out", self.folder / "keys")
        return str(made["key_id"])

    def encrypted(self, name: str, content: str, key_id: str) -> Path:
        public_key = (self.folder / "keys" / f"{key_id}.public.asc").read_bytes()
        return self.write(name, encrypt_to(public_key, content.encode()))

    def event_manifest(self, name: str, key_id: str, **keys: Any) -> Path:
        content = {
            "fileName": "events.csv.asc",
            "type": "event",
            "clientEmail": "data@acme.example",
            "keyId": key_id,
            "columns": EVENT_COLUMNS,
        }
        return self.write(name, json.dumps({**content, **keys}, indent=2))


@pytest.fixture(scope="session")
def fresh_installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh") / "installation"
    initialise(folder, Choices(host="127.0.0.1", port=2222, mail_host="", mail_port=587))
    return folder


@pytest.fixture
def desk(
    fresh_installation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    for name in [name for name in os.environ if name.startswith("SEALDROP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("ingest.cli.harden_process", lambda *, end_with_parent: None)  # not undone in this process
    folder = tmp_path / "installation"
    shutil.copytree(fresh_installation, folder)
    handlers = logging.root.handlers[:]
    yield Desk(folder, capsys, monkeypatch)
    logging.root.handlers[:] = handlers  # a command sets up the logs of its process, which is ours here
    structlog.reset_defaults()

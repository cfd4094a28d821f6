"""The HTTP API as a process of its own: started, reloaded, drained."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.http.certificates import Authority
from tests.support.served import SEALDROP, WAIT_S, sealdrop, wait_for


class HttpInstance:
    """An installation whose HTTP API is served by the real command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "sealdrop.toml"
        self.log = folder / "serve.log"
        sealdrop("init", folder)
        self.authority = Authority("servers")
        self.authority.server(folder)
        self.write('certificate_file = "server.pem"\nkey_file = "server.key"\nport = 0')
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, http: str) -> None:
        head = self.config.read_text().partition("[http]")[0]
        self.config.write_text(f"{head}[http]\n{http}\n")

    def run(self, *arguments: object, code: int = 0) -> str:
        return sealdrop("--config", self.config, *arguments, code=code)

    def start(self) -> int:
        with self.log.open("ab") as log:
            command = [str(SEALDROP), "--config", str(self.config), "serve", "--only", "http"]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return int(wait_for(lambda: self.said("http_open"))["port"])

    def said(self, action: str) -> Any:
        """The first record with this action, or none."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        lines = [line for line in self.log.read_text().splitlines() if f'"action": "{action}"' in line]
        return json.loads(lines[0]) if lines else None

    def certificate(self, port: int) -> str:
        return ssl.get_server_certificate(("127.0.0.1", port))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[HttpInstance]:
    instance = HttpInstance(tmp_path / "installation")
    yield instance
    if instance.process is not None and instance.process.poll() is None:
        instance.process.kill()
        instance.process.wait()


def test_api_runs_alone_takes_a_new_certificate_and_stops_in_order(instance: HttpInstance) -> None:
    """SIGHUP and SIGTERM, as an operator sends them; a bad certificate changes nothing."""
    instance.run("account", "add", "acme")
    instance.run("api", "hpke", "acme", "--enable", "--entitle")
    passcode = json.loads(instance.run("api", "credential", "add", "acme", "--scope", "keys", "--json"))["passcode"]
    port = instance.start()
    context = ssl.create_default_context(cadata=instance.authority.pem.decode())
    login = {"X-CleverTap-Account-Id": "acme", "X-CleverTap-Passcode": passcode}
    with httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context, headers=login, timeout=WAIT_S) as client:
        assert client.get("/1/keys/request.json").json()["primaryKeyId"]
        before = instance.certificate(port)
        certificate, _ = instance.authority.server(instance.folder, "fresh")
        assert instance.process is not None
        instance.write('certificate_file = "fresh.pem"\nkey_file = "server.key"\nport = 0')
        instance.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "The settings stay as they were" in instance.log.read_text() or None)
        assert instance.certificate(port) == before
        instance.write('certificate_file = "fresh.pem"\nkey_file = "fresh.key"\nport = 0')
        instance.process.send_signal(signal.SIGHUP)
        wait_for(lambda: instance.certificate(port) == certificate.read_text() or None)
        assert client.get("/1/keys/request.json").status_code == 200
    instance.process.send_signal(signal.SIGTERM)
    assert instance.process.wait(WAIT_S) == 0
    log = instance.log.read_text()
    assert "Traceback" not in log
    assert passcode.partition(".")[2] not in log


def test_api_that_is_off_says_how_to_switch_it_on(instance: HttpInstance) -> None:
    instance.write("port = 0")
    instance.run("serve", "--only", "http", code=1)
    instance.write('host = "0.0.0.0"\nallow_plain = true')
    instance.run("serve", "--only", "http", code=1)

"""What docs/api.md says to do works as it stands there, over HTTPS, against a served installation (FAULTS.md H1)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_readme import shell
from tests.http.certificates import Authority
from tests.support.served import SEALDROP, Instance, wait_for

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
TINK_FOR_JAVA = "SEALDROP_TINK_JARS"  # a folder with Tink for Java and what it needs


def section(heading: str) -> str:
    return re.split(r"^## ", PAGE[PAGE.index(f"## {heading}\n") + 3 :], flags=re.MULTILINE)[0]


def commands_of(heading: str) -> list[str]:
    text = re.sub(r"```.*?```", "", section(heading), flags=re.DOTALL)
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


def block_of(heading: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", section(heading), re.DOTALL)
    assert found is not None
    return found[1]


class Customer:
    """A folder of the customer's, where the page is followed from top to bottom."""

    def __init__(self, folder: Path, instance: Instance, ca_file: Path) -> None:
        self.folder = folder
        self.instance = instance
        port = wait_for(self._http_port)
        self.url = f"https://127.0.0.1:{port}"
        self.environment = {
            "HOME": str(folder),
            "PATH": f"{SEALDROP.parent}:{os.environ['PATH']}",
            "URL": self.url,
            "CURL_CA_BUNDLE": str(ca_file),
            "SSL_CERT_FILE": str(ca_file),
        }
        (folder / "records.json").write_text(block_of("Send and read", "json"))

    def _http_port(self) -> int | None:
        for line in self.instance.log.read_text().splitlines():
            if '"action": "http_open"' in line:
                return int(json.loads(line)["port"])
        return None

    def run(self, command: str) -> Any:
        """Run a command of the page in the customer's folder; its JSON, if that is what it prints."""
        ran = shell(f"umask 077; {command}", self.folder, self.environment)
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
        return json.loads(ran.stdout) if ran.stdout.startswith("{") else ran.stdout

    def follow(self, heading: str) -> list[Any]:
        return [self.run(command) for command in commands_of(heading)]


@pytest.fixture(scope="module")
def customer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    folder = tmp_path_factory.mktemp("api")
    certificates, at_the_customer = folder / "certificates", folder / "customer"
    certificates.mkdir()
    at_the_customer.mkdir()
    authority = Authority("servers")
    certificate, key = authority.server(certificates)
    ca_file = certificates / "ca.pem"
    ca_file.write_bytes(authority.pem)
    http = {"CERTIFICATE_FILE": certificate, "KEY_FILE": key, "PORT": 0}
    instance = Instance(folder / "site", **{f"SEALDROP_HTTP__{name}": str(value) for name, value in http.items()})
    try:
        instance.run("account", "add", "acme", "--contact", "data@acme.example")
        instance.start()
        first, second = commands_of("Open the API")
        made = instance.json(*first.split()[1:])
        instance.run(*second.split()[1:])
        (at_the_customer / "passcode").touch(mode=0o600)
        (at_the_customer / "passcode").write_text(made["passcode"])
        yield Customer(at_the_customer, instance, ca_file)
    finally:
        instance.close()


STORED = {"status": "success", "processed": 2, "unprocessed": []}


def test_records_are_sent_and_read_with_curl(customer: Customer) -> None:
    _, stored, read = customer.follow("Send and read")
    assert stored == STORED
    assert read["status"] == "success"
    assert read["record"]["email"] == "ada@example.com"
    assert read["record"]["profileData"]["Customer Type"] == "Gold"
    assert read["record"]["events"]["Charged"]["count"] == 1


def test_bodies_are_encrypted_both_ways_by_the_command_line(customer: Customer) -> None:
    *_, stored, read = customer.follow("Encrypt")
    assert stored == STORED
    assert read["record"]["profileData"]["Name"] == "Ada"


def test_python_client_works_as_the_page_shows_it(customer: Customer) -> None:
    if not (customer.folder / "request.json").exists():
        customer.follow("Encrypt")
    program = f"URL = {customer.url!r}\n{block_of('Python', 'python')}"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=customer.folder, env={**os.environ, **customer.environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    status, *events = ran.stdout.splitlines()
    assert status == "success"
    assert any(event.startswith("user-2 ") and event.endswith("{'Amount': 5}") for event in events)


def test_java_with_tink_works_as_the_page_shows_it(customer: Customer, tmp_path: Path) -> None:
    """`make java` fetches Tink for Java, and sets the variable."""
    jars = os.environ.get(TINK_FOR_JAVA)
    if jars is None or shutil.which("java") is None:
        pytest.skip(f"needs Java, and Tink for Java in the folder that {TINK_FOR_JAVA} names: make java")
    if not (customer.folder / "request.json").exists():
        customer.follow("Encrypt")
    (tmp_path / "Upload.java").write_text(block_of("Java", "java"))
    store = tmp_path / "ca.p12"
    ca_file = customer.environment["CURL_CA_BUNDLE"]
    keytool = f"keytool -importcert -noprompt -file {ca_file} -keystore {store} -storepass changeit"
    subprocess.run(keytool.split(), check=True, capture_output=True)
    trust = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    ran = subprocess.run(
        ["java", *trust, "-cp", f"{jars}/*", str(tmp_path / "Upload.java"), customer.url],
        cwd=customer.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == STORED

"""What docs/keys.md says to do works as it stands there, with a real gpg, a served installation and its mails."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.demo.mailbox import text_of
from tests.e2e.test_readme import lines_of, shell
from tests.support.customer import PASSPHRASE
from tests.support.served import SEALDROP, Instance, wait_for

PAGE = (Path(__file__).parents[2] / "docs" / "keys.md").read_text()
CSV = "identity,full_name,score\nuser-1,Ada,1\nuser-2,Grace,no number\n"


def commands_of(heading: str) -> list[str]:
    """The commands of a section, in their order."""
    section = re.split(r"^## ", PAGE[PAGE.index(f"## {heading}\n") + 3 :], flags=re.MULTILINE)[0]
    return [line for block in re.findall(r"(?:^    .*\n)+", section, re.MULTILINE) for line in lines_of(block)]


class Desk:
    """One folder for customer and operator: what one hands over, the other finds."""

    def __init__(self, folder: Path, instance: Instance, gnupg_home: Path) -> None:
        self.folder = folder
        self.instance = instance
        self.known = {"KEY_ID": "", "FINGERPRINT": ""}
        self.handed_over = folder / "acme-passphrase"
        self.handed_over.write_bytes(PASSPHRASE + b"\n")
        # gpg asks for the passphrase at a terminal; here it finds it
        self.typed = gnupg_home / "typed"
        self.typed.write_bytes(PASSPHRASE + b"\n")
        options = ("batch", "no-tty", "pinentry-mode loopback", f"passphrase-file {self.typed}")
        (gnupg_home / "gpg.conf").write_text("\n".join(options) + "\n")
        self.environment = {
            "HOME": str(folder),
            "PATH": f"{SEALDROP.parent}:{os.environ['PATH']}",
            "GNUPGHOME": str(gnupg_home),
        }

    def run(self, command: str) -> str:
        """Run a command of the page; what it prints, from which key ID and fingerprint are remembered."""
        for name, value in self.known.items():
            command = command.replace(name, value)
        if command.startswith("sealdrop "):
            command = command.replace("sealdrop ", f"sealdrop --config {self.instance.config} ", 1)
        ran = shell(command, self.folder, self.environment)
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
        for name, label in (("KEY_ID", "key ID"), ("FINGERPRINT", "fingerprint")):
            if found := re.search(rf"^{label} +(\S+)$", ran.stdout, re.MULTILINE):
                self.known[name] = found[1]
        return ran.stdout

    def section(self, heading: str) -> None:
        for command in commands_of(heading):
            self.run(command)

    def imported(self, **manifest: Any) -> dict[str, Any]:
        """What becomes of ``users.csv.asc``, sent with the real drop and a manifest that names the key ID."""
        before = len(self.instance.imports("acme"))
        content: dict[str, Any] = {"fileName": "users.csv.asc", "type": "profile", "clientEmail": "data@acme.example"}
        content |= {"keyId": self.known["KEY_ID"], "columns": {"score": {"dataType": "Integer"}}} | manifest
        drop = self.instance.folder / "data" / "spool" / "drops" / "acme"
        shutil.copy(self.folder / "users.csv.asc", drop)
        (drop / "users.manifest").write_text(json.dumps({name: value for name, value in content.items() if value}))
        return self.instance.wait_for_imports("acme", before + 1)[before]

    def encrypt(self, recipient: str) -> None:
        (self.folder / "users.csv.asc").unlink(missing_ok=True)
        self.run(f"gpg --encrypt --armor --trust-model always --recipient {recipient} users.csv")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    instance = Instance(tmp_path / "installation", SEALDROP_WATCH__RESCAN_S="0.2")
    instance.run("account", "add", "acme", "--contact", "data@acme.example")
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "users.csv").write_text(CSV)
    with tempfile.TemporaryDirectory(prefix="sd-") as gnupg_home:  # a short path: gpg-agent's socket lies in it
        desk = Desk(folder, instance, Path(gnupg_home))
        yield desk
        shell("gpgconf --kill all", folder, desk.environment)
    instance.close()


def test_both_ways_of_making_a_key_rotating_extending_and_looking(desk: Desk) -> None:
    """The whole page in its order; FAULTS K7, K8, P16."""
    instance = desk.instance
    soon = instance.json("key", "generate", "acme", "--type", "cv25519", "--expires", "5", "--out", desk.folder)
    instance.start()

    desk.section("The customer makes the pair")
    assert not (desk.folder / "acme-private.asc").exists()
    own = dict(desk.known)
    report = desk.imported()
    assert (report["state"], report["key_id"], report["pair"]) == ("succeeded", *own.values())
    assert desk.imported(keyId=None)["key_id"] == own["KEY_ID"]

    (desk.folder / "users.csv.asc").unlink()
    desk.section("Sealdrop makes the pair")
    ours = dict(desk.known)
    assert own["KEY_ID"] != ours["KEY_ID"]
    report = desk.imported()
    assert (report["state"], report["rows_rejected"]) == ("succeeded", 1)

    results = instance.folder / "data" / "spool" / "drops" / "acme" / "results"
    shutil.copy(results / report["reject_file"], desk.folder / "rejects.csv.asc")
    (passphrase,) = (desk.folder / "acme-keys").glob("*.passphrase")
    desk.typed.write_bytes(passphrase.read_bytes())
    desk.section("Reading rejected rows")
    assert "Grace" in (desk.folder / "rejects.csv").read_text()
    desk.typed.write_bytes(PASSPHRASE + b"\n")
    desk.handed_over.write_bytes(PASSPHRASE + b"\n")

    desk.known.update(own)
    replacing = commands_of("Replacing a pair")
    retire_previous = replacing.pop()
    for command in replacing[:3]:
        desk.run(command)
    second = desk.known["FINGERPRINT"]
    assert second != own["FINGERPRINT"]
    for fingerprint in (own["FINGERPRINT"], second):
        desk.encrypt(fingerprint)
        report = desk.imported()
        assert (report["state"], report["key_id"], report["pair"]) == ("succeeded", own["KEY_ID"], fingerprint)
    desk.run(retire_previous)
    desk.encrypt(own["FINGERPRINT"])
    assert desk.imported()["code"] == "key.retired"
    desk.run(replacing[3])
    assert len(list((desk.folder / "acme-keys").glob(f"{own['KEY_ID']}.3.*"))) == 3
    instance.run("key", "retire", own["KEY_ID"], "--previous")

    stored = ("key", "import", "acme", _exported(desk, "data@acme.example"), "--passphrase-file", desk.handed_over)
    instance.run(*stored, code=1)  # the retired pair is still here
    instance.run("key", "destroy", own["KEY_ID"], "--previous", "--yes")
    desk.known = {"KEY_ID": instance.json(*stored)["key_id"], "FINGERPRINT": own["FINGERPRINT"]}
    before = instance.json("key", "show", desk.known["KEY_ID"])["pairs"][0]["expires_at"]
    desk.section("Extending a pair")
    (pair,) = instance.json("key", "show", desk.known["KEY_ID"])["pairs"]
    assert pair["expires_at"] > before
    assert desk.imported()["pair"] == own["FINGERPRINT"]

    desk.section("Looking after pairs")
    mails = wait_for(lambda: [mail for mail in instance.post.mailbox.mails if "Key expires" in mail["Subject"]] or None)
    assert [mail["Subject"] for mail in mails] == [f"Key expires in 5 days: {soon['fingerprint'][-16:]}"]
    assert soon["key_id"] in text_of(mails[0])


def _exported(desk: Desk, user_id: str) -> Path:
    desk.run(f"gpg --yes --armor --output exported.asc --export-secret-keys {user_id}")
    return desk.folder / "exported.asc"

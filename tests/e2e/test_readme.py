"""What the README says to do works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from tests.support.customer import GpgHome
from tests.support.served import SEALDROP, Post, sealdrop, wait_for

README = (Path(__file__).parents[2] / "README.md").read_text()


def block_after(words: str, language: str = "") -> str:
    """The first code block after these words."""
    rest = README[README.index(words) :]
    pattern = rf"```{language}\n(.*?)```" if language else r"\n\n((?:    [^\n]*\n)+)"
    found = re.search(pattern, rest, re.DOTALL)
    assert found is not None
    return found[1]


def lines_of(block: str) -> list[str]:
    return [line.split("  #")[0].strip() for line in block.splitlines() if line.strip()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a new user, with an SSH key."""
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(ssh / "id_ed25519")
    (ssh / "id_ed25519").chmod(0o600)
    key.write_public_key(ssh / "id_ed25519.pub")
    return tmp_path / "home"


def test_first_account_in_five_commands_and_what_follows(home: Path, tmp_path: Path, gpg: GpgHome) -> None:
    post = Post()
    installation = tmp_path / "installation"
    installation.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": f"{SEALDROP.parent}:{os.environ['PATH']}",
        "GNUPGHOME": str(gpg.gpg.home),
        "SEALDROP_MAIL__PORT": str(post.port),  # the README's 25 needs root
        "SEALDROP_DOOR__PORT": "0",
    }
    commands = lines_of(block_after("## A first account of your own"))
    assert len(commands) == 5
    assert commands[-1] == "sealdrop serve"
    for command in commands[:-1]:
        ran = shell(command, installation, environment)
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
        key_id = re.search(r"key ID\s+(\S+)", ran.stdout) if "key generate" in command else None
        if key_id is not None:
            (installation / "users.manifest").write_text(
                re.sub(r"keyId: .*", f"keyId: {key_id[1]}", block_after("in JSON or YAML", "yaml"))
            )
    (installation / "users.csv").write_text("identity,full_name,score,joined\nuser-1,Ada,1.5,03/02/2024\n")
    with (tmp_path / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            ["sealdrop", "serve"], cwd=installation, env=environment, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        port = wait_for(lambda: re.search(r"open on port (\d+)", (tmp_path / "serve.log").read_text()))[1]
        for command in lines_of(block_after("The customer then encrypts and uploads"))[:-1]:
            ran = shell(command, installation, environment)
            assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
        upload = lines_of(block_after("The customer then encrypts and uploads"))[-1]
        upload = upload.replace("2222", port).replace("your-host", "127.0.0.1")
        options = (
            f"-b - -i {home}/.ssh/id_ed25519 -F /dev/null -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        )
        batch = "put users.csv.asc\nput users.manifest\n"
        ran = shell(upload.replace("sftp ", f"sftp {options} "), installation, environment, batch)
        assert ran.returncode == 0, ran.stderr
        wait_for(lambda: True if any("Imported" in mail["Subject"] for mail in post.mailbox.mails) else None)
    finally:
        server.terminate()
        server.wait(60)
        post.close()
    shown = sealdrop("--config", installation / "sealdrop.toml", "profile", "show", "acme", "--identity", "user-1")
    assert "Ada" in shown
    for way in ("With polars", "With DuckDB"):
        code = block_after(way, "python").replace("events", "profiles").replace("evtName", "Name")
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=installation, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
    assert "Ada" in ran.stdout


def shell(command: str, folder: Path, environment: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

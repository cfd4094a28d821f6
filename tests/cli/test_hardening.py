"""Memory hygiene: before a command reads a secret, nobody else may read its memory, and it leaves no core file."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Desk
from tests.support.served import WAIT_S

# The real command line, with an eye on the process at the moments when it opens the files given as JSON.
WATCHED = """
import ctypes, json, resource, sys
secret_files, report, *sys.argv = json.loads(sys.argv[1]), sys.argv[2], "sealdrop", *sys.argv[3:]
seen = {}
def hook(name, arguments):
    if name == "open" and str(arguments[0]) in secret_files:
        dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
        seen[str(arguments[0])] = [dumpable, *resource.getrlimit(resource.RLIMIT_CORE)]
sys.addaudithook(hook)
from ingest.cli import main
try:
    main()
finally:
    with open(report, "w") as file:
        json.dump(seen, file)
"""


def watched(desk: Desk, secret_files: list[Path], *arguments: object) -> dict[str, list[int]]:
    """For each of the files that the command opened: whether it was dumpable then, and its limits for core files."""
    report = desk.folder / "report.json"
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            WATCHED,
            json.dumps(list(map(str, secret_files))),
            report,
            "--config",
            desk.config,
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, list[int]] = json.loads(report.read_text())
    return found


@pytest.fixture
def files(desk: Desk) -> dict[str, Path]:
    desk.run("account", "add", "acme")
    desk.json("key", "generate", "acme", "--type", "cv25519", "--out", desk.folder / "keys")
    desk.run("account", "add", "other")
    (private,) = (desk.folder / "keys").glob("*.private.asc")
    (passphrase,) = (desk.folder / "keys").glob("*.passphrase")
    new = desk.write("new.key", secrets.token_hex(32))
    new.chmod(0o600)
    return {"private": private, "passphrase": passphrase, "new": new, "master": desk.folder / "master.key"}


@pytest.mark.parametrize(
    ("words", "opened"),
    [
        (("key", "import", "other", "{private}", "--passphrase-file", "{passphrase}"), "private passphrase master"),
        (("key", "generate", "other", "--type", "cv25519"), "master"),
        (("vault", "rotate", "--new-key-file", "{new}"), "new master"),
        (("vault", "show"), "master"),
        (("audit", "verify"), "master"),
        (("check",), "master"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_memory_is_private_before_a_secret_is_read(
    desk: Desk, files: dict[str, Path], words: tuple[str, ...], opened: str
) -> None:
    """FAULTS K5: PR_SET_DUMPABLE 0 and RLIMIT_CORE 0."""
    arguments = [word.format(**files) for word in words]
    if words[:2] == ("key", "generate"):
        arguments += ["--out", str(desk.folder / "out")]
    assert watched(desk, list(files.values()), *arguments) == {str(files[name]): [0, 0, 0] for name in opened.split()}

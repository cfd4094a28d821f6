"""The demo tells the whole story, with the real programs and without them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.served import SEALDROP


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/usr/bin:/bin", ["the real gpg", "the real OpenSSH sftp"]),
        ("/nonexistent", ["our own OpenPGP writer", "asyncssh"]),
    ],
    ids=["with gpg and sftp", "without"],
)
def test_demo_ends_by_itself_when_everything_arrived(path: str, said: list[str], tmp_path: Path) -> None:
    ran = subprocess.run(
        [str(SEALDROP), "demo"],
        env={"PATH": path, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for words in (*said, "Picked up", "Imported", "Import failed", "item_price", "Everything arrived"):
        assert words in ran.stdout
    assert ran.stderr == ""
    assert list(tmp_path.iterdir()) == []

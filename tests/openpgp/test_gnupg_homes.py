"""gpg's private folders: many at once, short paths, and nothing left after a kill."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from keystore.openpgp import decrypt, gnupg_home, sweep_homes
from keystore.pgp_keys import PrivateKey
from tests.openpgp.conftest import PLAIN
from tests.openpgp.reading import plain_text
from tests.openpgp.sender import PASSPHRASE, Gpg

pytestmark = pytest.mark.alone  # it looks at what other processes of this user leave behind

JOBS = """
import io, os, sys, threading, time
from pathlib import Path
from keystore.openpgp import decrypt
from keystore.pgp_keys import PrivateKey
from keystore.secret import Secret

secret, message, passphrase = sys.argv[1:]
key = PrivateKey.unlock("uuid", Secret(Path(secret).read_bytes()), Secret(passphrase.encode()))

def start() -> None:
    blocks = iter(decrypt(io.BytesIO(Path(message).read_bytes()), [key], engine="gnupg"))
    next(blocks)
    os.write(1, b"started\\n")  # print writes twice, and eight threads would write between
    time.sleep(600)

for _ in range(8):
    threading.Thread(target=start, daemon=True).start()
time.sleep(600)
"""


def processes_in(mark: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["name", "cmdline", "status"]):
        if "gpg" in (process.info["name"] or "") and mark in " ".join(process.info["cmdline"] or []):
            found += [process.pid] if process.info["status"] != psutil.STATUS_ZOMBIE else []
    return found


def homes_of(process_id: int) -> list[Path]:
    mark = f"sealdrop-gpg-{process_id}-*"
    return [path for root in {"/dev/shm", tempfile.gettempdir()} for path in Path(root).glob(mark)]


def test_nothing_is_left_after_a_kill(gpg: Gpg, tmp_path: Path) -> None:
    """FAULTS P29: eight jobs, SIGKILL, a sweep at the next start; a job of another process goes on."""
    secret, message = tmp_path / "secret", tmp_path / "message"
    secret.write_bytes(gpg.secret_key("cv"))
    message.write_bytes(gpg.encrypt("cv", os.urandom(20_000_000), "-z", "0"))
    jobs = subprocess.Popen([sys.executable, "-c", JOBS, secret, message, PASSPHRASE], stdout=subprocess.PIPE)
    assert jobs.stdout is not None
    mark = f"sealdrop-gpg-{jobs.pid}-"
    try:
        with jobs.stdout as lines:
            for _ in range(8):
                assert lines.readline() == b"started\n"
        sweep_homes()
        assert len(homes_of(jobs.pid)) == 8, "the folders of a living process are left alone"
    finally:
        jobs.send_signal(signal.SIGKILL)
        jobs.wait()
    assert len(homes_of(jobs.pid)) == 8
    assert processes_in(mark)
    assert sweep_homes() >= 8
    assert homes_of(jobs.pid) == []
    for _ in range(50):
        if not processes_in(mark):
            break
        threading.Event().wait(0.1)
    assert processes_in(mark) == []


def test_a_sweep_leaves_a_running_job_and_foreign_folders_alone(gpg: Gpg, rsa: PrivateKey, tmp_path: Path) -> None:
    """FAULTS P29."""
    plain = os.urandom(20_000_000)
    blocks = iter(decrypt(io.BytesIO(gpg.encrypt("rsa", plain, "-z", "0")), [rsa], engine="gnupg"))
    first = next(blocks)
    other = Path(tempfile.mkdtemp(prefix="sealdrop-gpgx-1-"))
    link = Path(tempfile.gettempdir()) / "sealdrop-gpg-99999999-link"
    link.symlink_to(tmp_path)
    try:
        sweep_homes()
        assert other.exists()
        assert tmp_path.exists()
        assert first + b"".join(blocks) == plain
    finally:
        other.rmdir()
        link.unlink()


def test_thirty_messages_at_once(gpg: Gpg, rsa: PrivateKey) -> None:
    """FAULTS P27: a folder and an agent each; no "No secret key" for want of memory."""
    data = gpg.encrypt("rsa", PLAIN)
    with ThreadPoolExecutor(30) as pool:
        results = list(pool.map(lambda _: plain_text(data, rsa, engine="gnupg"), range(30)))
    assert results == [PLAIN] * 30


def test_a_long_temporary_folder_is_not_used(
    gpg: Gpg, rsa: PrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS P28: a socket's path has at most 107 bytes."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.setattr(gnupg_home, "_MEMORY_FOLDER", tmp_path / "missing")
    assert plain_text(gpg.encrypt("rsa", PLAIN), rsa, engine="gnupg") == PLAIN
    assert list(long.iterdir()) == []

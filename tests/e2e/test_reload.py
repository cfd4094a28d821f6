"""SIGHUP: the door reads its settings anew."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from tests.support.served import Instance, serving, wait_for


def _said(instance: Instance, words: str) -> bool:
    return words in instance.log.read_text()


def _fingerprints(port: int) -> set[str]:
    scanned = subprocess.run(["ssh-keyscan", "-T", "10", "-p", str(port), "127.0.0.1"], capture_output=True, text=True)
    return {line.split()[1] for line in scanned.stdout.splitlines() if not line.startswith("#")}


def test_settings_are_read_anew_and_bad_ones_change_nothing(tmp_path: Path) -> None:
    """FAULTS S21: a second host key is taken up without a restart, and one that is exposed is not."""
    with serving(tmp_path / "installation") as instance:
        assert instance.process is not None
        following = instance.folder / "next_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", following], check=True)
        settings = instance.config.read_text()
        changed = settings.replace("[door]", '[door]\nnext_host_key_file = "next_key"')

        following.chmod(0o644)
        instance.config.write_text(changed)
        instance.process.send_signal(signal.SIGHUP)
        wait_for(lambda: _said(instance, "The settings stay as they were") or None)
        assert _fingerprints(instance.port) == {"ssh-ed25519"}

        instance.config.write_text(changed + "\n[door")
        instance.process.send_signal(signal.SIGHUP)
        wait_for(lambda: instance.log.read_text().count("The settings stay as they were") == 2 or None)

        following.chmod(0o600)
        instance.config.write_text(changed)
        instance.process.send_signal(signal.SIGHUP)
        wait_for(lambda: _said(instance, "The settings were read anew") or None)
        assert _fingerprints(instance.port) == {"ssh-ed25519", "ecdsa-sha2-nistp256"}
        assert instance.stop() == 0


def test_check_shows_fingerprints_and_lines_for_known_hosts(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "installation")
    try:
        checks = [(found["check"], found["text"]) for found in instance.json("check")]
    finally:
        instance.post.close()
    texts = dict(checks)
    assert texts["host key"].startswith("SHA256:")
    assert "ssh-ed25519 AAAA" in texts["known_hosts"]

"""What the door needs to open, and how it closes."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

import asyncssh
import pytest

from ingest.door import Door, describe_host_key, errors, make_host_key
from ingest.ledger.ssh_keys import Access
from ingest.settings import DoorSettings
from ingest.spool import Spool
from tests.door.conftest import OpenSite, Site


async def _nobody(_accounts: Collection[str]) -> dict[str, Access]:
    """No account is known."""
    return {}


async def _nothing(account: str, name: str) -> None:
    """Nothing is recorded."""


def _door(tmp_path: Path, port: int = 0) -> Door:
    settings = DoorSettings.model_validate({"port": port, "host_key_file": tmp_path / "key"})
    return Door(settings, Spool(tmp_path / "spool"), accesses=_nobody, published=_nothing)


def test_new_host_key_is_private_and_is_never_overwritten(tmp_path: Path) -> None:
    """FAULTS S21."""
    path = tmp_path / "key"
    make_host_key(path)
    before = path.read_bytes()
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.stat().st_nlink == 1
    with pytest.raises(errors.HostKeyExists):
        make_host_key(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_host_key_is_described_as_ssh_keygen_does(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_host_key(path)
    described = describe_host_key(path)
    shown = subprocess.run(["ssh-keygen", "-lf", str(path)], check=True, capture_output=True, text=True).stdout
    assert described.fingerprint in shown
    public = subprocess.run(["ssh-keygen", "-yf", str(path)], check=True, capture_output=True, text=True).stdout
    assert public.split()[:2] == described.public_line.split()
    assert described.known_hosts_line("drop.example.com", 22) == f"drop.example.com {described.public_line}"
    assert described.known_hosts_line("drop.example.com", 2222).startswith("[drop.example.com]:2222 ssh-ed25519 ")


@pytest.mark.parametrize(
    ("content", "mode", "error", "text"),
    [
        (None, 0o600, errors.HostKeyMissing, "there is no host key"),
        ("key", 0o640, errors.HostKeyExposed, "chmod 600"),
        ("key", 0o604, errors.HostKeyExposed, "chmod 600"),
        ("", 0o600, errors.HostKeyUnusable, "no usable private SSH key"),
        ("half", 0o600, errors.HostKeyUnusable, "no usable private SSH key"),
        ("public", 0o600, errors.HostKeyUnusable, "no usable private SSH key"),
        ("locked", 0o600, errors.HostKeyUnusable, "no usable private SSH key"),
        ("folder", 0o700, errors.HostKeyUnusable, "not a regular file"),
        ("pipe", 0o600, errors.HostKeyUnusable, "not a regular file"),
    ],
)
async def test_door_does_not_open_without_a_sound_host_key(
    tmp_path: Path, content: str | None, mode: int, error: type[errors.DoorError], text: str
) -> None:
    """FAULTS S21: missing, readable by others, cut short, of the wrong kind: refused, and never made anew."""
    path = tmp_path / "key"
    key = asyncssh.generate_private_key("ssh-ed25519")
    whole = key.export_private_key()
    match content:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case str():
            contents = {"key": whole, "half": whole[:200], "public": key.export_public_key(), "": b""}
            path.write_bytes(
                contents[content] if content != "locked" else key.export_private_key("pkcs8-pem", passphrase="x")
            )
    if content is not None:
        path.chmod(mode)
    with pytest.raises(error, match=re.escape(text)) as caught:
        await _door(tmp_path).start()
    assert caught.value.code.startswith("door.host_key_")
    assert "BEGIN" not in caught.value.public
    assert path.exists() == (content is not None)


async def test_port_in_use_is_said_so(tmp_path: Path) -> None:
    make_host_key(tmp_path / "key")
    first = _door(tmp_path)
    await first.start()
    with pytest.raises(errors.AddressUnavailable, match=f"port {first.port}: .*in use"):
        await _door(tmp_path, first.port).start()
    await first.drain(0)


async def test_parts_that_a_killed_process_left_are_swept_and_young_ones_stay(site: Site, tmp_path: Path) -> None:
    """FAULTS S13: SIGKILL mid-write leaves a part that nobody will finish."""
    old, young = site.spool.new_part("acme"), site.spool.new_part("acme")
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    assert site.spool.sweep_parts(older_than_s=3600) == 1
    assert site.parts() == [young]


async def test_drain_waits_for_the_upload_that_runs_and_takes_no_other(open_site: OpenSite) -> None:
    async with open_site() as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        file = await sftp.open("a", "wb")
        draining = asyncio.create_task(site.door.drain(5))
        await asyncio.sleep(0.05)
        with pytest.raises(asyncssh.SFTPFailure, match="restarting"):
            await sftp.open("b", "wb")
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await asyncio.open_connection("127.0.0.1", site.door.port)
        assert not draining.done()
        await file.write(b"all of it")
        await file.close()
        await asyncio.wait_for(draining, 2)
        await asyncio.wait_for(connection.wait_closed(), 2)
        assert site.published == [("acme", "a")]


async def test_drain_cuts_off_an_upload_that_takes_too_long(open_site: OpenSite) -> None:
    async with open_site() as site, site.connect() as connection:
        sftp = await connection.start_sftp_client()
        file = await sftp.open("a", "wb")
        await file.write(b"half of it")
        await asyncio.wait_for(site.door.drain(0.1), 2)
        assert (site.published, site.waiting()) == ([], set())
        assert site.unfinished() == {"a": b"half of it"}

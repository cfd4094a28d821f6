"""The master key: its sources, its files, and what a process holds of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keystore.errors import MasterKeyMissing, MasterKeyWrong
from keystore.held_keys import HeldKeys
from keystore.master_key import (
    MasterKey,
    find_master_key,
    make_master_key,
    next_key_file,
    old_key_file,
    put_next_in_place,
    read_master_key,
    write_master_key,
)
from keystore.secret import Secret
from tests.support.served import WAIT_S


def made(path: Path) -> MasterKey:
    make_master_key(path)
    key = read_master_key(path, "file")
    assert key is not None
    return key


def found(path: Path, *, allow_environment: bool = False) -> bytes:
    key = find_master_key(path, allow_environment=allow_environment)
    assert key is not None
    return key.secret.expose()


def test_file_is_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    make_master_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        make_master_key(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert len(found(path)) == 32


def test_file_is_written_whole_also_when_an_earlier_try_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    (tmp_path / "master.key.part").write_text("ab")
    write_master_key(path, Secret(b"k" * 32))
    assert found(path) == b"k" * 32
    assert list(tmp_path.iterdir()) == [path]


def test_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """FAULTS K2."""
    path = tmp_path / "master.key"
    make_master_key(path)
    path.chmod(0o644)
    with pytest.raises(MasterKeyMissing, match="chmod 600"):
        find_master_key(path, allow_environment=False)


def test_environment_counts_only_when_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS K2: refused unless flagged, and gone from the environment once read."""
    monkeypatch.setenv("SEALDROP_MASTER_KEY", "ab" * 32)
    assert find_master_key(tmp_path / "none", allow_environment=False) is None
    assert found(tmp_path / "none", allow_environment=True) == b"\xab" * 32
    assert "SEALDROP_MASTER_KEY" not in os.environ


def test_key_is_wiped_where_the_system_shows_the_environment(tmp_path: Path) -> None:
    """FAULTS K2, K5: /proc/PID/environ keeps what a process was started with, whatever it has removed since."""
    program = (
        "import pathlib, sys; from keystore.master_key import find_master_key\n"
        "shown = pathlib.Path('/proc/self/environ')\n"
        "before = shown.read_bytes()\n"
        "key = find_master_key(pathlib.Path('none'), allow_environment=True)\n"
        'sys.stdout.write(f\'{key.id} {before.count(b"cd" * 32)} {shown.read_bytes().count(b"cd" * 2)}\')\n'
    )
    environment = {**os.environ, "SEALDROP_MASTER_KEY": "cd" * 32, "KEPT": "kept"}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=WAIT_S
    )
    write_master_key(tmp_path / "same", Secret(b"\xcd" * 32))
    same = read_master_key(tmp_path / "same", "file")
    assert same is not None
    assert ran.stdout == f"{same.id} 1 0"


def test_systemd_credential_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS K2: order of sources."""
    make_master_key(tmp_path / "file.key")
    monkeypatch.setenv("SEALDROP_MASTER_KEY", "ab" * 32)
    assert found(tmp_path / "file.key", allow_environment=True) not in (b"\xab" * 32, b"\xcd" * 32)
    (tmp_path / "master-key").write_text("cd" * 32 + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert found(tmp_path / "file.key") == b"\xcd" * 32


@pytest.mark.parametrize("content", [b"", b"zz" * 32, b"ab" * 31, b"ab" * 33, bytes(range(128, 192))])
@pytest.mark.parametrize("source", ["file", "credential", "environment"])
def test_source_without_a_key_is_refused(
    tmp_path: Path, source: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS K2: a damaged source is not passed over for the next one."""
    if source == "environment":
        monkeypatch.setenv("SEALDROP_MASTER_KEY", os.fsdecode(content))
    else:
        (tmp_path / "master-key").write_bytes(content)
        (tmp_path / "master-key").chmod(0o600)
    if source == "credential":
        make_master_key(tmp_path / "file")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = tmp_path / {"file": "master-key", "credential": "file", "environment": "none"}[source]
    with pytest.raises(MasterKeyMissing, match="64 hexadecimal digits"):
        find_master_key(path, allow_environment=True)


def test_next_key_takes_its_place_and_the_old_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    old, new = made(path), made(next_key_file(path))
    put_next_in_place(path, old_id=old.id, new_id=new.id)
    assert found(path) == new.secret.expose()
    assert found(old_key_file(path, old.id)) == old.secret.expose()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("wrong", ["old", "next"])
def test_file_with_another_key_than_expected_is_not_replaced(tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "master.key"
    old, new = made(path), made(next_key_file(path))
    if wrong == "old":
        make_master_key(old_key_file(path, old.id))
    ids = {"old_id": old.id, "new_id": new.id if wrong == "old" else "00" * 8}
    with pytest.raises(MasterKeyMissing, match="nothing was replaced"):
        put_next_in_place(path, **ids)
    assert found(path) == old.secret.expose()
    assert found(next_key_file(path)) == new.secret.expose()


def test_files_of_a_linked_key_lie_beside_the_real_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path, real = tmp_path / "master.key", tmp_path / "real" / "key"
    path.symlink_to(real)
    old = made(real)
    new = made(next_key_file(path))
    put_next_in_place(path, old_id=old.id, new_id=new.id)
    assert path.is_symlink()
    assert found(path) == new.secret.expose()
    assert next_key_file(path).parent == old_key_file(path, old.id).parent == real.parent


def test_held_keys_are_found_when_they_are_named(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    old = made(path)
    held = HeldKeys(path, allow_environment=False)
    assert held.vault([old.id]).master_key_id == old.id
    new = made(next_key_file(path))
    assert held.vault([old.id]).master_key_id == old.id
    assert held.vault([old.id, new.id]).master_key_id == new.id
    put_next_in_place(path, old_id=old.id, new_id=new.id)
    assert held.vault([new.id]).master_key_id == new.id
    assert HeldKeys(path, allow_environment=False).vault([new.id]).master_key_id == new.id


def test_wrong_key_is_told_by_its_id_and_its_place(tmp_path: Path) -> None:
    """FAULTS K2."""
    path = tmp_path / "master.key"
    wrong = made(path)
    with pytest.raises(MasterKeyWrong) as raised:
        HeldKeys(path, allow_environment=False).vault(["00" * 8])
    for fact in (str(path), wrong.id, "00" * 8):
        assert fact in raised.value.detail
    assert wrong.secret.expose().hex() not in raised.value.public + raised.value.detail


def test_no_key_at_all_is_told_with_what_to_do(tmp_path: Path) -> None:
    """FAULTS K2."""
    with pytest.raises(MasterKeyMissing, match="put back the key"):
        HeldKeys(tmp_path / "none", allow_environment=False).vault(["00" * 8])
    assert list(tmp_path.iterdir()) == []


def test_keys_are_handed_over_with_where_they_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALDROP_MASTER_KEY", "ab" * 32)
    service = HeldKeys(tmp_path / "none", allow_environment=True)
    first = service.first()
    assert first is not None
    service.vault([first.id])
    worker = HeldKeys(tmp_path / "none", allow_environment=True)
    worker.take_over(service.handed_over())
    assert worker.vault([first.id]).master_key_id == first.id
    assert worker.held(first.id).kind == "environment"
    assert len(json.loads(service.handed_over())) == 1


def test_no_key_prints(tmp_path: Path) -> None:
    """FAULTS K5."""
    key = made(tmp_path / "master.key")
    held = HeldKeys(tmp_path / "master.key", allow_environment=False)
    vault = held.vault([key.id])
    for thing in (key, held, vault):
        assert key.secret.expose().hex() not in repr(thing)
        assert repr(key.secret.expose())[2:-1] not in repr(thing)


def test_each_step_with_a_key_file_is_durable_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS K3, W10: synced for real, and written down in their order."""
    steps: list[tuple[str, str]] = []
    sync, link, replace = os.fsync, os.link, os.replace

    def synced(descriptor: int) -> None:
        sync(descriptor)
        steps.append(("synced", Path(f"/proc/self/fd/{descriptor}").readlink().name))

    def linked(source: Path, target: Path) -> None:
        link(source, target)
        steps.append(("linked", target.name))

    def replaced(source: Path, target: Path) -> None:
        replace(source, target)
        steps.append(("replaced", target.name))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    monkeypatch.setattr(os, "replace", replaced)
    path = tmp_path / "master.key"
    old = made(path)
    assert steps == [("synced", "master.key.part"), ("linked", "master.key"), ("synced", tmp_path.name)]
    new = made(next_key_file(path))
    steps.clear()
    put_next_in_place(path, old_id=old.id, new_id=new.id)
    assert steps == [
        ("linked", f"master.key.old-{old.id}"),
        ("synced", tmp_path.name),
        ("replaced", "master.key"),
        ("synced", tmp_path.name),
    ]

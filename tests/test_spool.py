"""The spool: every move is one rename, durable, and safe to repeat."""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import failpoints
from ingest.spool import Spool, is_allowed_name, is_in_progress_name, is_manifest_name, is_result_name
from manifests.names import FILE_NAME

ID = "20261122t081500-0123456789ab"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path / "spool")
    spool.prepare()
    spool.open_account("acme")
    return spool


def part(spool: Spool, content: bytes) -> Path:
    path = spool.new_part("acme")
    path.write_bytes(content)
    return path


def put(spool: Spool, name: str, content: bytes = b"content") -> None:
    spool.publish("acme", part(spool, content), name)


def test_folders_are_private_and_made_once(spool: Spool) -> None:
    put(spool, "a")
    spool.prepare()
    spool.open_account("acme")
    assert set(spool.files("acme")) == {"a"}
    folders = [path for path in spool.root.rglob("*") if path.is_dir()]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in [spool.root, *folders]} == {0o700}


def test_bytes_are_durable_before_their_name_and_the_name_before_publish_returns(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS S15, W10: watched at the system calls, which do what they always do."""
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    drop = spool.drop("acme").stat().st_ino

    def watched_fsync(descriptor: int) -> None:
        seen = os.fstat(descriptor)
        order.append("sync drop" if seen.st_ino == drop else "sync bytes" if stat.S_ISREG(seen.st_mode) else "other")
        fsync(descriptor)

    def watched_replace(source: Path, target: str, **folder: int) -> None:
        order.append("rename")
        replace(source, target, **folder)

    new = part(spool, b"content")
    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    spool.publish("acme", new, "a")
    assert order == ["sync bytes", "rename", "sync drop"]


@pytest.fixture
def synced_folders(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of the folders that were synced, in order."""
    order: list[int] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            order.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    return order


def test_file_that_was_moved_and_not_synced_is_synced_by_whoever_repeats_it(
    spool: Spool, synced_folders: list[int]
) -> None:
    """FAULTS W1, W10: else it could come back into the drop after it was imported, and be imported again."""
    put(spool, "a")
    assert spool.take("acme", "a", ID, "data")
    of_a_take = synced_folders[-3:]
    assert of_a_take[-1] == spool.drop("acme").stat().st_ino
    synced_folders.clear()
    assert spool.take("acme", "a", ID, "data")
    assert synced_folders == of_a_take


@pytest.mark.parametrize("replace", [False, True])
def test_name_that_cannot_be_made_durable_is_taken_away_again(spool: Spool, *, replace: bool) -> None:
    """FAULTS W11: its client is told that the upload failed, and sends the file again."""
    failpoints.arm({failpoints.VARIABLE: "publish.named:1:eio"})
    try:
        with pytest.raises(OSError, match="Input/output error"):
            spool.publish("acme", part(spool, b"content"), "a", replace=replace)
    finally:
        failpoints.arm({})
    assert spool.files("acme") == {}
    put(spool, "a")
    assert set(spool.files("acme")) == {"a"}


def test_publishing_replaces_a_file_that_nobody_has_taken(spool: Spool) -> None:
    put(spool, "a", b"old")
    put(spool, "a", b"new")
    assert (spool.drop("acme") / "a").read_bytes() == b"new"
    put(spool, "a", b"newer")
    assert spool.take("acme", "a", ID, "data")
    put(spool, "a", b"newest")
    assert spool.taken(ID, "data").read_bytes() == b"newer"


def test_part_that_cannot_be_published_stays_a_part(spool: Spool) -> None:
    new = part(spool, b"content")
    with pytest.raises(OSError, match="nobody"):
        spool.publish("nobody", new, "a")
    assert new.read_bytes() == b"content"


def test_taking_is_out_of_reach_of_clients_and_may_be_repeated(spool: Spool) -> None:
    put(spool, "a", b"first")
    assert spool.take("acme", "a", ID, "manifest")
    assert spool.files("acme") == {}
    put(spool, "a", b"second")
    assert spool.take("acme", "a", ID, "manifest")
    assert spool.taken(ID, "manifest").read_bytes() == b"first"
    assert set(spool.files("acme")) == {"a"}


def test_taking_what_is_not_there(spool: Spool) -> None:
    assert not spool.take("acme", "a", ID, "data")
    put(spool, "a")
    assert spool.take("acme", "a", ID, "data")


def test_taking_goes_on_after_a_crash_between_its_steps(spool: Spool) -> None:
    """FAULTS W1: after the folder was made; after the rename and before it was synced."""
    put(spool, "a")
    spool.taken(ID, "data").parent.mkdir()
    assert spool.take("acme", "a", ID, "data")
    put(spool, "b")
    (spool.drop("acme") / "b").rename(spool.taken(ID, "manifest"))
    assert spool.take("acme", "b", ID, "manifest")


def test_discarding_may_be_repeated_and_finishes_what_was_begun(spool: Spool) -> None:
    for name in ("a", "b"):
        put(spool, name)
    spool.take("acme", "a", ID, "manifest")
    spool.take("acme", "b", ID, "data")
    spool.taken(ID, "manifest").unlink()  # a crash after the first file
    spool.discard_taken(ID)
    spool.discard_taken(ID)
    assert not spool.taken(ID, "data").parent.exists()


def test_the_lock_excludes_others_for_the_same_account_only(spool: Spool) -> None:
    entered: list[str] = []

    def enter(account: str) -> None:
        with spool.locked(account):
            entered.append(account)

    with spool.locked("acme"):
        threads = [threading.Thread(target=enter, args=(account,)) for account in ("acme", "other")]
        for thread in threads:
            thread.start()
        threads[1].join(10)
        time.sleep(0.05)
        assert entered == ["other"]
    threads[0].join(10)
    assert entered == ["other", "acme"]


def test_the_lock_ends_with_an_exception(spool: Spool) -> None:
    with pytest.raises(LookupError), spool.locked("acme"):
        raise LookupError
    with spool.locked("acme"):
        pass


def test_only_plain_complete_files_with_an_allowed_name_are_seen(spool: Spool, tmp_path: Path) -> None:
    drop = spool.drop("acme")
    put(spool, "a.csv.asc")
    for name in ("a.filepart", "b.part", "c.TMP", "d.partial", ".hidden", "-dash", "ü", "semi;colon", "end "):
        (drop / name).write_bytes(b"x")
    (tmp_path / "outside").write_bytes(b"x")
    (drop / "link").symlink_to(tmp_path / "outside")
    (drop / "folder").mkdir()
    os.mkfifo(drop / "pipe")
    assert set(spool.files("acme")) == {"a.csv.asc"}
    assert spool.files("nobody") == {}


def test_old_parts_are_swept_and_new_ones_kept(spool: Spool) -> None:
    old, new = part(spool, b"old"), part(spool, b"new")
    os.utime(old, (0, 0))
    with spool.locked("acme"):
        assert spool.sweep_parts(older_than_s=3600) == 1
    assert (old.exists(), new.exists()) == (False, True)
    assert spool.sweep_parts(older_than_s=3600) == 0


def test_renaming_replaces_only_when_asked(spool: Spool) -> None:
    """FAULTS S12."""
    put(spool, "a", b"a")
    put(spool, "b", b"b")
    with pytest.raises(FileExistsError):
        spool.rename("acme", "a", "b", replace=False)
    spool.rename("acme", "a", "c", replace=False)
    spool.rename("acme", "c", "b", replace=True)
    assert (spool.drop("acme") / "b").read_bytes() == b"a"
    assert set(spool.files("acme")) == {"b"}
    for replace in (False, True):
        with pytest.raises(FileNotFoundError):
            spool.rename("acme", "nothing", "d", replace=replace)


def test_result_is_whole_and_the_same_name_replaces_it(spool: Spool) -> None:
    spool.write_result("acme", "r.json", b"old")
    spool.write_result("acme", "r.json", b"new")
    assert [path.read_bytes() for path in spool.results("acme").iterdir()] == [b"new"]
    assert list((spool.root / "parts" / "acme").iterdir()) == []


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=140) | st.text("aZ0 ._()+@-/\\\0\n", max_size=140))
@example("")
@example("a" * 128)
@example("a" * 129)
@example("a.")
@example("results/x")
def test_rule_for_names_is_that_of_manifests_and_leads_nowhere_else(name: str) -> None:
    """FAULTS S10, W13: the manifest's ``fileName`` and the door's names keep one rule."""
    assert is_allowed_name(name) == (FILE_NAME.fullmatch(name) is not None)
    if is_allowed_name(name):
        assert Path("/drop", name).parent == Path("/drop")
        assert name not in (".", "..")
        assert re.fullmatch(r"[\x20-\x7e]{1,128}", name)
        assert is_result_name(f"{name}.{ID}.rejects.csv.asc")


@pytest.mark.parametrize(
    ("name", "is_manifest"),
    [("a.manifest", True), ("A.MANIFEST", True), ("a.manifest.json", True), ("a.manifest.yml", True),
     ("a.manifest.yaml", True), ("a.json", False), ("manifest", False), ("a.manifest.asc", False)],
)  # fmt: skip
def test_names_of_manifests(name: str, *, is_manifest: bool) -> None:
    assert is_manifest_name(name) == is_manifest
    assert not is_in_progress_name(name)
    assert is_in_progress_name(f"{name}.filepart")

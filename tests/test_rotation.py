"""Rotation of the master key: interrupted anywhere, everything opens before and after it is finished."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from ingest.app import App
from ingest.custody import Rotation, make_pair
from ingest.errors import LedgerConflict, RotationRefused
from ingest.installation import Choices, initialise
from ingest.ledger.audit import lines
from ingest.ledger.audit_verify import verify_audit
from ingest.ledger.sealed import SEALED_COLUMNS
from ingest.ledger.tables import pgp_keys
from ingest.rotation import rotate
from ingest.settings import load_settings
from ingest.vault_state import vault_state
from keystore.errors import MasterKeyMissing
from keystore.master_key import make_master_key, next_key_file, old_key_file, read_master_key
from keystore.pgp_keys import PrivateKey
from keystore.vault import Vault
from tests.support.killed import Killed

pytestmark = pytest.mark.alone  # it looks at what other processes of this user leave behind


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with a pair: three secrets, of which one is the audit's first key."""
    folder = tmp_path_factory.mktemp("original") / "installation"
    settings = initialise(folder, Choices(host="127.0.0.1", port=2222, mail_host="", mail_port=587))
    with closing(App(settings)) as app:
        app.accounts.add("acme", now=app.now(), actor="test")
        make_pair(app, "acme", "cv25519", actor="test")
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return copied(original, tmp_path / "installation")


def copied(original: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    return folder


def opened(folder: Path) -> App:
    return App(load_settings(folder / "sealdrop.toml"))


def secrets(folder: Path) -> list[bytes]:
    """Every secret, opened by a process that has just started. Fails the test when one does not open."""
    found = []
    with closing(opened(folder)) as app:
        vault = app.open_vault()
        for sealed in SEALED_COLUMNS:
            table = sealed.column.table
            with app.database.read() as connection:
                for row in connection.execute(select(table)).mappings():
                    account = row[sealed.account] if sealed.account else ""
                    record = row[sealed.record] if sealed.record else ""
                    version = row[sealed.version] if sealed.version else 1
                    content = vault.open(row[sealed.column.name], sealed.record_id(account, record, version))
                    found.append(content.expose())
    return found


def unlocked(app: App, key_id: str) -> PrivateKey:
    return next(pair for pair in app.keyring.pairs("acme", key_id) if pair.key_id == key_id).unlocked()


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder in memory where there is such a place: SIGKILL loses nothing of it, and no disk has to be waited for."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def test_killed_at_every_step_everything_opens_before_and_after_it_is_resumed(original: Path, in_memory: Path) -> None:
    """FAULTS K3."""
    before = secrets(original)
    assert len(set(before)) == 3
    with Killed() as killed:
        folder = copied(original, in_memory / "installation")
        arguments = ("--config", folder / "sealdrop.toml", "vault", "rotate")
        steps, code = killed.run(*arguments, kill_at=1000)
        assert (steps > 20, code) == (True, 0)
        for step in range(1, steps + 1):
            copied(original, folder)
            assert killed.run(*arguments, kill_at=step) == (step, -9)
            assert secrets(folder) == before, step
            assert killed.run(*arguments)[1] == 0, step
            assert secrets(folder) == before, step
            for old in folder.glob("master.key.old-*"):
                old.unlink()  # destroyable
            assert secrets(folder) == before, step
            assert sorted(path.name for path in folder.glob("*master.key*")) == ["master.key"], step
            with closing(opened(folder)) as app:
                assert app.master_keys.counts().keys() == {app.open_vault().master_key_id}
                assert verify_audit(app.database, app.open_vault()).first_bad is None


def test_running_process_goes_on_without_a_pause(folder: Path) -> None:
    """FAULTS K3: both keys open while one is rotated, also for a process that was started before."""
    with closing(opened(folder)) as service, closing(opened(folder)) as operator:
        (key,) = service.pgp_keys.of_account("acme")
        service.open_vault()
        rotated = rotate(operator, new_key=None, actor="test")
        assert (rotated.secrets, rotated.damaged) == (3, ())
        assert unlocked(service, key.key_id).fingerprint == key.fingerprint
        made = make_pair(service, "acme", "cv25519", actor="test")
        assert service.open_vault().master_key_id == rotated.new_id
        again = rotate(operator, new_key=None, actor="test")
        assert (again.old_id, again.secrets) == (rotated.new_id, 5)
        assert unlocked(service, made.key_id).fingerprint == made.fingerprint


def test_every_pair_of_a_key_id_goes_over(folder: Path) -> None:
    """FAULTS K1, K3: each is sealed as the version that it is."""
    with closing(opened(folder)) as app:
        (former,) = app.pgp_keys.of_account("acme")
        until = app.now() + timedelta(days=1)
        made = make_pair(app, "acme", "cv25519", rotation=Rotation(former, until), actor="test")
        assert (made.key_id, made.version) == (former.key_id, 2)
        before = secrets(folder)
        assert rotate(app, new_key=None, actor="test").secrets == len(before) == 5
    assert secrets(folder) == before


def test_what_was_sealed_under_a_key_that_is_gone_is_not_stored(folder: Path) -> None:
    """FAULTS K3: by a constraint, so that the old key can be destroyed whatever other processes do."""
    with closing(opened(folder)) as slow, closing(opened(folder)) as operator:
        vault = slow.open_vault()
        rotate(operator, new_key=None, actor="test")
        slow.open_vault = lambda: vault  # type: ignore[method-assign]  # it had opened the vault before
        with pytest.raises(LedgerConflict):
            make_pair(slow, "acme", "cv25519", actor="test")
        assert len(operator.pgp_keys.of_account("acme")) == 1


def test_key_that_is_given_is_copied_and_used(folder: Path) -> None:
    make_master_key(folder / "given")
    given = read_master_key(folder / "given", "file")
    with closing(opened(folder)) as app:
        assert given is not None
        rotated = rotate(app, new_key=given, actor="test")
        assert rotated.new_id == given.id
        assert rotated.old_key_file == old_key_file(folder / "master.key", rotated.old_id)
    assert (folder / "master.key").read_bytes() == (folder / "given").read_bytes()
    assert (folder / "master.key").stat().st_mode & 0o777 == 0o600
    assert not (folder / "master.key").samefile(folder / "given")
    assert secrets(folder)


def test_key_in_use_is_no_new_key(folder: Path) -> None:
    with closing(opened(folder)) as app:
        with pytest.raises(RotationRefused, match="in use already"):
            rotate(app, new_key=read_master_key(folder / "master.key", "file"), actor="test")
        assert not next_key_file(folder / "master.key").exists()


def test_rotation_that_was_begun_is_finished_before_another(folder: Path) -> None:
    make_master_key(next_key_file(folder / "master.key"))  # one that was cut off in its first step
    make_master_key(folder / "given")
    with closing(opened(folder)) as app:
        with pytest.raises(RotationRefused, match="was begun"):
            rotate(app, new_key=read_master_key(folder / "given", "file"), actor="test")
        following = app.held_keys.following()
        assert following is not None
        assert rotate(app, new_key=None, actor="test").new_id == following.id


def test_one_rotation_at_a_time(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with closing(opened(folder)) as app, pytest.raises(RotationRefused, match="Another rotation"):
            rotate(app, new_key=None, actor="test")
    finally:
        os.close(lock)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_rotation_as_another_user_is_refused(folder: Path) -> None:
    """Its key file could not be read by the service."""
    os.chown(folder / "data", 12345, -1)
    with closing(opened(folder)) as app, pytest.raises(RotationRefused, match="12345"):
        rotate(app, new_key=None, actor="test")
    assert not next_key_file(folder / "master.key").exists()


def test_damaged_secret_keeps_the_old_key_and_stops_nothing_else(folder: Path) -> None:
    """FAULTS K1, K3."""
    with closing(opened(folder)) as app:
        good, bad = app.pgp_keys.of_account("acme")[0], make_pair(app, "acme", "cv25519", actor="test")
        found = app.pgp_keys.sealed("acme", good.key_id, 1)
        assert found is not None
        with app.database.write() as connection:
            taken = update(pgp_keys).where(pgp_keys.c.key_id == bad.key_id)
            connection.execute(taken.values(sealed_private_key=found.private_key))
        rotated = rotate(app, new_key=None, actor="test")
        assert [(record.record, record.kind) for record in rotated.damaged] == [(bad.key_id, "pgp.private_key")]
        assert app.master_keys.counts() == {rotated.old_id: 1, rotated.new_id: 4}
        assert unlocked(app, good.key_id).fingerprint == good.fingerprint
        with app.database.write() as connection:
            connection.execute(delete(pgp_keys).where(pgp_keys.c.key_id == bad.key_id))
        assert rotate(app, new_key=None, actor="test").old_key_file is not None
        assert app.master_keys.counts() == {rotated.new_id: 3}


def test_key_from_a_credential_is_left_to_the_operator(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAULTS K2, K3."""
    credential = tmp_path / "master-key"
    (folder / "master.key").rename(credential)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    before = credential.read_bytes()
    following = next_key_file(folder / "master.key")
    with closing(opened(folder)) as app:
        rotated = rotate(app, new_key=None, actor="test")
        assert (rotated.old_key_file, credential.read_bytes()) == (None, before)
    assert len(secrets(folder)) == 3
    with closing(opened(folder)) as restarted:
        state = vault_state(restarted)
        assert (state.master_key, state.problem) == (rotated.new_id, None)
        assert "systemd-creds encrypt --name=master-key" in str(state.to_do)
        with pytest.raises(RotationRefused, match="put it into the systemd credential"):
            rotate(restarted, new_key=None, actor="test")
    credential.write_bytes(following.read_bytes())
    with closing(opened(folder)) as restarted:
        assert f"{following} is no longer needed" in str(vault_state(restarted).to_do)
    following.unlink()
    with closing(opened(folder)) as restarted:
        state = vault_state(restarted)
        assert (state.source, state.to_do) == ("the systemd credential master-key", None)
    assert len(secrets(folder)) == 3


def test_key_from_the_environment_is_left_to_the_operator(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS K2, K3."""
    monkeypatch.setenv("SEALDROP_VAULT__ALLOW_ENVIRONMENT", "true")
    monkeypatch.setenv("SEALDROP_MASTER_KEY", (folder / "master.key").read_text())
    (folder / "master.key").unlink()
    with closing(opened(folder)) as app:
        assert app.open_vault()
        assert rotate(app, new_key=None, actor="test").old_key_file is None
        assert "environment" in str(vault_state(app).to_do)
    following = next_key_file(folder / "master.key")
    monkeypatch.setenv("SEALDROP_MASTER_KEY", following.read_text())
    following.unlink()
    assert len(secrets(folder)) == 3


def test_key_file_that_cannot_be_replaced_is_told_and_can_be_replaced_later(folder: Path) -> None:
    with closing(opened(folder)) as app:
        in_the_way = old_key_file(folder / "master.key", app.open_vault().master_key_id)
        in_the_way.mkdir()
        rotated = rotate(app, new_key=None, actor="test")
        assert rotated.old_key_file is None
    assert len(secrets(folder)) == 3
    with closing(opened(folder)) as app:
        assert "rename it" in str(vault_state(app).to_do)
        in_the_way.rmdir()
        finished = rotate(app, new_key=None, actor="test")
        assert (finished.new_id, finished.secrets, finished.old_key_file) == (rotated.new_id, 0, in_the_way)
        assert vault_state(app).to_do is None
    assert len(secrets(folder)) == 3


def test_next_key_that_is_lost_in_the_middle_is_named(folder: Path) -> None:
    """FAULTS K2: nothing is re-created."""
    make_master_key(next_key_file(folder / "master.key"))
    with closing(opened(folder)) as app:
        following, old = app.held_keys.following(), app.held_keys.first()
        assert following is not None
        assert old is not None
        app.master_keys.begin(Vault(following.secret, old.secret), at=app.now(), actor="test")
    kept = next_key_file(folder / "master.key").rename(folder / "kept")
    with closing(opened(folder)) as app:
        with pytest.raises(MasterKeyMissing, match="unfinished") as raised:
            rotate(app, new_key=None, actor="test")
        assert following.id in raised.value.detail
    kept.rename(next_key_file(folder / "master.key"))
    with closing(opened(folder)) as app:
        assert rotate(app, new_key=None, actor="test").new_id == following.id


def test_rotation_is_audited(folder: Path) -> None:
    with closing(opened(folder)) as app:
        rotated = rotate(app, new_key=None, actor="cli:ann")
        with app.database.read() as connection:
            done, begun = list(lines(connection, limit=2, newest_first=True))
    assert (begun.actor, begun.action, begun.subject, begun.outcome) == (
        "cli:ann",
        "vault.rotate",
        rotated.new_id,
        "begun",
    )
    assert (done.subject, done.outcome) == (rotated.new_id, "done")

"""The vault and the master key."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystore.errors import MasterKeyMissing, MasterKeyWrong, RecordTampered
from keystore.master_key import find_master_key, make_master_key, read_master_key
from keystore.secret import Secret
from keystore.vault import RecordId, Vault

RECORD = RecordId(account="acme", record="key-1", kind="pgp.private_key", version=1)


@pytest.fixture
def vault() -> Vault:
    return Vault(Secret(os.urandom(32)))


@given(plain=st.binary(max_size=2000))
@settings(max_examples=30, deadline=None)
def test_sealed_record_opens_as_itself(plain: bytes) -> None:
    vault = Vault(Secret(b"k" * 32))
    assert vault.open(vault.seal(plain, RECORD), RECORD).expose() == plain


@pytest.mark.parametrize(
    "other", [replace(RECORD, account="other"), replace(RECORD, record="other"), replace(RECORD, kind="other")]
)
def test_record_does_not_open_as_another(vault: Vault, other: RecordId) -> None:
    """FAULTS K1: swapping records between accounts, keys or kinds fails."""
    sealed = vault.seal(b"secret", RECORD)
    with pytest.raises(RecordTampered):
        vault.open(sealed, other)


def test_record_does_not_open_as_another_version(vault: Vault) -> None:
    """FAULTS K1: an older version put back does not open as the newer one."""
    with pytest.raises(RecordTampered):
        vault.open(vault.seal(b"secret", RECORD), replace(RECORD, version=2))


def test_identities_that_join_to_the_same_text_differ() -> None:
    one = RecordId("ab", "c", "k", 1).associated_data()
    assert one != RecordId("a", "bc", "k", 1).associated_data()


@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_flipped_bit_is_noticed(position: int, bit: int) -> None:
    """FAULTS K1: bit flips anywhere."""
    vault = Vault(Secret(b"k" * 32))
    sealed = bytearray(vault.seal(b"secret", RECORD))
    sealed[position % len(sealed)] ^= 1 << bit
    with pytest.raises((RecordTampered, MasterKeyWrong)):
        vault.open(bytes(sealed), RECORD)


def test_other_master_key_is_named_as_such(vault: Vault) -> None:
    with pytest.raises(MasterKeyWrong):
        Vault(Secret(os.urandom(32))).open(vault.seal(b"secret", RECORD), RECORD)


def test_secret_does_not_print_or_pickle() -> None:
    secret = Secret(b"hunter2")
    assert "hunter2" not in repr(secret) + str(secret) + f"{secret}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_master_key_file_is_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    make_master_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        make_master_key(path)
    assert path.read_bytes() == before
    assert len(load_master_key(path, allow_environment=False).expose()) == 32


def test_master_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """FAULTS K2."""
    path = tmp_path / "master.key"
    make_master_key(path)
    path.chmod(0o644)
    with pytest.raises(MasterKeyMissing, match="chmod 600"):
        load_master_key(path, allow_environment=False)


def test_environment_counts_only_when_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS K2: refused unless flagged, and gone from the environment once read."""
    monkeypatch.setenv("SEALDROP_MASTER_KEY", "ab" * 32)
    with pytest.raises(MasterKeyMissing):
        load_master_key(tmp_path / "none", allow_environment=False)
    assert load_master_key(tmp_path / "none", allow_environment=True).expose() == b"\xab" * 32
    assert "SEALDROP_MASTER_KEY" not in os.environ


def test_systemd_credential_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAULTS K2: order of sources."""
    make_master_key(tmp_path / "file.key")
    (tmp_path / "master-key").write_text("cd" * 32 + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_master_key(tmp_path / "file.key", allow_environment=False).expose() == b"\xcd" * 32


@pytest.mark.parametrize("content", ["", "zz" * 32, "ab" * 31, "ab" * 33])
def test_file_without_a_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(MasterKeyMissing):
        load_master_key(path, allow_environment=False)

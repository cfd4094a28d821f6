"""The vault."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystore.errors import MasterKeyWrong, RecordTampered
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


@given(plain=st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_rewrapped_record_opens_under_the_new_key_alone(plain: bytes) -> None:
    """FAULTS K3: the record itself is not touched, and the old key is not needed again."""
    old, new = Secret(b"o" * 32), Secret(b"n" * 32)
    sealed = Vault(old).seal(plain, RECORD)
    anew = Vault(new, old).rewrap(sealed, RECORD)
    assert Vault(new).open(anew, RECORD).expose() == plain
    assert Vault(new, old).open(sealed, RECORD).expose() == plain
    assert anew[69:] == sealed[69:]
    with pytest.raises(MasterKeyWrong):
        Vault(old).open(anew, RECORD)


def test_each_rewrap_has_a_nonce_of_its_own(vault: Vault) -> None:
    sealed = vault.seal(b"secret", RECORD)
    assert len({vault.rewrap(sealed, RECORD)[9:21] for _ in range(50)}) == 50


def test_record_is_not_rewrapped_as_another(vault: Vault) -> None:
    """FAULTS K1: a rotation does not make a swapped record good."""
    with pytest.raises(RecordTampered):
        vault.rewrap(vault.seal(b"secret", RECORD), replace(RECORD, account="other"))


def test_change_of_the_body_survives_a_rewrap_and_is_noticed(vault: Vault) -> None:
    """FAULTS K1."""
    sealed = bytearray(vault.seal(b"secret", RECORD))
    sealed[-1] ^= 1
    with pytest.raises(RecordTampered):
        vault.open(vault.rewrap(bytes(sealed), RECORD), RECORD)

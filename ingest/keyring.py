"""The keyring of a worker: the pairs that a file of an account may be for, unlocked when one is, kept for a while."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from failpoints import passing
from ingest.clock import Now
from ingest.ledger.pgp_keys import PgpKey, PgpKeys
from ingest.ledger.sealed import PGP_PASSPHRASE, PGP_PRIVATE_KEY
from ingest.states import PairState
from keystore.errors import KeyRetired, KeyUnknown
from keystore.pgp_keys import PrivateKey
from keystore.pgp_pair import StoredPair
from keystore.secret import Secret
from keystore.vault import RecordId, Vault


def private_key_record(account: str, key_id: str, version: int) -> RecordId:
    """The identity under which a pair's private key is sealed; ``version`` is the pair's within its key ID."""
    return PGP_PRIVATE_KEY.record_id(account, key_id, version)


def passphrase_record(account: str, key_id: str, version: int) -> RecordId:
    """The identity under which a pair's passphrase is sealed; ``version`` is the pair's within its key ID."""
    return PGP_PASSPHRASE.record_id(account, key_id, version)


@dataclass(slots=True)
class _Unlocked:
    key: PrivateKey
    until: float


class Keyring:
    """Opens an account's pairs, and keeps each ``keep_s`` seconds: unlocking one costs some tenths of a second.

    ``open_vault`` is asked after a pair was read from the ledger: so the vault has the master key that the pair names,
    also in the middle of a rotation.
    """

    def __init__(self, keys: PgpKeys, open_vault: Callable[[], Vault], *, keep_s: float, now: Now) -> None:
        self._keys = keys
        self._open_vault = open_vault
        self._keep_s = keep_s
        self._now = now
        self._unlocked: dict[tuple[str, str, int, bytes], _Unlocked] = {}

    def pairs(
        self,
        account: str,
        key_id: str | None,
        *,
        unlocking: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> list[StoredPair]:
        """The account's pairs for a file whose manifest names ``key_id``, or names none; none is unlocked yet.

        First those of the key ID, primary before previous; then the account's others, active before retiring: the
        message decides which of them it is for. Those that no longer open files say so when they are unlocked. The
        states and the signature policies are read from the ledger each time: a pair that was retired
        meanwhile opens nothing. ``unlocking`` is entered while one is unlocked. Raises `KeyUnknown` when no pair of
        the account has this key ID (also when another account's has).
        """
        self.forget_old()
        now = self._now()
        stored = self._keys.of_account(account)
        if key_id is not None and not any(key.key_id == key_id for key in stored):
            raise KeyUnknown(f"The account has no stored key pair with the key ID {key_id} (`keyId` in the manifest).")
        for ended in [key for key in stored if not key.opens_files(now)]:
            if kept := self._unlocked.pop(_name(ended), None):
                kept.key.forget()
        wanted = [key for key in stored if key.state is not PairState.DESTROYED or key.key_id == key_id]

        def turn(key: PgpKey) -> tuple[bool, bool, bool, int]:
            return (key.key_id != key_id, not key.opens_files(now), key.state is not PairState.ACTIVE, -key.version)

        return [self.stored(key, unlocking=unlocking) for key in sorted(wanted, key=turn)]

    def stored(self, key: PgpKey, *, unlocking: Callable[[], AbstractContextManager[None]] = nullcontext) -> StoredPair:
        """This pair, as `pairs` has it."""
        now = self._now()

        def unlock() -> PrivateKey:
            with unlocking():
                return self._unlock(key, now)

        return StoredPair(key.key_id, key.public_key, key.signatures, opens_files=key.opens_files(now), unlock=unlock)

    def forget_old(self) -> None:
        """Drop the pairs that nobody needed for a while."""
        now = monotonic()
        for name in [name for name, kept in self._unlocked.items() if kept.until < now]:
            self._unlocked.pop(name).key.forget()

    def _unlock(self, key: PgpKey, now: datetime) -> PrivateKey:
        if not key.opens_files(now):
            state = PairState.RETIRED if key.state is PairState.RETIRING else key.state
            raise KeyRetired(
                f"The file is encrypted to the key pair {key.fingerprint} (keyId {key.key_id}), which is {state} and "
                "opens no more files."
            )
        kept = self._unlocked.get(_name(key))
        if kept is None:
            kept = self._unlocked[_name(key)] = _Unlocked(self._open(key), 0)
            passing("key.unlocked")
        kept.until = monotonic() + self._keep_s
        return kept.key

    def _open(self, key: PgpKey) -> PrivateKey:
        identity = (key.account, key.key_id, key.version)
        sealed = self._keys.sealed(*identity)
        if sealed is None:
            raise KeyRetired(f"The key pair {key.fingerprint} (keyId {key.key_id}) was destroyed just now.")
        vault = self._open_vault()
        passphrase: Secret | None = None
        if sealed.passphrase is not None:
            passphrase = vault.open(sealed.passphrase, passphrase_record(*identity))
        private_key = vault.open(sealed.private_key, private_key_record(*identity))
        return PrivateKey.unlock(key.key_id, private_key, passphrase)


def _name(key: PgpKey) -> tuple[str, str, int, bytes]:
    """Which pair it is, and in which form: its owner may have put another export of it in its place."""
    return key.account, key.key_id, key.version, key.public_key

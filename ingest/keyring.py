"""The keyring of a worker: from a manifest's key ID to an unlocked pair, which it keeps for a bounded time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from ingest.ledger.pgp_keys import PgpKeys, SealedPair
from ingest.ledger.sealed import PGP_PASSPHRASE, PGP_PRIVATE_KEY
from keystore.errors import KeyRetired, KeyUnknown
from keystore.pgp_keys import PrivateKey
from keystore.secret import Secret
from keystore.vault import RecordId, Vault


def private_key_record(account: str, key_id: str) -> RecordId:
    """The identity under which a pair's private key is sealed."""
    return PGP_PRIVATE_KEY.record_id(account, key_id)


def passphrase_record(account: str, key_id: str) -> RecordId:
    """The identity under which a pair's passphrase is sealed."""
    return PGP_PASSPHRASE.record_id(account, key_id)


@dataclass(slots=True)
class _Unlocked:
    key: PrivateKey
    until: float


class Keyring:
    """Opens an account's pairs, and keeps each ``keep_s`` seconds: unlocking one costs some tenths of a second.

    ``open_vault`` is asked after a pair was read from the ledger: so the vault has the master key that the pair names,
    also in the middle of a rotation.
    """

    def __init__(self, keys: PgpKeys, open_vault: Callable[[], Vault], *, keep_s: float) -> None:
        self._keys = keys
        self._open_vault = open_vault
        self._keep_s = keep_s
        self._unlocked: dict[tuple[str, str], _Unlocked] = {}

    def unlock(self, account: str, key_id: str) -> PrivateKey:
        """The account's pair with this key ID.

        Raises `KeyUnknown` (also when another account has it), `KeyRetired`, and what the vault raises. The state and
        the signature policy are read from the ledger each time: a pair that was retired meanwhile opens nothing.
        """
        self.forget_old()
        found = self._keys.find(account, key_id)
        if found is None:
            raise KeyUnknown(f"The account has no stored key pair with the key ID {key_id} (`keyId` in the manifest).")
        key, sealed = found
        if key.state != "active":
            raise KeyRetired(f"The key pair {key_id} (`keyId` in the manifest) is {key.state} and opens no more files.")
        kept = self._unlocked.get((account, key_id))
        if kept is None:
            kept = self._unlocked[account, key_id] = _Unlocked(self._open(account, key_id, sealed), 0)
        kept.key.signatures = key.signatures
        kept.until = monotonic() + self._keep_s
        return kept.key

    def forget_old(self) -> None:
        """Drop the pairs that nobody needed for a while."""
        now = monotonic()
        for name in [name for name, kept in self._unlocked.items() if kept.until < now]:
            self._unlocked.pop(name).key.forget()

    def _open(self, account: str, key_id: str, sealed: SealedPair) -> PrivateKey:
        vault = self._open_vault()
        passphrase: Secret | None = None
        if sealed.passphrase is not None:
            passphrase = vault.open(sealed.passphrase, passphrase_record(account, key_id))
        private_key = vault.open(sealed.private_key, private_key_record(account, key_id))
        return PrivateKey.unlock(key_id, private_key, passphrase)

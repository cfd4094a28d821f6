"""What is known of a key pair before it is unlocked: enough to tell whether a message may be for it.

Unlocking costs some tenths of a second and a secret in memory, so the engines look at the public facts first and unlock
only what the message's recipients may mean (FAULTS.md P17).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from keystore.openpgp.facts import SignaturePolicy
from keystore.openpgp.gnupg import ALGORITHMS as GNUPG_ALGORITHMS
from keystore.openpgp.session_key import RSA_ALGORITHMS
from keystore.pgp_certificate import Certificate, parse_public

if TYPE_CHECKING:
    from keystore.pgp_keys import PrivateKey


class Pair(ABC):
    """A pair's public facts, and the way to its secrets; compares by identity.

    ``openpgp_key_ids`` are the 8-octet IDs of the primary key and all subkeys, ``algorithms`` the public-key algorithms
    (RFC 9580 §9.1) of those that decrypt natively; ``gnupg_reads`` says whether GnuPG 2.2 can import the pair at all;
    ``signatures`` is what the signatures of a message to this pair mean; a pair that no longer ``opens_files`` only
    explains why. Expired and revoked subkeys still decrypt what was sent to them (FAULTS.md P16); ``expires_at`` is
    when senders can no longer encrypt to the pair.
    """

    def __init__(
        self, key_id: str, certificate: Certificate, public_armored: bytes, signatures: SignaturePolicy
    ) -> None:
        self.key_id = key_id
        self.signatures: SignaturePolicy = signatures
        self.opens_files = True
        self.fingerprint = certificate.primary.fingerprint.hex().upper()
        self.openpgp_key_ids = frozenset(part.key_id for part in certificate.parts)
        natively = {part.algorithm for part in certificate.encrypting()}
        self.algorithms = natively | (RSA_ALGORITHMS if natively & RSA_ALGORITHMS else set())
        self.gnupg_reads = certificate.primary.version == 4 and certificate.primary.algorithm in GNUPG_ALGORITHMS
        self.expires_at = certificate.usable_until()
        self._public = public_armored

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key_id={self.key_id!r}, fingerprint={self.fingerprint!r})"

    def public_armored(self) -> bytes:
        """The public certificate, for encrypting to the same pair."""
        return self._public

    @abstractmethod
    def unlocked(self) -> PrivateKey:
        """The pair with its secrets. Raises `KeyRetired` when it no longer opens files."""


class StoredPair(Pair):
    """A pair that rests in the vault until a message names it; ``unlock`` fetches it and says why when it may not."""

    def __init__(
        self,
        key_id: str,
        public_armored: bytes,
        signatures: SignaturePolicy,
        *,
        opens_files: bool,
        unlock: Callable[[], PrivateKey],
    ) -> None:
        super().__init__(key_id, parse_public(public_armored), public_armored, signatures)
        self.opens_files = opens_files
        self._unlock = unlock

    def unlocked(self) -> PrivateKey:
        """What ``unlock`` gives or raises: `KeyRetired`, and what the vault raises."""
        return self._unlock()

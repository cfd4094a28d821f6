"""The vault: seals secrets for rest in the ledger.

Envelope encryption. Each record has a data key of its own (AES-256-GCM); the data key is wrapped by the master key
(AES-256-GCM). Both bind the record's identity as associated data, so that a sealed record that was copied to another
account, another key or an older version does not open (FAULTS.md K1).

    byte 0        format, 1
    bytes 1-8     which master key wrapped the data key: first half of SHA-256 over a fixed label and the key
    bytes 9-20    nonce of the wrap
    bytes 21-68   wrapped data key (32 bytes) and its tag (16 bytes)
    bytes 69-80   nonce of the record
    bytes 81-     the record and its tag
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystore.errors import MasterKeyWrong, RecordTampered
from keystore.master_key import MASTER_KEY_BYTES
from keystore.secret import Secret

_FORMAT = b"\x01"
_NONCE = 12
_WRAPPED = MASTER_KEY_BYTES + 16


@dataclass(frozen=True, slots=True)
class RecordId:
    """Whose secret a sealed record is: account, record ID, kind (``pgp.private`` ...) and version of the record."""

    account: str
    record: str
    kind: str
    version: int

    def associated_data(self) -> bytes:
        """The identity as bytes that no other identity shares: each part with its length before it."""
        parts = (self.account, self.record, self.kind, str(self.version))
        return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)


class Vault:
    """Seals and opens records under one master key; holds the key for as long as it lives."""

    def __init__(self, master_key: Secret) -> None:
        self._wrap = AESGCM(master_key.expose())
        self._master_id = hashlib.sha256(b"sealdrop master key id" + master_key.expose()).digest()[:8]

    def seal(self, plain: bytes, record: RecordId) -> bytes:
        """The sealed form of ``plain``; each call makes a new data key and new nonces."""
        identity = record.associated_data()
        data_key = AESGCM.generate_key(256)
        wrap_nonce, nonce = os.urandom(_NONCE), os.urandom(_NONCE)
        wrapped = self._wrap.encrypt(wrap_nonce, data_key, identity)
        sealed = AESGCM(data_key).encrypt(nonce, plain, identity)
        return _FORMAT + self._master_id + wrap_nonce + wrapped + nonce + sealed

    def open(self, sealed: bytes, record: RecordId) -> Secret:
        """The secret that was sealed for exactly this record.

        Raises `MasterKeyWrong` when another master key sealed it, `RecordTampered` when it was changed or is another
        record.
        """
        format_byte, rest = sealed[:1], sealed[1:]
        if format_byte != _FORMAT or len(rest) < 8 + _NONCE + _WRAPPED + _NONCE + 16:
            raise RecordTampered("A stored secret is damaged.", detail=f"{record} is not a sealed record of format 1")
        master_id, rest = rest[:8], rest[8:]
        if master_id != self._master_id:
            raise MasterKeyWrong(
                "The master key is not the one that sealed the stored secrets.", detail=f"{record} names another one"
            )
        wrap_nonce, rest = rest[:_NONCE], rest[_NONCE:]
        wrapped, rest = rest[:_WRAPPED], rest[_WRAPPED:]
        nonce, body = rest[:_NONCE], rest[_NONCE:]
        identity = record.associated_data()
        try:
            data_key = self._wrap.decrypt(wrap_nonce, wrapped, identity)
            return Secret(AESGCM(data_key).decrypt(nonce, body, identity))
        except InvalidTag:
            raise RecordTampered(
                "A stored secret is damaged.", detail=f"{record} does not open as the record that it claims to be"
            ) from None

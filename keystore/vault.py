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

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystore.errors import MasterKeyWrong, RecordTampered
from keystore.master_key import MASTER_KEY_BYTES, master_key_id
from keystore.secret import Secret

_FORMAT = b"\x01"
_ID = slice(1, 9)
_NONCE = 12
_WRAPPED = MASTER_KEY_BYTES + 16
_BODY = 1 + 8 + _NONCE + _WRAPPED  # where the record begins, with its nonce


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
    """Seals records under one master key, and opens what this one or an ``older`` one sealed; holds the keys for as
    long as it lives.
    """

    def __init__(self, master_key: Secret, *older: Secret) -> None:
        self.master_key_id = master_key_id(master_key)
        self._wraps = {bytes.fromhex(master_key_id(key)): AESGCM(key.expose()) for key in (*older, master_key)}

    def seal(self, plain: bytes, record: RecordId) -> bytes:
        """The sealed form of ``plain``; each call makes a new data key and new nonces."""
        identity = record.associated_data()
        data_key = AESGCM.generate_key(256)
        nonce = os.urandom(_NONCE)
        return self._wrapped(data_key, identity) + nonce + AESGCM(data_key).encrypt(nonce, plain, identity)

    def open(self, sealed: bytes, record: RecordId) -> Secret:
        """The secret that was sealed for exactly this record.

        Raises `MasterKeyWrong` when a master key sealed it that is not at hand, `RecordTampered` when it was changed or
        is another record.
        """
        data_key = self._data_key(sealed, record)
        nonce, body = sealed[_BODY : _BODY + _NONCE], sealed[_BODY + _NONCE :]
        try:
            return Secret(AESGCM(data_key).decrypt(nonce, body, record.associated_data()))
        except InvalidTag:
            raise _tampered(record) from None

    def rewrap(self, sealed: bytes, record: RecordId) -> bytes:
        """The same sealed record with its data key wrapped by this vault's master key; the record itself stays closed.

        Raises what `open` raises; a change to the body alone is noticed by `open` only.
        """
        return self._wrapped(self._data_key(sealed, record), record.associated_data()) + sealed[_BODY:]

    def _wrapped(self, data_key: bytes, identity: bytes) -> bytes:
        master_id, nonce = bytes.fromhex(self.master_key_id), os.urandom(_NONCE)
        return _FORMAT + master_id + nonce + self._wraps[master_id].encrypt(nonce, data_key, identity)

    def _data_key(self, sealed: bytes, record: RecordId) -> bytes:
        if sealed[:1] != _FORMAT or len(sealed) < _BODY + _NONCE + 16:
            raise RecordTampered("A stored secret is damaged.", detail=f"{record} is not a sealed record of format 1")
        wrap = self._wraps.get(sealed[_ID])
        if wrap is None:
            raise MasterKeyWrong(
                "The master key is not the one that sealed the stored secrets.",
                detail=f"{record} is sealed under the master key with the ID {sealed[_ID].hex()}",
            )
        nonce, wrapped = sealed[9 : 9 + _NONCE], sealed[9 + _NONCE : _BODY]
        try:
            return wrap.decrypt(nonce, wrapped, record.associated_data())
        except InvalidTag:
            raise _tampered(record) from None


def _tampered(record: RecordId) -> RecordTampered:
    return RecordTampered(
        "A stored secret is damaged.", detail=f"{record} does not open as the record that it claims to be"
    )

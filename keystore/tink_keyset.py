"""Tink keysets of HPKE keys: read with every check, written, made; sealing with one and opening with one.

A message is Tink's prefix, then what `hpke` makes (Tink's wire format): with prefix ``TINK`` 0x01 and the ID of the key
in four bytes, with ``RAW`` nothing. The prefix is a hint that anybody can change; only the open itself proves a key.

Keys that are not ``ENABLED`` are left out when a keyset is read: nobody may use them, and writing does not bring them
back. Their IDs still must not collide, and a private one among public ones is as exposed as an enabled one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from keystore import tink_json, tink_messages
from keystore.errors import KeysetRejected
from keystore.hpke import HpkePrivateKey, HpkePublicKey, Kem
from keystore.protobuf import MessageInvalid
from keystore.secret import Secret
from keystore.tink_messages import (
    HpkeParams,
    KeyMessage,
    KeysetMessage,
    Material,
    OutputPrefix,
    PrivateKeyMessage,
    PublicKeyMessage,
    Status,
)

__all__ = ["MAX_KEYS", "MAX_KEYSET_BYTES", "KeysetKey", "OutputPrefix", "PrivateKeyset", "PublicKeyset"]

MAX_KEYSET_BYTES = 64 * 1024
MAX_KEYS = 10
_PUBLIC_URL = "type.googleapis.com/google.crypto.tink.HpkePublicKey"
_PRIVATE_URL = "type.googleapis.com/google.crypto.tink.HpkePrivateKey"
_KEMS = {1: Kem.X25519, 5: Kem.X_WING}  # hpke.proto: DHKEM_X25519_HKDF_SHA256, X_WING
_NUMBERS = {kem: number for number, kem in _KEMS.items()}
_HKDF_SHA256, _AES_256_GCM = 1, 2
_DAMAGED = "The keyset is neither a Tink keyset in JSON nor one in binary, or it is damaged. Export it again."
_HOW = (
    "Make it from Tink's template DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_256_GCM or "
    "X_WING_HKDF_SHA256_HKDF_SHA256_AES_256_GCM."
)
_EXPOSED = (
    "The keyset holds a secret key, and only public ones may leave your hands: treat that key as exposed. Make a new "
    "keyset, and upload what `tinkey create-public-keyset` makes of it."
)
_SECRET = (Material.SYMMETRIC, Material.ASYMMETRIC_PRIVATE)
_SHOWN = 80  # characters of a text that somebody else chose

Key = TypeVar("Key", HpkePublicKey, HpkePrivateKey)


@dataclass(frozen=True, slots=True)
class KeysetKey(Generic[Key]):
    """A key of a keyset; ``tink_key_id`` is a number of 32 bits and no secret.

    Raises `KeysetRejected` when ``prefix`` is neither ``TINK`` nor ``RAW``.
    """

    tink_key_id: int
    prefix: OutputPrefix
    key: Key

    def __post_init__(self) -> None:
        if self.prefix not in (OutputPrefix.TINK, OutputPrefix.RAW):
            raise KeysetRejected(f"The output prefix {self.prefix.name} is not accepted, only TINK and RAW. {_HOW}")

    @property
    def output_prefix(self) -> bytes:
        """What stands in front of its messages."""
        return b"\x01" + self.tink_key_id.to_bytes(4) if self.prefix is OutputPrefix.TINK else b""


@dataclass(frozen=True, slots=True)
class PublicKeyset:
    """Whom messages are sealed to; the primary key stands first and is the only one that seals."""

    keys: tuple[KeysetKey[HpkePublicKey], ...]

    @classmethod
    def read(cls, data: bytes) -> PublicKeyset:
        """A keyset in JSON or binary, checked before it is stored.

        Raises `KeysetRejected`: too large, no keyset, a private one, no enabled primary key, doubled IDs, more than
        `MAX_KEYS` keys; a key of another type, version, suite or prefix, of a wrong length, or of low order.
        """
        # the names of types stand in both forms as they are, so also a damaged keyset is told
        if b"PrivateKey" in data:
            raise KeysetRejected(_EXPOSED)
        message = _message(data)
        if any(key.material in _SECRET for key in message.keys):
            raise KeysetRejected(_EXPOSED)
        return cls(_enabled(message, _public_key))

    def as_binary(self) -> bytes:
        """The keyset in Tink's binary form."""
        return tink_messages.write_keyset(self._message())

    def as_json(self) -> bytes:
        """The keyset in Tink's JSON form."""
        return tink_json.write_json(self._message())

    def seal(self, plain: bytes, account: str) -> bytes:
        """A message with ``plain``, which only the owner of the primary key opens, for ``account`` only."""
        primary = self.keys[0]
        return primary.output_prefix + primary.key.seal(plain, account)

    def _message(self) -> KeysetMessage:
        return _written(self.keys, _PUBLIC_URL, Material.ASYMMETRIC_PUBLIC, _public_value)


@dataclass(frozen=True, slots=True)
class PrivateKeyset:
    """What opens messages; the primary key stands first. Prints no secret."""

    keys: tuple[KeysetKey[HpkePrivateKey], ...]

    @classmethod
    def generate(
        cls,
        kem: Kem = Kem.X25519,
        prefix: OutputPrefix = OutputPrefix.TINK,
        *,
        taken: Collection[int] = (),
    ) -> PrivateKeyset:
        """A keyset of one new key, whose ID is none of those ``taken``."""
        tink_key_id = 0
        while not tink_key_id or tink_key_id in taken:
            tink_key_id = secrets.randbits(32)
        return cls((KeysetKey(tink_key_id, prefix, HpkePrivateKey.generate(kem)),))

    @classmethod
    def read(cls, data: Secret) -> PrivateKeyset:
        """A keyset in JSON or binary, with the checks of `PublicKeyset.read`, and that the halves of a key fit.

        Raises `KeysetRejected`.
        """
        return cls(_enabled(_message(data.expose()), _private_key))

    def as_binary(self) -> Secret:
        """The keyset in Tink's binary form."""
        return Secret(tink_messages.write_keyset(self._message()))

    def as_json(self) -> Secret:
        """The keyset in Tink's JSON form."""
        return Secret(tink_json.write_json(self._message()))

    def public(self) -> PublicKeyset:
        """The public half, with the same IDs and prefixes."""
        return PublicKeyset(tuple(KeysetKey(key.tink_key_id, key.prefix, key.key.public) for key in self.keys))

    def opened(self, sealed: bytes, account: str) -> tuple[int, bytes] | None:
        """The ID of the key that opens the message for ``account``, and what it holds; nothing when none does.

        Each key tries, also one whose prefix is not there: a message that nothing opens costs the same whatever is
        wrong with it (FAULTS.md H5).
        """
        for key in self.keys:
            prefix = key.output_prefix
            plain = key.key.opened(memoryview(sealed)[len(prefix) :], account)
            if plain is not None and sealed.startswith(prefix):
                return key.tink_key_id, plain
        return None

    def _message(self) -> KeysetMessage:
        return _written(self.keys, _PRIVATE_URL, Material.ASYMMETRIC_PRIVATE, _private_value)


def _message(data: bytes) -> KeysetMessage:
    if len(data) > MAX_KEYSET_BYTES:
        raise KeysetRejected(f"The keyset is larger than {MAX_KEYSET_BYTES // 1024} KiB.")
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not text:
        raise KeysetRejected("The keyset is empty.")
    # a binary keyset begins with 0x08 or 0x12, the tags of its fields
    if text.startswith(b"{"):
        return tink_json.read_json(text)
    try:
        return tink_messages.read_keyset(data)
    except MessageInvalid as error:
        raise KeysetRejected(_DAMAGED, detail=str(error)) from None


def _enabled(message: KeysetMessage, read: Callable[[KeyMessage], Key]) -> tuple[KeysetKey[Key], ...]:
    """The enabled keys, the primary one first."""
    if not message.keys:
        raise KeysetRejected("The keyset holds no key.")
    if len(message.keys) > MAX_KEYS:
        raise KeysetRejected(f"The keyset holds {len(message.keys)} keys, more than {MAX_KEYS}. Leave out old ones.")
    statuses = {key.tink_key_id: key.status for key in message.keys}
    if len(statuses) < len(message.keys):
        raise KeysetRejected("Two keys of the keyset have the same ID. Make a new keyset.")
    if Status.UNKNOWN_STATUS in statuses.values():
        raise KeysetRejected("A key of the keyset has no status. Export the keyset again.")
    primary = statuses.get(message.primary_key_id)
    if primary is None:
        raise KeysetRejected("The keyset has no primary key: the ID that it names is that of no key in it.")
    if primary is not Status.ENABLED:
        raise KeysetRejected(f"The primary key of the keyset is {primary.name}. Promote an enabled key.")
    keys = [_checked(key, read) for key in message.keys if key.status is Status.ENABLED]
    return tuple(sorted(keys, key=lambda key: key.tink_key_id != message.primary_key_id))


def _checked(key: KeyMessage, read: Callable[[KeyMessage], Key]) -> KeysetKey[Key]:
    """The key; what is wrong with it is told with its ID."""
    try:
        return KeysetKey(key.tink_key_id, key.prefix, read(key))
    except KeysetRejected as error:
        raise KeysetRejected(f"Key ID {key.tink_key_id}: {error.public}", detail=error.detail) from None
    except MessageInvalid as error:
        raise KeysetRejected(f"Key ID {key.tink_key_id}: {_DAMAGED}", detail=str(error)) from None


def _public_key(key: KeyMessage) -> HpkePublicKey:
    _check_type(key, _PUBLIC_URL, Material.ASYMMETRIC_PUBLIC)
    return _public_half(tink_messages.read_public_key(key.value))


def _private_key(key: KeyMessage) -> HpkePrivateKey:
    _check_type(key, _PRIVATE_URL, Material.ASYMMETRIC_PRIVATE)
    message = tink_messages.read_private_key(key.value)
    _check_version(message.version)
    public = _public_half(message.public)
    private = HpkePrivateKey(public.kem, Secret(message.private_key))
    if private.public.raw != public.raw:
        raise KeysetRejected("The private and the public half do not belong together. Make a new keyset.")
    return private


def _public_half(message: PublicKeyMessage) -> HpkePublicKey:
    _check_version(message.version)
    params = message.params
    kem = _KEMS.get(params.kem)
    if kem is None or (params.kdf, params.aead) != (_HKDF_SHA256, _AES_256_GCM):
        raise KeysetRejected(f"Its KEM, KDF or AEAD is not accepted. {_HOW}", detail=str(params))
    return HpkePublicKey(kem, message.public_key)


def _check_type(key: KeyMessage, type_url: str, material: Material) -> None:
    if key.type_url != type_url:
        raise KeysetRejected(
            f"Its type is {key.type_url[:_SHOWN]!a}; accepted is {type_url.rpartition('.')[2]}. {_HOW}"
        )
    if key.material is not material:
        raise KeysetRejected(f"Its material is {key.material.name}, not {material.name}. Export the keyset again.")


def _check_version(version: int) -> None:
    if version:
        raise KeysetRejected(f"Its version is {version}; only version 0 is known.")


def _written(
    keys: tuple[KeysetKey[Key], ...], type_url: str, material: Material, value: Callable[[Key], bytes]
) -> KeysetMessage:
    enabled = Status.ENABLED
    written = [KeyMessage(key.tink_key_id, enabled, key.prefix, type_url, material, value(key.key)) for key in keys]
    return KeysetMessage(keys[0].tink_key_id, tuple(written))


def _public_value(key: HpkePublicKey) -> bytes:
    return tink_messages.write_public_key(_public_message(key))


def _private_value(key: HpkePrivateKey) -> bytes:
    message = PrivateKeyMessage(0, _public_message(key.public), key.raw.expose())
    return tink_messages.write_private_key(message)


def _public_message(key: HpkePublicKey) -> PublicKeyMessage:
    return PublicKeyMessage(0, HpkeParams(_NUMBERS[key.kem], _HKDF_SHA256, _AES_256_GCM), key.raw)

"""The messages that a Tink keyset of HPKE keys is made of, and their binary form (Tink's tink.proto and hpke.proto).

Only the form is looked at here; what a keyset may hold is `tink_keyset`'s to say. Everything that reads raises
`MessageInvalid`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

from keystore import protobuf
from keystore.protobuf import Message, MessageInvalid


class Status(IntEnum):
    """Whether a key may be used."""

    UNKNOWN_STATUS = 0
    ENABLED = 1
    DISABLED = 2
    DESTROYED = 3  # its material is gone


class OutputPrefix(IntEnum):
    """What stands in front of a message: with ``TINK`` the ID of its key, with ``RAW`` nothing."""

    UNKNOWN_PREFIX = 0
    TINK = 1
    LEGACY = 2
    RAW = 3
    CRUNCHY = 4
    WITH_ID_REQUIREMENT = 5


class Material(IntEnum):
    """What kind of secret a key is."""

    UNKNOWN_KEYMATERIAL = 0
    SYMMETRIC = 1
    ASYMMETRIC_PRIVATE = 2
    ASYMMETRIC_PUBLIC = 3
    REMOTE = 4


@dataclass(frozen=True, slots=True)
class KeyMessage:
    """``Keyset.Key`` with its ``KeyData``; ``value`` is a message of the type that ``type_url`` names."""

    tink_key_id: int
    status: Status
    prefix: OutputPrefix
    type_url: str
    material: Material
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeysetMessage:
    """``Keyset``."""

    primary_key_id: int
    keys: tuple[KeyMessage, ...]


@dataclass(frozen=True, slots=True)
class HpkeParams:
    """``HpkeParams``: numbers of Tink's own, not those of RFC 9180."""

    kem: int
    kdf: int
    aead: int


@dataclass(frozen=True, slots=True)
class PublicKeyMessage:
    """``HpkePublicKey``."""

    version: int
    params: HpkeParams
    public_key: bytes


@dataclass(frozen=True, slots=True)
class PrivateKeyMessage:
    """``HpkePrivateKey``."""

    version: int
    public: PublicKeyMessage
    private_key: bytes = field(repr=False)


def read_keyset(data: bytes) -> KeysetMessage:
    """A binary keyset."""
    message = Message(data, "Keyset")
    keyset = KeysetMessage(message.number(1), tuple(_read_key(key) for key in message.each(2)))
    message.end()
    return keyset


def write_keyset(keyset: KeysetMessage) -> bytes:
    """The binary form, as Tink writes it."""
    return protobuf.number(1, keyset.primary_key_id) + b"".join(
        protobuf.octets(2, _write_key(key)) for key in keyset.keys
    )


def read_public_key(data: bytes) -> PublicKeyMessage:
    """The value of a public key."""
    message = Message(data, "HpkePublicKey")
    key = PublicKeyMessage(message.number(1), _read_params(message.octets(2)), message.octets(3))
    message.end()
    return key


def write_public_key(key: PublicKeyMessage) -> bytes:
    """A public key as a value."""
    params = (
        protobuf.number(1, key.params.kem) + protobuf.number(2, key.params.kdf) + protobuf.number(3, key.params.aead)
    )
    return protobuf.number(1, key.version) + protobuf.octets(2, params) + protobuf.octets(3, key.public_key)


def read_private_key(data: bytes) -> PrivateKeyMessage:
    """The value of a private key."""
    message = Message(data, "HpkePrivateKey")
    key = PrivateKeyMessage(message.number(1), read_public_key(message.octets(2)), message.octets(3))
    message.end()
    return key


def write_private_key(key: PrivateKeyMessage) -> bytes:
    """A private key as a value."""
    public = write_public_key(key.public)
    return protobuf.number(1, key.version) + protobuf.octets(2, public) + protobuf.octets(3, key.private_key)


def _read_key(data: bytes) -> KeyMessage:
    message = Message(data, "Key")
    key_data = Message(message.octets(1), "KeyData")
    key = KeyMessage(
        tink_key_id=message.number(3),
        status=_known(Status, message.number(2)),
        prefix=_known(OutputPrefix, message.number(4)),
        type_url=key_data.text(1),
        material=_known(Material, key_data.number(3)),
        value=key_data.octets(2),
    )
    key_data.end()
    message.end()
    return key


def _write_key(key: KeyMessage) -> bytes:
    key_data = (
        protobuf.octets(1, key.type_url.encode()) + protobuf.octets(2, key.value) + protobuf.number(3, key.material)
    )
    return (
        protobuf.octets(1, key_data)
        + protobuf.number(2, key.status)
        + protobuf.number(3, key.tink_key_id)
        + protobuf.number(4, key.prefix)
    )


def _read_params(data: bytes) -> HpkeParams:
    message = Message(data, "HpkeParams")
    params = HpkeParams(message.number(1), message.number(2), message.number(3))
    message.end()
    return params


Named = TypeVar("Named", bound=IntEnum)


def _known(names: type[Named], value: int) -> Named:
    try:
        return names(value)
    except ValueError:
        raise MessageInvalid(f"{names.__name__} {value} is unknown") from None

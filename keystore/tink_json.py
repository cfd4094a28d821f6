"""The JSON form of a Tink keyset: protobuf's JSON, in which each key's ``value`` is Base64 of its binary message.

Read in the one spelling that every Tink writes: names in camelCase, enums by name, key IDs as numbers, padded Base64.
Unknown and doubled names are refused, for the reasons that `protobuf` gives. An absent name means protobuf's default.
"""

from __future__ import annotations

import base64
import binascii
import json
from enum import IntEnum
from typing import Any, TypeVar

from keystore.errors import KeysetRejected
from keystore.tink_messages import KeyMessage, KeysetMessage, Material, OutputPrefix, Status

_MAX_NUMBER = 2**32 - 1
_SHOWN = 40  # characters of a name that somebody else chose


def read_json(data: bytes) -> KeysetMessage:
    """A keyset in JSON, in UTF-8. Raises `KeysetRejected` with what is wrong and where."""
    try:
        parsed = json.loads(data.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # bad UTF-8, bad JSON, a number of thousands of digits; deep nesting
        raise KeysetRejected("The keyset is not valid JSON. Export it again.", detail=type(error).__name__) from None
    if isinstance(parsed, dict) and "encryptedKeyset" in parsed:
        raise KeysetRejected("The keyset is encrypted. Export it without a master key.")
    keyset = _object(parsed, "the keyset", {"primaryKeyId", "key"})
    keys = keyset.get("key", [])
    if not isinstance(keys, list):
        raise KeysetRejected("In the keyset: `key` is not a list.")
    return KeysetMessage(
        _number(keyset, "primaryKeyId", "the keyset"), tuple(_key(key, f"key[{at}]") for at, key in enumerate(keys))
    )


def write_json(keyset: KeysetMessage) -> bytes:
    """The JSON form, as Tink writes it, with a newline at its end."""
    keys = [
        {
            "keyData": {
                "typeUrl": key.type_url,
                "value": base64.b64encode(key.value).decode(),
                "keyMaterialType": key.material.name,
            },
            "status": key.status.name,
            "keyId": key.tink_key_id,
            "outputPrefixType": key.prefix.name,
        }
        for key in keyset.keys
    ]
    return json.dumps({"primaryKeyId": keyset.primary_key_id, "key": keys}, indent=2).encode() + b"\n"


def _key(value: object, place: str) -> KeyMessage:
    key = _object(value, place, {"keyData", "status", "keyId", "outputPrefixType"})
    inner = f"{place}.keyData"
    key_data = _object(key.get("keyData", {}), inner, {"typeUrl", "value", "keyMaterialType"})
    return KeyMessage(
        tink_key_id=_number(key, "keyId", place),
        status=_name(Status, key, "status", place),
        prefix=_name(OutputPrefix, key, "outputPrefixType", place),
        type_url=_text(key_data, "typeUrl", inner),
        material=_name(Material, key_data, "keyMaterialType", inner),
        value=_octets(key_data, "value", inner),
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise KeysetRejected("A name stands twice in one object of the keyset.")
    return made


def _object(value: object, place: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise KeysetRejected(f"Not a JSON object: {place}.")
    if unknown := value.keys() - names:
        raise KeysetRejected(f"In {place}: Tink has no name {min(unknown)[:_SHOWN]!a} there.")
    return value


def _number(held: dict[str, Any], name: str, place: str) -> int:
    value = held.get(name, 0)
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise KeysetRejected(f"In {place}: `{name}` is not a whole number of 32 bits.")
    return value


def _text(held: dict[str, Any], name: str, place: str) -> str:
    value = held.get(name, "")
    if not isinstance(value, str):
        raise KeysetRejected(f"In {place}: `{name}` is not a string.")
    return value


def _octets(held: dict[str, Any], name: str, place: str) -> bytes:
    try:
        return base64.b64decode(_text(held, name, place), validate=True)
    except (binascii.Error, ValueError):
        raise KeysetRejected(f"In {place}: `{name}` is not Base64.") from None


Named = TypeVar("Named", bound=IntEnum)


def _name(names: type[Named], held: dict[str, Any], name: str, place: str) -> Named:
    value = _text(held, name, place)
    if not value:
        return names(0)
    if value not in names.__members__:
        raise KeysetRejected(f"In {place}: `{name}` is {value[:_SHOWN]!a}, which Tink does not know.")
    return names[value]

"""As much of the protobuf wire format as Tink's keysets need: numbers of 32 bits, and bytes.

Stricter than protobuf's own readers, which skip what they do not know and let the last of doubled fields win: here
unknown and doubled fields are errors. A keyset is small, and its form has not changed in years; a field that we do not
know would say something about a key that we then ignore, and two readers of one doubled field may see two keys.
The order of fields is free, as in protobuf.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _BYTES = 0, 2
_MAX_NUMBER = 2**32 - 1


class MessageInvalid(ValueError):
    """The bytes are not the message that they should be; the text holds no value of it."""


class Message:
    """The fields of one message, taken by number; ``name`` stands in the error texts.

    Raises `MessageInvalid` when the bytes are no fields, as all methods do when a field is not what was asked for.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        self._fields: dict[int, list[int | bytes]] = {}
        for field, value in _fields(data, name):
            self._fields.setdefault(field, []).append(value)

    def number(self, field: int) -> int:
        """An unsigned number of 32 bits, or an enum; 0 when absent."""
        value = self._one(field, 0)
        if not isinstance(value, int) or value > _MAX_NUMBER:
            raise MessageInvalid(f"{self._name}: field {field} is not a number of 32 bits")
        return value

    def octets(self, field: int) -> bytes:
        """Bytes, or a message; empty when absent."""
        return self._checked(field, self._one(field, b""))

    def text(self, field: int) -> str:
        """A string; empty when absent."""
        try:
            return self.octets(field).decode()
        except UnicodeDecodeError:
            raise MessageInvalid(f"{self._name}: field {field} is not UTF-8") from None

    def each(self, field: int) -> list[bytes]:
        """The messages of a repeated field, in their order."""
        return [self._checked(field, value) for value in self._fields.pop(field, [])]

    def end(self) -> None:
        """Raises `MessageInvalid` when there are fields that nobody took."""
        if self._fields:
            raise MessageInvalid(f"{self._name}: field {min(self._fields)} is unknown")

    def _one(self, field: int, default: int | bytes) -> int | bytes:
        values = self._fields.pop(field, [default])
        if len(values) > 1:
            raise MessageInvalid(f"{self._name}: field {field} is there twice")
        return values[0]

    def _checked(self, field: int, value: int | bytes) -> bytes:
        if not isinstance(value, bytes):
            raise MessageInvalid(f"{self._name}: field {field} is not a string of bytes")
        return value


def number(field: int, value: int) -> bytes:
    """A number as a field; nothing for 0, as proto3 has it."""
    return _varint(field << 3 | _VARINT) + _varint(value) if value else b""


def octets(field: int, value: bytes) -> bytes:
    """Bytes, a string or a message as a field; nothing for none."""
    return _varint(field << 3 | _BYTES) + _varint(len(value)) + value if value else b""


def _fields(data: bytes, name: str) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at, name)
        field, kind = tag >> 3, tag & 7
        if field == 0 or kind not in (_VARINT, _BYTES):
            raise MessageInvalid(f"{name}: field {field} has the wire type {kind}")
        value, at = _read_varint(data, at, name)
        if kind == _VARINT:
            yield field, value
            continue
        end = at + value
        if end > len(data):
            raise MessageInvalid(f"{name}: field {field} is cut")
        yield field, data[at:end]
        at = end


def _read_varint(data: bytes, at: int, name: str) -> tuple[int, int]:
    """A number of at most 64 bits, low bits first, and where the next byte is."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise MessageInvalid(f"{name}: a number is cut")
        octet = data[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise MessageInvalid(f"{name}: a number has more than 64 bits")


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)

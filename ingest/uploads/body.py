"""The body of an upload: bytes in, records out, each either as it may be judged or with the fault that it has.

    {"d": [{"identity": ..., "type": "event", "evtName": ..., "ts": ..., "evtData": {...}},
           {"objectId": ..., "type": "profile", "profileData": {...}}]}

The array is cut and each record is read as in files (`ingest.steps.json_text`), so one bad record leaves the others as
they are. Only a body whose records cannot be told apart fails as a whole. A loop over records is all right here: a
request has at most some thousand, and Python's scanner takes three microseconds for one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ingest.errors import BodyMalformed, TooManyRecords
from ingest.steps.json_array import ArrayText, Broken
from ingest.steps.json_text import MAX_DEPTH, DoubledKey, decoder, fault_of, is_shallow, is_text, marked, written
from manifests import codes
from manifests.names import EVENT_NAME, TIMESTAMP
from manifests.types import USER_COLUMNS, ImportType

_START = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"d"[ \t\r\n]*:[ \t\r\n]*\[')
_BOM = b"\xef\xbb\xbf"
_BLANKS = " \t\r\n"
_AROUND = 2  # the object and the array that the records stand in

_DATA = {ImportType.EVENT: "evtData", ImportType.PROFILE: "profileData"}
_KEYS = {
    ImportType.EVENT: {*USER_COLUMNS, "type", EVENT_NAME, TIMESTAMP, "evtData", "$source"},
    ImportType.PROFILE: {*USER_COLUMNS, "type", TIMESTAMP, "profileData", "$source"},
}
_SHAPE = 'The body must be {"d": [...]}, an array of records under the one key d.'


class Number(str):
    """A number of JSON as it was written."""

    __slots__ = ()


class Whole(Number):
    """A number without fraction and exponent."""

    __slots__ = ()


_DECODER = decoder(parse_int=Whole, parse_float=Number)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record is not stored; ``column`` is the property or the key to blame, the reason has no value of it."""

    code: int
    reason: str
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One record that is built as it must be; nothing in it was judged yet."""

    type: ImportType
    head: dict[str, Any]
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Body:
    """The records of one request, in order, and the text of each as it came."""

    records: list[Record | Fault]
    texts: list[str]


def read_body(content: bytes, *, max_records: int, max_properties: int) -> Body:
    """The records of a body. Raises `BodyMalformed`, `TooManyRecords`; the text names no value."""
    text = marked(content.removeprefix(_BOM))
    elements = _elements(text)
    if len(elements) > max_records:
        raise TooManyRecords(f"The body has {len(elements)} records; {max_records} are allowed.")
    is_plain = is_text(text) and is_shallow(text, -_AROUND)
    records = [_record(element, max_properties, is_plain=is_plain) for element in elements]
    return Body(records, [written(element) for element in elements])


def read_object(content: bytes) -> dict[str, Any]:
    """A body that is one small object, strictly; numbers are their text. Raises `BodyMalformed`."""
    text = marked(content.removeprefix(_BOM))
    if is_text(text) and is_shallow(text, 0):
        try:
            value = _DECODER.decode(written(text))
        except DoubledKey:
            raise BodyMalformed("An object in the body has the same key twice.") from None
        except ValueError:
            value = None
        if isinstance(value, dict):
            return value
    raise BodyMalformed("The body must be one JSON object (RFC 8259 §4).")


def _elements(text: str) -> list[str]:
    """The texts of the records."""
    start = _START.match(text)
    if start is None:
        raise BodyMalformed(_misshapen(text))
    array = ArrayText()
    try:
        elements = array.read(text[start.end() :])
    except Broken as broken:
        raise BodyMalformed(
            f"The array d has a bracket too many, or a comma with no record on one side, after record {broken.rows}."
        ) from None
    if not array.is_closed:
        raise BodyMalformed("The array d does not end: the body was cut short, or its quotes and brackets do not pair.")
    if array.behind.strip(_BLANKS) != "}":
        raise BodyMalformed(f"Something else than the end of the body follows the array d. {_SHAPE}")
    return elements.to_list()


def _misshapen(text: str) -> str:
    """What is wrong with a body that does not begin as it must."""
    if not text.strip(_BLANKS):
        return f"The body is empty. {_SHAPE}"
    try:
        if is_shallow(text, 0):
            json.loads(written(text))
    except json.JSONDecodeError as error:  # its message is one of a few constant ones
        return f"The body is no JSON: {error.msg} (line {error.lineno}, column {error.colno})."
    except ValueError:
        return f"The body is no JSON. {_SHAPE}"
    return _SHAPE


def _record(text: str, max_properties: int, *, is_plain: bool) -> Record | Fault:
    """One record, its marked text read; without ``is_plain`` there is something wrong in some record of the body."""
    code = None if is_plain else fault_of(text)
    try:
        value = _DECODER.decode(written(text)) if code is None else None
    except DoubledKey:
        code = codes.DOUBLED_KEY
    except ValueError:
        code = codes.BAD_JSON
    if code is not None:
        reason = f"the record is nested deeper than {MAX_DEPTH} levels, or is no valid JSON object (RFC 8259 §4)"
        return Fault(code, reason if code == codes.BAD_JSON else codes.ROW_CODES[code].meaning)
    return _structured(value, max_properties)


def _structured(value: Any, max_properties: int) -> Record | Fault:
    """The record, if it is built as one must be."""
    if not isinstance(value, dict):
        return _misbuilt("the record is not an object")
    said = value.get("type")
    try:
        kind = ImportType(said.lower() if type(said) is str else "")
    except ValueError:
        reason = codes.ROW_CODES[codes.NEITHER_EVENT_NOR_PROFILE].meaning
        return Fault(codes.NEITHER_EVENT_NOR_PROFILE, reason, "type")
    unknown = next((key for key in value if key not in _KEYS[kind]), None)
    if unknown is not None:
        return _misbuilt(f"a record of type {kind} has no such key", unknown)
    nested = next((key for key in value if key != _DATA[kind] and isinstance(value[key], (dict, list))), None)
    if nested is not None:
        return _misbuilt("this key takes a single value", nested)
    data = value.get(_DATA[kind])
    if data is None:
        data = {}
    if not isinstance(data, dict):
        return _misbuilt("this key takes an object of names and values", _DATA[kind])
    if len(data) > max_properties:
        reason = f"the record has {len(data)} properties; {max_properties} are allowed"
        return Fault(codes.TOO_MANY_PROPERTIES, reason, _DATA[kind])
    return Record(kind, value, data)


def _misbuilt(reason: str, column: str | None = None) -> Fault:
    return Fault(codes.INVALID_STRUCTURE, reason, column)

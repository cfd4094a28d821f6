"""The properties of records: names that may be used, and the type of a property that comes for the first time.

A property that is stored has its type; of a new one the first value decides, by its JSON type:

    number          Integer, or Float when one of the request's numbers has a fraction or an exponent
    true, false     Boolean
    "$D_1457271567" Date, the seconds since 1970; any other string is a String
    ["a", "b"]      StringList; any other array or object is a String, its JSON text

In a profile ``{"$add": [...]}`` and the like are operations (`manifests.operations`). Values go to the cast as the text
that they have, as those of files do, so a value that came later need not have the same JSON type, only fit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ingest.uploads.body import Fault, Number, Whole
from manifests import codes
from manifests.names import (
    CONSENT_FLAGS,
    EVENT_NAME,
    PROFILE_FIELDS,
    TIMESTAMP,
    canonical_target,
    name_problem,
)
from manifests.plan import MAX_EVENT_COLUMNS
from manifests.types import USER_COLUMNS, DataType, ImportType

_DATE = re.compile(r"\$D_(-?[0-9]{1,12})")
_OF_ANOTHER_KIND = {*USER_COLUMNS, EVENT_NAME, TIMESTAMP}


class PropertyNames:
    """The names that the records of one kind may use, while one batch is read; remembers the new ones."""

    def __init__(self, kind: ImportType, registry: Mapping[str, DataType], *, max_properties: int) -> None:
        self._kind = kind
        self._spellings = {name.lower(): name for name in registry}
        self._most = MAX_EVENT_COLUMNS if kind is ImportType.EVENT else max_properties
        self._not_counted = set[str]() if kind is ImportType.EVENT else {*PROFILE_FIELDS, *CONSENT_FLAGS}
        self._count = len(set(registry) - self._not_counted)
        self._seen: dict[str, str | Fault] = {}

    def stored_as(self, name: str) -> str | Fault:
        """The name that the property is stored under, or why it cannot be."""
        if name not in self._seen:
            self._seen[name] = self._admitted(name)
        return self._seen[name]

    def _admitted(self, name: str) -> str | Fault:
        target = canonical_target(name, self._kind)
        if target in _OF_ANOTHER_KIND:
            return Fault(codes.FORBIDDEN_NAME, "a key of the record itself, which no property can be called", name)
        if (problem := name_problem(target)) is not None:
            return Fault(codes.FORBIDDEN_NAME, f"no property can have this name: {problem}", name)
        if target.lower() in self._spellings:
            return self._spellings[target.lower()]
        if target not in self._not_counted:
            if self._count >= self._most:
                reason = f"this would be one more than the {self._most} properties that an account may have"
                return Fault(codes.TOO_MANY_PROPERTIES, reason, name)
            self._count += 1
        self._spellings[target.lower()] = target
        return target


def named(data: Mapping[str, Any], names: PropertyNames) -> dict[str, Any] | Fault:
    """The properties of one record by the names that they are stored under, or the first fault among them."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        target = names.stored_as(name)
        if isinstance(target, Fault):
            return target
        if target in found:
            return Fault(codes.DOUBLED_KEY, "another key is the same but for its letter case", name)
        found[target] = value
    return found


def operation_of(value: Any) -> tuple[str, Any] | None:
    """The operation that a profile's value is, with what stands beside it; ``None`` for a plain value."""
    if not isinstance(value, dict) or not any(key.startswith("$") for key in value):
        return None
    return ",".join(value), next(iter(value.values()))  # two at once are no known operation


def type_of(values: Iterator[Any]) -> DataType:
    """The type of a new property with these values, none of them null."""
    first = next(values)
    if isinstance(first, bool):
        return DataType.BOOLEAN
    if isinstance(first, Number):
        numbers = (value for value in (first, *values) if isinstance(value, Number))
        return DataType.INTEGER if all(isinstance(number, Whole) for number in numbers) else DataType.FLOAT
    if isinstance(first, list) and all(type(value) is str for value in first):
        return DataType.STRING_LIST
    return DataType.DATE if isinstance(first, str) and _DATE.fullmatch(first) else DataType.STRING


def texts_of(values: Sequence[Any], data_type: DataType) -> list[str]:
    """The values, none of them null, as the cells that the cast reads."""
    texts = [value if type(value) is str else _text(value) for value in values]
    return [_date_text(text) for text in texts] if data_type is DataType.DATE else texts


def _date_text(text: str) -> str:
    """The moment that ``$D_`` and seconds mean, as ISO 8601; anything else as it is."""
    found = _DATE.fullmatch(text)
    try:
        return text if found is None else datetime.fromtimestamp(int(found[1]), UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return text


def _text(value: Any) -> str:
    """A value that is no string as its JSON text; numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_text(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)

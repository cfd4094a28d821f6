"""A draft of a manifest, from a data file's header and first rows: types, forms of dates, targets with a meaning.

A draft is a guess for a person to read. What could be something else is said in a comment: a day that may be a month,
numbers that may be times. A guessed type never rejects a row that was looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import polars as pl

from manifests.dates import (
    DATE_PATTERNS,
    EPOCH_MILLISECONDS,
    EPOCH_SECONDS,
    ISO_8601,
    in_range,
    iso_moments,
    pattern_moments,
)
from manifests.lists import string_lists
from manifests.names import (
    EVENT_NAME,
    FORBIDDEN_IN_NAMES,
    MAX_NAME_CHARS,
    OPERATION_SUFFIX,
    TIMESTAMP,
    canonical_target,
    name_problem,
)
from manifests.people import FIELD_TYPES
from manifests.types import USER_COLUMNS, DataType, ImportType

SAMPLE_ROWS = 10_000
"""Rows that are worth looking at."""

_TARGETS = {  # by what is left of a column's name without case and marks
    "identity": ("identity", "userid", "customerid", "user", "customer", "uid", "id", "email"),
    EVENT_NAME: ("evtname", "eventname", "event"),
    TIMESTAMP: ("ts", "timestamp", "eventtime", "time", "occurredat", "createdat", "date"),
}
_EPOCH_SECONDS = (10**9, 4 * 10**9)  # 2001 to 2096
_INTEGER = r"^[+-]?[0-9]{1,19}$"
_LEADING_ZERO = r"^[+-]?0[0-9]"
_FLOAT = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"


@dataclass(frozen=True, slots=True)
class Guess:
    """What one column seems to be; ``note`` is for the comment beside it."""

    column: str
    target: str | None = None
    data_type: DataType | None = None
    form: str | None = None
    note: str | None = None

    @property
    def keys(self) -> dict[str, str]:
        """What the manifest says about the column; keys without a guess are left out."""
        said = {"ctName": self.target, "dataType": self.data_type, "format": self.form}
        return {key: str(value) for key, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest in the making; ``notes`` are about the file as a whole."""

    file_name: str
    type: ImportType
    delimiter: str
    columns: tuple[Guess, ...]
    notes: tuple[str, ...]


def draft(file_name: str, delimiter: str, frame: pl.DataFrame, kind: ImportType | None = None) -> Draft:
    """The draft for a file with these first rows, all columns as String, as the parse step makes them.

    Without ``kind`` a file with a column that looks like an event's name is one of events.
    """
    rows = frame.filter(frame["_fault"].is_null()) if "_fault" in frame.columns else frame
    names = [name for name in frame.columns if name not in ("_row", "_fault")]
    targets = _targets(names, kind)
    if kind is None:
        kind = ImportType.EVENT if EVENT_NAME in targets.values() else ImportType.PROFILE
    if kind is ImportType.PROFILE:  # a companion column needs no word
        companions = {name + OPERATION_SUFFIX for name in names}
        names = [name for name in names if name not in companions]
    guesses = [_guess(name, targets.get(name), rows[name], kind) for name in names]
    return Draft(file_name, kind, delimiter, _distinct(guesses), tuple(_notes(kind, set(targets.values()))))


def likely_delimiter(line: str) -> str:
    """The character that most likely stands between the names in a header line."""
    bare = re.sub(r'"[^"]*"', "", line)
    return max(",;\t|", key=bare.count)


def _distinct(guesses: list[Guess]) -> tuple[Guess, ...]:
    """The guesses with no two of one target."""
    taken = {guess.column.lower() for guess in guesses if guess.target is None}
    made = []
    for guess in guesses:
        target, number = guess.target, 2
        while target is not None and target.lower() in taken:
            target, number = f"{guess.target} {number}", number + 1
        if target is not None:
            taken.add(target.lower())
        made.append(replace(guess, target=target))
    return tuple(made)


def _notes(kind: ImportType, targets: set[str]) -> Iterator[str]:
    if "identity" not in targets and not targets & set(USER_COLUMNS):
        yield "No column looks like the user: map one to identity, objectId, FBID or GPID."
    if kind is ImportType.EVENT and EVENT_NAME not in targets:
        yield "No column looks like the event's name: map one to evtName, or set eventName."


def _targets(names: list[str], kind: ImportType | None) -> dict[str, str]:
    """By column the target that it seems to be; each target once, the more telling name first."""
    found = {name: target for name in names if (target := _known_target(name)) is not None}
    bare = {name: "".join(char for char in name.lower() if char.isalnum()) for name in names}
    for target, words in _TARGETS.items():
        if target in found.values() or (kind is ImportType.PROFILE and target != "identity"):
            continue
        if target == TIMESTAMP and kind is None and EVENT_NAME not in found.values():
            continue  # profiles have no time
        for name in (name for word in words for name in names if bare[name] == word):
            if name not in found:
                found[name] = target
                break
    return found


def _known_target(name: str) -> str | None:
    """The target that the column is by its own name."""
    target = canonical_target(name, ImportType.EVENT)
    return target if target in (*USER_COLUMNS, EVENT_NAME, TIMESTAMP) else None


def _guess(name: str, target: str | None, cells: pl.Series, kind: ImportType) -> Guess:
    shown_target = None if target is None or target.lower() == name.lower() else target
    values = _filled(cells)
    if kind is ImportType.PROFILE and target in (EVENT_NAME, TIMESTAMP):
        data_type, form, note = _type_of(values)
        return Guess(name, f"{name} value", data_type, form, note or f"only events have {target}")
    if target == TIMESTAMP:
        return _time(name, shown_target, values)
    if target is not None:
        return Guess(name, shown_target)
    if kind is ImportType.PROFILE and (field := _field(name)) is not None:
        return Guess(name, None if field == name else field)
    data_type, form, note = _type_of(values)
    if (problem := name_problem(name)) is not None:
        return Guess(name, _clean(name), data_type, form, "; ".join(filter(None, (problem, note))))
    return Guess(name, None, data_type, form, note)


def _field(name: str) -> str | None:
    """The profile field with rules that the column is by its own name."""
    target = canonical_target(name, ImportType.PROFILE)
    return target if target in FIELD_TYPES else None


def _time(name: str, target: str | None, values: pl.Series) -> Guess:
    data_type, form, note = _type_of(values)
    if data_type is DataType.DATE:
        return Guess(name, target, data_type, form, note)
    if data_type is DataType.INTEGER and _is_between(values, *(1000 * limit for limit in _EPOCH_SECONDS)):
        return Guess(name, target, DataType.DATE, EPOCH_MILLISECONDS)
    if data_type is DataType.INTEGER or not len(values):
        return Guess(name, target, DataType.INTEGER)
    return Guess(name, target, DataType.INTEGER, note="this does not look like a time: give its form with format")


def _filled(cells: pl.Series) -> pl.Series:
    bare = cells.str.strip_chars(" \t")
    return bare.filter(bare.is_not_null() & (bare.str.len_bytes() > 0)).head(SAMPLE_ROWS)


def _type_of(values: pl.Series) -> tuple[DataType | None, str | None, str | None]:
    """Type, form of a date and note; no type for a String, which needs none."""
    if not len(values):
        return None, None, "no value among the first rows"
    if values.str.to_lowercase().is_in(["true", "false"]).all():
        return DataType.BOOLEAN, None, None
    if values.str.contains(_INTEGER).all() and values.cast(pl.Int64, strict=False).null_count() == 0:
        return _integer(values)
    if (
        values.str.contains(_FLOAT).all()
        and values.str.contains("[.eE]").any()
        and values.cast(pl.Float64).is_finite().all()
    ):
        return DataType.FLOAT, None, None
    if values.str.starts_with("[").all() and _is_list(values):
        return DataType.STRING_LIST, None, None
    return _date(values)


def _integer(values: pl.Series) -> tuple[DataType | None, str | None, str | None]:
    if values.str.contains(_LEADING_ZERO).any():
        return None, None, "digits with zeros in front, so text"
    if values.is_in(["0", "1"]).all():
        return DataType.INTEGER, None, "may be a Boolean"
    if _is_between(values, *_EPOCH_SECONDS):
        return DataType.INTEGER, None, f'may be a Date with the format "{EPOCH_SECONDS}"'
    if _is_between(values, *(1000 * limit for limit in _EPOCH_SECONDS)):
        return DataType.INTEGER, None, f'may be a Date with the format "{EPOCH_MILLISECONDS}"'
    return DataType.INTEGER, None, None


def _is_between(values: pl.Series, low: int, high: int) -> bool:
    return bool(values.cast(pl.Int64, strict=False).is_between(low, high).all())


def _is_list(values: pl.Series) -> bool:
    return string_lists(values, None).null_count() == 0


def _date(values: pl.Series) -> tuple[DataType | None, str | None, str | None]:
    forms = values.to_frame("text").select(
        pattern_moments(pl.col("text"), form, "UTC").alias(form) for form in DATE_PATTERNS
    )
    fitting = [column.name for column in forms if in_range(column).null_count() == 0]
    if in_range(iso_moments(values, "UTC")).null_count() == 0:
        fitting.append(ISO_8601)
    if not fitting:
        return None, None, None
    first = fitting[0]
    others = [form for form in fitting[1:] if form != ISO_8601]
    if not others:
        return DataType.DATE, first, None
    return DataType.DATE, first, f"ambiguous: every value fits {' and '.join((first, *others))} alike; please check"


def _clean(name: str) -> str:
    """A name that a property may have, as near as possible to the column's."""
    kept = "".join(" " if char in FORBIDDEN_IN_NAMES or not char.isprintable() else char for char in name)
    cleaned = " ".join(kept.split())[:MAX_NAME_CHARS].strip()
    return cleaned if cleaned and name_problem(cleaned) is None else re.sub(r"[^A-Za-z0-9 ]", "", cleaned) or "column"


def as_text(made: Draft, *, client_email: str | None, key_id: str | None) -> str:
    """The draft as JSON with comments, with a line feed at its end; what is missing is a comment to fill in."""
    lines = [f"// {note}" for note in made.notes]
    lines += ["{", f'  "fileName": {_quoted(made.file_name)},', f'  "type": "{made.type}",']
    if client_email is None:
        lines.append('  "clientEmail": "you@example.com",  // who is told how it went')
    else:
        lines.append(f'  "clientEmail": {_quoted(client_email)},')
    if key_id is None:
        lines.append('  // "keyId": "...",  // the UUID that you were given for your key pair')
    else:
        lines.append(f'  "keyId": {_quoted(key_id)},')
    if made.delimiter != ",":
        lines.append(f'  "delimiter": {_quoted(made.delimiter)},')
    lines += ['  "columns": {', *_column_lines(made.columns), "  }", "}"]
    return "\n".join(lines) + "\n"


def _column_lines(guesses: Iterable[Guess]) -> Iterator[str]:
    *others, last = (*guesses,)
    for guess in (*others, last):
        keys = ", ".join(f'"{key}": {_quoted(value)}' for key, value in guess.keys.items())
        comma = "," if guess is not last else ""
        note = f"  // {guess.note}" if guess.note else ""
        yield f"    {_quoted(guess.column)}: {{{keys}}}{comma}{note}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

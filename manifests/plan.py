"""What will become of each column of a file: manifest, header and registry in, a `Plan` out, before any row is read.

The registry is the lake's present schema for this type of import: property name to type. It is compared in any letter
case and its spelling wins. All problems of the header are told at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from manifests.errors import HeaderMismatch, LimitExceeded, TypeConflict
from manifests.model import Column, Manifest
from manifests.names import (
    CONSENT_FLAGS,
    EVENT_NAME,
    FRAME_COLUMNS,
    PROFILE_FIELDS,
    RESERVED_EVENTS,
    TIMESTAMP,
    canonical_target,
    closest,
    name_problem,
    shown,
)
from manifests.types import USER_COLUMNS, DataType, ImportType

MAX_PROPERTIES = 256


@dataclass(frozen=True, slots=True)
class Cell:
    """How the cells of one file column are read, and under which name and type they are stored.

    ``asked`` is the type that the manifest promises, ``stored`` the lake's; they differ only where Integer widens to
    Float. ``form`` and ``zone`` say how a date is read.
    """

    source: str
    target: str
    asked: DataType
    stored: DataType
    form: str
    zone: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How every column of one file is read; made by `build_plan`.

    ``users`` has one to four cells; a file of events has either ``event`` (a column) or ``event_name`` (fixed).
    ``cells`` are the properties, in the order of the header.
    """

    type: ImportType
    header: tuple[str, ...]
    users: tuple[Cell, ...]
    event: Cell | None
    event_name: str | None
    timestamp: Cell | None
    cells: tuple[Cell, ...]
    null_values: tuple[str, ...]
    allow_reserved_events: bool

    @property
    def properties(self) -> dict[str, DataType]:
        """The lake's columns that this file fills, without user, evtName and ts, in the order of the header."""
        return {cell.target: cell.stored for cell in self.cells}

    @property
    def user_columns(self) -> tuple[str, ...]:
        """The canonical names of the columns that can name a user in this file."""
        return tuple(cell.target for cell in self.users)


def build_plan(
    manifest: Manifest,
    header: Sequence[str],
    registry: Mapping[str, DataType],
    *,
    allow_reserved_events: bool = False,
) -> Plan:
    """The plan for a file with this header, whose names have no blanks around them.

    Raises `HeaderMismatch` when header and manifest do not fit, `LimitExceeded` beyond `MAX_PROPERTIES`, and
    `TypeConflict` when a property is stored with another type.
    """
    _check_header(manifest, header)
    spellings = {name.lower(): name for name in registry}
    cells = [
        _cell(manifest, name, manifest.columns.get(name), spellings)
        for name in header
        if (column := manifest.columns.get(name)) is None or not column.ignore
    ]
    _check_targets(cells)
    special = {cell.target: cell for cell in cells if _is_special(cell.target)}
    properties = tuple(_typed(cell, registry) for cell in cells if cell.target not in special)
    users = tuple(special[name] for name in USER_COLUMNS if name in special)
    if not users:
        raise HeaderMismatch(
            f"No column names the user: map one to {', '.join(USER_COLUMNS[:-1])} or {USER_COLUMNS[-1]}. "
            f"The file has the columns {_listed(header)}."
        )
    _check_event(manifest, special, allow_reserved_events=allow_reserved_events)
    _check_count(manifest.type, properties, registry)
    return Plan(
        type=manifest.type,
        header=tuple(header),
        users=users,
        event=special.get(EVENT_NAME),
        event_name=manifest.event_name,
        timestamp=special.get(TIMESTAMP),
        cells=properties,
        null_values=manifest.null_values,
        allow_reserved_events=allow_reserved_events,
    )


def _check_header(manifest: Manifest, header: Sequence[str]) -> None:
    """Every column is named once, and every mapped column is there (FAULTS.md D2, D7)."""
    seen: set[str] = set()
    for number, name in enumerate(header, start=1):
        if not name:
            raise HeaderMismatch(f"Column {number} of the file has no name in the header.")
        if name in seen:
            raise HeaderMismatch(f"The header names the column {shown(name)} twice.", column=name)
        if name in FRAME_COLUMNS:
            raise HeaderMismatch(f"The column name {shown(name)} is reserved; give it another one.", column=name)
        seen.add(name)
    missing = [name for name, column in manifest.columns.items() if name not in seen and not column.ignore]
    if missing:
        lines = [_missing(name, header) for name in missing]
        raise HeaderMismatch("\n".join(lines), column=missing[0])


def _missing(name: str, header: Sequence[str]) -> str:
    near = closest(name, header)
    hint = f"the closest in the file is {shown(near)}" if near is not None else f"the file has {_listed(header)}"
    return f"The column {shown(name)} of the manifest is not in the file; {hint}."


def _listed(header: Sequence[str], most: int = 20) -> str:
    names = ", ".join(shown(name) for name in header[:most])
    return f"{names} and {len(header) - most} more" if len(header) > most else names


def _cell(manifest: Manifest, name: str, column: Column | None, spellings: Mapping[str, str]) -> Cell:
    """How the column ``name`` is read; raises `HeaderMismatch` when it cannot be stored under its target's name."""
    asked = column if column is not None else Column()
    target = canonical_target(asked.ct_name or name, manifest.type)
    data_type = asked.data_type
    if target == TIMESTAMP and column is None:
        data_type = DataType.INTEGER
    if not _is_special(target):
        problem = name_problem(target)
        if problem is not None:
            raise HeaderMismatch(
                f"The column {shown(name)} cannot be stored as {shown(target)}: {problem}. "
                "Map it to another name with ctName, or set ignore.",
                column=name,
            )
        target = spellings.get(target.lower(), target)
    form, zone = manifest.date_form(asked)
    return Cell(source=name, target=target, asked=data_type, stored=data_type, form=form, zone=zone)


def _is_special(target: str) -> bool:
    return target in USER_COLUMNS or target in (EVENT_NAME, TIMESTAMP)


def _check_targets(cells: Sequence[Cell]) -> None:
    by_target: dict[str, Cell] = {}
    for cell in cells:
        first = by_target.setdefault(cell.target.lower(), cell)
        if first is not cell:
            raise HeaderMismatch(
                f"The columns {shown(first.source)} and {shown(cell.source)} have the same target, "
                f"{shown(cell.target)} (letter case does not count).",
                column=cell.source,
            )


def _check_event(manifest: Manifest, special: Mapping[str, Cell], *, allow_reserved_events: bool) -> None:
    """Events have exactly one source of their name; profiles have neither name nor time."""
    event = special.get(EVENT_NAME)
    if manifest.type is ImportType.PROFILE:
        for name in (EVENT_NAME, TIMESTAMP):
            if name in special:
                raise HeaderMismatch(
                    f"The column {shown(special[name].source)} would be {name}, which only events have. "
                    "Map it to another name with ctName, or set ignore.",
                    column=special[name].source,
                )
        return
    if event is None and manifest.event_name is None:
        raise HeaderMismatch(f"No column names the event: map one to {EVENT_NAME}, or set eventName in the manifest.")
    if event is not None and manifest.event_name is not None:
        raise HeaderMismatch(
            f"The manifest sets eventName, and the column {shown(event.source)} is {EVENT_NAME} too: keep one.",
            column=event.source,
        )
    reserved = {name.lower() for name in RESERVED_EVENTS}
    if manifest.event_name is not None and manifest.event_name.lower() in reserved and not allow_reserved_events:
        raise HeaderMismatch(f"The manifest's eventName {shown(manifest.event_name)} is reserved for the system.")


def _typed(cell: Cell, registry: Mapping[str, DataType]) -> Cell:
    """The cell with the type that its property is stored with."""
    stored = registry.get(cell.target, cell.asked)
    if stored is cell.asked:
        return cell
    if stored is DataType.FLOAT and cell.asked is DataType.INTEGER:
        return Cell(cell.source, cell.target, cell.asked, stored, cell.form, cell.zone)
    raise TypeConflict(
        f"The column {shown(cell.source)} is to be stored as {cell.asked}, but the property {shown(cell.target)} is "
        f'stored as {stored}: set "dataType": "{stored}" in the manifest, or store it under another name.',
        column=cell.source,
    )


def _check_count(kind: ImportType, properties: Sequence[Cell], registry: Mapping[str, DataType]) -> None:
    """At most `MAX_PROPERTIES` an event, and as many custom ones in all profiles of the account together."""
    names = {cell.target for cell in properties}
    if kind is ImportType.PROFILE:
        names = (names | set(registry)) - set(PROFILE_FIELDS) - set(CONSENT_FLAGS)
    if len(names) > MAX_PROPERTIES:
        whose = "the profiles of this account" if kind is ImportType.PROFILE else "an event"
        raise LimitExceeded(f"With this file {whose} would have {len(names)} properties; {MAX_PROPERTIES} are allowed.")

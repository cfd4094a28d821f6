"""What will become of each column of a file: manifest, header and registry in, a `Plan` out, before any row is read.

The registry is the lake's present schema for this type of import: property name to type. It is compared in any letter
case and its spelling wins. All problems of the header are told at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from manifests.errors import HeaderMismatch, LimitExceeded, TypeConflict
from manifests.header import check_header, listed
from manifests.model import Manifest
from manifests.names import (
    CONSENT_FLAGS,
    EVENT_NAME,
    OPERATION_SUFFIX,
    PROFILE_FIELDS,
    RESERVED_EVENTS,
    TIMESTAMP,
    canonical_target,
    name_problem,
    operation_column,
    shown,
)
from manifests.people import FIELD_TYPES
from manifests.types import USER_COLUMNS, DataType, ImportType

MAX_PROPERTIES = 256
MAX_EVENT_COLUMNS = 2000
"""Different properties that all events of an account may have together; one event has at most `MAX_PROPERTIES`."""


@dataclass(frozen=True, slots=True)
class Cell:
    """How the cells of one file column are read, and under which name and type they are stored.

    ``asked`` is the type that the manifest promises, ``stored`` the lake's; they differ only where Integer widens to
    Float. ``form`` and ``zone`` say how a date is read, ``separator`` what stands between the values of a StringList
    (``None``: a JSON array). ``field`` is the profile field whose rules it keeps, ``operation`` the companion column
    that says what the value does.
    """

    source: str
    target: str
    asked: DataType
    stored: DataType
    form: str
    zone: str
    separator: str | None = None
    field: str | None = None
    operation: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How every column of one file is read; made by `build_plan`.

    ``users`` has one to four cells; a file of events has either ``event`` (a column) or ``event_name`` (fixed).
    ``cells`` are the properties, in the order of the header; a row may fill ``max_properties`` of them.
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
    max_properties: int

    @property
    def properties(self) -> dict[str, DataType]:
        """The lake's columns that this file fills, without user, evtName and ts, in the order of the header.

        Columns of operations come after all properties.
        """
        operations = {operation_column(cell.target): DataType.STRING for cell in self.cells if cell.operation}
        return {cell.target: cell.stored for cell in self.cells} | operations

    @property
    def columns(self) -> dict[str, Cell]:
        """Every column of the file that is read, by its name, in the order of the header; not the companions."""
        special = [cell for cell in (self.event, self.timestamp) if cell is not None]
        cells = {cell.source: cell for cell in (*self.users, *special, *self.cells)}
        return {name: cells[name] for name in self.header if name in cells}

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
    max_properties: int = MAX_PROPERTIES,
) -> Plan:
    """The plan for a file with this header, whose names have no blanks around them.

    Raises `HeaderMismatch` when header and manifest do not fit, `LimitExceeded` beyond ``max_properties`` of a profile
    or `MAX_EVENT_COLUMNS`, and `TypeConflict` when a property is stored with another type.
    """
    check_header(manifest, header)
    spellings = {name.lower(): name for name in registry}
    companions = _companions(manifest, header)
    cells = [
        replace(cell, operation=companions.get(name))
        for name in header
        if name not in companions.values() and not manifest.column(name).ignore
        for cell in [_cell(manifest, name, spellings)]
    ]
    _check_targets(cells)
    special = {cell.target: cell for cell in cells if _is_special(cell.target)}
    properties = tuple(_typed(cell, registry) for cell in cells if cell.target not in special)
    users = tuple(special[name] for name in USER_COLUMNS if name in special)
    if not users:
        raise HeaderMismatch(
            f"No column names the user: map one to {', '.join(USER_COLUMNS[:-1])} or {USER_COLUMNS[-1]}. "
            f"The file has the columns {listed(header)}."
        )
    _check_event(manifest, special, allow_reserved_events=allow_reserved_events)
    _check_count(manifest.type, properties, registry, max_properties)
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
        max_properties=max_properties,
    )


def _companions(manifest: Manifest, header: Sequence[str]) -> dict[str, str]:
    """By column of a profile its companion, which tells the operation; one that the manifest describes is none.

    Raises `HeaderMismatch` for the companion of a column that names the user.
    """
    if manifest.type is ImportType.EVENT:
        return {}
    companions = {}
    for name in header:
        if name + OPERATION_SUFFIX not in header or name + OPERATION_SUFFIX in manifest.columns:
            continue
        companions[name] = name + OPERATION_SUFFIX
        if canonical_target(manifest.column(name).ct_name or name, manifest.type) in USER_COLUMNS:
            raise HeaderMismatch(
                f"The column {shown(companions[name])} would be an operation on {shown(name)}, which names the user.",
                column=companions[name],
            )
    return companions


def _cell(manifest: Manifest, name: str, spellings: Mapping[str, str]) -> Cell:
    """How the column ``name`` is read; raises `HeaderMismatch` when it cannot be stored under its target's name."""
    asked = manifest.column(name)
    target = canonical_target(asked.ct_name or name, manifest.type)
    field = target if manifest.type is ImportType.PROFILE and target in FIELD_TYPES else None
    data_type = asked.data_type if field is None else FIELD_TYPES[field][0]
    if target == TIMESTAMP and name not in manifest.columns:
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
    return Cell(name, target, data_type, data_type, form, zone, separator=asked.separator, field=field)


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
        return replace(cell, stored=stored)
    raise TypeConflict(
        f"The column {shown(cell.source)} is to be stored as {cell.asked}, but the property {shown(cell.target)} is "
        f'stored as {stored}: set "dataType": "{stored}" in the manifest, or store it under another name.',
        column=cell.source,
    )


def _check_count(
    kind: ImportType, properties: Sequence[Cell], registry: Mapping[str, DataType], max_properties: int
) -> None:
    """All custom properties of an account's profiles together, and all of its events, have a limit (FAULTS.md D4)."""
    names = {cell.target for cell in properties} | set(registry)
    whose, most = "events", MAX_EVENT_COLUMNS
    if kind is ImportType.PROFILE:
        whose, most = "profiles", max_properties
        names -= {*PROFILE_FIELDS, *CONSENT_FLAGS}
    if len(names) > most:
        raise LimitExceeded(
            f"With this file the {whose} of this account would have {len(names)} properties; {most} are allowed."
        )

"""From the records of a batch to typed rows that may be stored, by the plan and the cast that files go through.

The records of all requests of a batch are one frame for each kind: what is vectorised costs the same for one request
and for fifty. Who came first in a batch is first here as well, so a name that is new has the type that the first one
gave it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from ingest.uploads.body import Fault, Record
from ingest.uploads.properties import PropertyNames, named, operation_of, texts_of, type_of
from manifests import codes
from manifests.cast import Mapped, apply
from manifests.errors import ManifestError
from manifests.event_names import EventNames
from manifests.model import Column, Manifest
from manifests.names import EVENT_NAME, OPERATION_SUFFIX, TIMESTAMP, is_operation_column, operation_column
from manifests.plan import Plan, build_plan
from manifests.types import USER_COLUMNS, DataType, ImportType


@dataclass(frozen=True, slots=True)
class Rules:
    """What an account may send at this moment."""

    registry: Mapping[str, DataType]
    allow_reserved_events: bool
    max_properties: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows that may be stored, with the columns that they fill, and the others' faults by number of the record."""

    accepted: pl.DataFrame
    properties: dict[str, DataType]
    faults: dict[int, Fault]


class _Cells:
    """The values of a frame by column, each with the numbers of their rows."""

    def __init__(self) -> None:
        self.rows: dict[str, list[int]] = {}
        self.values: dict[str, list[Any]] = {}

    def add(self, row: int, name: str, value: Any) -> None:
        if value is not None:
            self.rows.setdefault(name, []).append(row)
            self.values.setdefault(name, []).append(value)


def judged(
    kind: ImportType, records: Mapping[int, Record], rules: Rules, names: EventNames, *, received_at: datetime
) -> Judged:
    """What becomes of the records of one kind, which come with their numbers in the batch; ``names`` learns new ones.

    Raises nothing because of what a record holds.
    """
    properties = PropertyNames(kind, rules.registry, max_properties=rules.max_properties)
    faults: dict[int, Fault] = {}
    good: dict[int, dict[str, Any]] = {}
    for number, record in records.items():
        found = named(record.data, properties)
        if isinstance(found, Fault):
            faults[number] = found
        else:
            good[number] = found
    while good:
        heads = {number: records[number].head for number in good}
        try:
            plan, frame = _planned(kind, heads, good, rules)
        except ManifestError as conflict:  # a column cannot be stored: its records are not
            refused = [number for number, found in good.items() if conflict.column in found]
            if not refused:
                raise
            for number in refused:
                faults[number] = Fault(codes.WRONG_TYPE, conflict.public, conflict.column)
                del good[number]
            continue
        return _sorted(plan, apply(plan, frame, received_at=received_at, names=names), faults)
    return Judged(pl.DataFrame(), {}, faults)


def _planned(
    kind: ImportType, heads: Mapping[int, dict[str, Any]], found: Mapping[int, dict[str, Any]], rules: Rules
) -> tuple[Plan, pl.DataFrame]:
    """The frame of some records, as the parse step would deliver it, and the plan for it."""
    cells = _Cells()
    for row, number in enumerate(found):
        for name, value in found[number].items():
            operation = operation_of(value) if kind is ImportType.PROFILE else None
            if operation is not None:
                cells.add(row, name + OPERATION_SUFFIX, operation[0])
            cells.add(row, name, value if operation is None else operation[1])
    types = {
        name: rules.registry.get(name) or type_of(iter(values))
        for name, values in cells.values.items()
        if not name.endswith(OPERATION_SUFFIX)
    }
    columns = {name: Column(data_type=type_) for name, type_ in types.items()}
    special = (*USER_COLUMNS, *((EVENT_NAME, TIMESTAMP) if kind is ImportType.EVENT else ()))
    for name in special:
        for row, head in enumerate(heads.values()):
            cells.add(row, name, head.get(name))
    companions = [name for name in cells.values if name.endswith(OPERATION_SUFFIX)]
    # an operation alone, as {"$delete": null}, has no value beside it
    columns |= {
        name: Column(data_type=rules.registry.get(name, DataType.STRING))
        for companion in companions
        if (name := companion.removesuffix(OPERATION_SUFFIX)) not in columns
    }
    header = [*special, *columns, *companions]
    plan = build_plan(
        Manifest(file_name="upload", type=kind, client_email="", columns=columns),
        header,
        rules.registry,
        allow_reserved_events=rules.allow_reserved_events,
        max_properties=rules.max_properties,
    )
    series = [
        _series(
            name,
            len(found),
            cells.rows.get(name, []),
            texts_of(cells.values.get(name, []), types.get(name, DataType.STRING)),
        )
        for name in header
    ]
    numbers = pl.Series("_row", list(found), dtype=pl.Int64)
    return plan, pl.DataFrame(
        [*series, numbers, pl.repeat(None, len(found), dtype=pl.Int32, eager=True).alias("_fault")]
    )


def _series(name: str, height: int, rows: Sequence[int], texts: Sequence[str]) -> pl.Series:
    values = pl.Series(name, texts, dtype=pl.String)
    if len(rows) == height:
        return values
    nothing = pl.repeat(None, height, dtype=pl.String, eager=True).alias(name)
    return nothing.scatter(pl.Series(rows, dtype=pl.UInt32), values) if rows else nothing


def _sorted(plan: Plan, mapped: Mapped, faults: dict[int, Fault]) -> Judged:
    """The accepted rows without columns that none of them fills: what nobody stores fixes no type."""
    for row, column, code, reason in mapped.rejects.iter_rows():
        faults[row] = Fault(code, reason, column)
    empty = [name for name in plan.properties if mapped.accepted[name].null_count() == mapped.accepted.height]
    kept = {name for name in plan.properties if name not in empty}
    # a column of operations never stands alone
    kept |= {name for name in plan.properties if operation_column(name) in kept and not is_operation_column(name)}
    properties = {name: type_ for name, type_ in plan.properties.items() if name in kept}
    dropped = [name for name in plan.properties if name not in kept]
    return Judged(mapped.accepted.drop(dropped), properties, faults)

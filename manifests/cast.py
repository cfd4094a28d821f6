"""Rows of strings to typed rows and rejected rows, vectorised: no Python loop over rows, only over columns.

A frame comes with every column of the file as String (null and "" are no value), ``_row`` (Int64, the record's number
from 1) and ``_fault`` (Int32, null or a code of `manifests.codes` that the parser found). Rules are asked in a fixed
order: fault, user, event name, time, then the properties in the order of the header; the first that a row breaks is its
reason. A mask is made only for a column in which something is wrong: that is seen by counting nulls.

Users, event names, Email, Phone, Gender and Education are stored without blanks around them, other Strings as they
came. An event may fill at most so many properties; that is asked last.
A profile row with a user and no property is accepted: it says that the user exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from manifests import codes
from manifests.cells import POLARS_TYPES, bare, filled, side_by_side, trimmed, typed
from manifests.event_names import EventNames
from manifests.events import event_name_findings
from manifests.findings import Finding
from manifests.lists import list_findings, or_nothing
from manifests.names import EVENT_NAME, TIMESTAMP, operation_column
from manifests.operations import DELETE, operation_findings, operation_words, stored_operation
from manifests.people import FIELD_CODES, age_findings, person_findings, spelled
from manifests.plan import Cell, Plan
from manifests.types import USER_COLUMNS, DataType, ImportType
from manifests.users import user_findings

MAX_STRING_CHARS = 512

_UTC_MICROS = pl.Datetime("us", "UTC")
REJECT_SCHEMA = pl.Schema({"_row": pl.Int64, "column": pl.String, "code": pl.Int32, "reason": pl.String})


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of one frame; every row is in exactly one of ``accepted`` and ``rejects``, both in order of ``_row``.

    ``accepted``: ``_row``, the four user columns, for events ``evtName`` and ``ts``, then `Plan.properties`.
    ``rejects``: ``_row``, ``column`` (of the file; null when no single one is to blame), ``code``, ``reason``.
    ``sources``: the rejected rows as they came, ``_row`` first.
    """

    accepted: pl.DataFrame
    rejects: pl.DataFrame
    sources: pl.DataFrame


def apply(plan: Plan, frame: pl.DataFrame, *, received_at: datetime, names: EventNames | None = None) -> Mapped:
    """The rows of ``frame`` after the plan; ``received_at`` (aware) is the time of events that have none.

    ``names`` goes from frame to frame of a file and learns the event names that come; without it every name is new.
    """
    texts = _texts(plan, frame)
    values = _values(plan, texts)
    findings = [
        *_fault_findings(frame),
        *user_findings(plan.users, texts),
        *event_name_findings(plan, texts, frame["_fault"], names if names is not None else EventNames()),
        *_cell_findings(plan, texts, values),
        *_count_findings(plan, texts),
    ]
    accepted = _assembled(plan, frame, texts, values, received_at)
    if not findings:
        return Mapped(accepted, REJECT_SCHEMA.to_frame(), _sources(frame.clear()))
    first = pl.select(
        pl.coalesce(pl.when(finding.rows).then(pl.lit(index, pl.Int32)) for index, finding in enumerate(findings))
    ).to_series()
    rejected = first.is_not_null()
    return Mapped(
        accepted.filter(~rejected),
        _rejects(frame["_row"].filter(rejected), first.drop_nulls(), findings),
        _sources(frame.filter(rejected)),
    )


def _texts(plan: Plan, frame: pl.DataFrame) -> dict[str, pl.Series]:
    """The filled cells of every source that the plan reads, as strings; null is no value.

    The value beside ``$delete`` is none. Companion columns have the words of their operations.
    """
    values = [*_maybe(plan.timestamp), *plan.cells]
    fields = [cell.source for cell in values if cell.field is not None and cell.asked is DataType.STRING]
    companions = {cell.source: cell.operation for cell in plan.cells if cell.operation is not None}
    trim = [*(cell.source for cell in (*plan.users, *_maybe(plan.event))), *fields, *companions.values()]
    read = dict.fromkeys([*trim, *(cell.source for cell in values)])
    texts = side_by_side({name: frame[name] for name in read}, lambda _, text: filled(text, plan.null_values))
    texts |= side_by_side({name: texts[name] for name in trim}, lambda _, text: trimmed(text))
    for source, companion in companions.items():
        texts[companion] = operation_words(texts[companion])
        texts[source] = pl.select(pl.when(texts[companion].ne_missing(DELETE)).then(texts[source])).to_series()
    return texts


def _maybe(cell: Cell | None) -> tuple[Cell, ...]:
    return () if cell is None else (cell,)


def _values(plan: Plan, texts: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
    """The columns that are not stored as the strings they came as, typed, by source.

    Blanks around a cell are rare, so they are looked for only where a cast failed.
    """
    cells = {cell.source: cell for cell in (*_maybe(plan.timestamp), *plan.cells) if cell.asked is not DataType.STRING}
    values = typed(texts, cells)
    failed = {
        name: bare(texts[name]) for name, value in values.items() if value.null_count() != texts[name].null_count()
    }
    return values | typed(failed, {name: cells[name] for name in failed})


def _fault_findings(frame: pl.DataFrame) -> Iterator[Finding]:
    """The rows that the parser could not read."""
    faults = frame["_fault"]
    if faults.null_count() < len(faults):
        for code in faults.drop_nulls().unique().sort():
            yield Finding((faults == code).fill_null(value=False), int(code), None)


def _cell_findings(plan: Plan, texts: Mapping[str, pl.Series], values: dict[str, pl.Series]) -> Iterator[Finding]:
    """The rows whose time or properties do not keep what the manifest promises."""
    for cell in (*_maybe(plan.timestamp), *plan.cells):
        text = texts[cell.source]
        if cell.operation is not None:
            yield from operation_findings(cell, texts[cell.operation])
        if cell.source not in values:
            if (text.str.len_bytes() > MAX_STRING_CHARS).any():  # bytes are counted faster than characters
                yield from Finding.where(text.str.len_chars() > MAX_STRING_CHARS, codes.TOO_LONG, cell.source)
            yield from person_findings(cell.field, cell.source, text)
            continue
        value = values[cell.source]
        yield from _misfits(cell, text, value)
        if cell.asked is DataType.STRING_LIST:
            yield from list_findings(cell.source, value, max_chars=MAX_STRING_CHARS)
        elif cell.field == "Age":
            yield from age_findings(cell.source, value)


def _misfits(cell: Cell, text: pl.Series, value: pl.Series) -> Iterator[Finding]:
    """The rows whose filled cell has no value of the promised type."""
    if value.null_count() == text.null_count():
        return
    code, reason = _misfit(cell)
    yield from Finding.where(bare(text).is_not_null() & value.is_null(), code, cell.source, reason)


def _misfit(cell: Cell) -> tuple[int, str | None]:
    """The code and, where the code alone says too little, the reason of a cell that does not fit."""
    if cell.target == TIMESTAMP:
        return codes.BAD_TIMESTAMP, None
    if cell.field in FIELD_CODES:
        return FIELD_CODES[cell.field], None
    match cell.asked:
        case DataType.DATE:
            return codes.BAD_DATE, f"the value is not a date of the form {cell.form}"
        case DataType.STRING_LIST:
            return codes.WRONG_TYPE, "the value is not a StringList: a JSON array of strings, as there is no separator"
        case _:
            article = "an" if cell.asked is DataType.INTEGER else "a"
            return codes.WRONG_TYPE, f"the value is not {article} {cell.asked}"


def _count_findings(plan: Plan, texts: Mapping[str, pl.Series]) -> Iterator[Finding]:
    """The events with more properties than an event may have."""
    if plan.type is ImportType.EVENT and len(plan.cells) > plan.max_properties:
        count = pl.select(pl.sum_horizontal(texts[cell.source].is_not_null() for cell in plan.cells)).to_series()
        yield from Finding.where(count > plan.max_properties, codes.TOO_MANY_PROPERTIES, None)


def _assembled(
    plan: Plan, frame: pl.DataFrame, texts: Mapping[str, pl.Series], values: dict[str, pl.Series], received_at: datetime
) -> pl.DataFrame:
    """All rows in the shape of accepted ones; rows with a finding have nulls where a cast failed."""
    height = frame.height
    sources = {cell.target: cell.source for cell in plan.users}
    nothing = pl.repeat(None, height, dtype=pl.String, eager=True)
    users = [(texts[sources[name]] if name in sources else nothing).alias(name) for name in USER_COLUMNS]
    columns = [frame["_row"], *users]
    if plan.type is ImportType.EVENT:
        columns += [_event_names(plan, texts, height), _times(plan, values, height, received_at)]
    properties = [_stored(cell, values.get(cell.source, texts[cell.source])) for cell in plan.cells]
    operations = [
        stored_operation(texts[cell.operation], column).alias(operation_column(cell.target))
        for cell, column in zip(plan.cells, properties, strict=True)
        if cell.operation is not None
    ]
    return pl.DataFrame([*columns, *properties, *operations])


def _stored(cell: Cell, column: pl.Series) -> pl.Series:
    """The column as the lake has it."""
    if cell.asked is DataType.STRING_LIST:
        column = or_nothing(column)
    elif cell.asked is DataType.STRING:
        column = spelled(cell.field, column)
    return column.cast(POLARS_TYPES[cell.stored]).alias(cell.target)


def _event_names(plan: Plan, texts: Mapping[str, pl.Series], height: int) -> pl.Series:
    if plan.event is not None:
        return texts[plan.event.source].alias(EVENT_NAME)
    return pl.repeat(plan.event_name, height, dtype=pl.String, eager=True).alias(EVENT_NAME)


def _times(plan: Plan, values: dict[str, pl.Series], height: int, received_at: datetime) -> pl.Series:
    moment = pl.lit(received_at).cast(_UTC_MICROS)
    if plan.timestamp is None:
        return pl.select(pl.repeat(received_at, height, dtype=_UTC_MICROS)).to_series().alias(TIMESTAMP)
    return values[plan.timestamp.source].to_frame(TIMESTAMP).select(pl.col(TIMESTAMP).fill_null(moment)).to_series()


def _rejects(rows: pl.Series, first: pl.Series, findings: list[Finding]) -> pl.DataFrame:
    reasons = pl.DataFrame(
        {
            "column": [finding.column for finding in findings],
            "code": [finding.code for finding in findings],
            "reason": [finding.reason for finding in findings],
        },
        schema={name: REJECT_SCHEMA[name] for name in ("column", "code", "reason")},
    )
    return pl.concat([rows.to_frame(), reasons[first]], how="horizontal")


def _sources(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select("_row", pl.exclude("_row", "_fault"))

"""Rows of strings to typed rows and rejected rows, vectorised: no Python loop over rows, only over columns.

A frame comes with every column of the file as String (null and "" are no value), ``_row`` (Int64, the record's number
from 1) and ``_fault`` (Int32, null or a code of `manifests.codes` that the parser found). Rules are asked in a fixed
order: fault, user, event name, time, then the properties in the order of the header; the first that a row breaks is its
reason. A mask is made only for a column in which something is wrong: that is seen by counting nulls.

Users, event names, Email, Phone and Gender are stored without blanks around them, other Strings as they came.
A profile row with a user and no property is accepted: it says that the user exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from manifests import codes
from manifests.cells import POLARS_TYPES, filled, trimmed, typed
from manifests.events import event_name_findings
from manifests.findings import Finding
from manifests.names import EVENT_NAME, TIMESTAMP
from manifests.people import PERSON_FIELDS, person_findings, stored_gender
from manifests.plan import Cell, Plan
from manifests.types import USER_COLUMNS, DataType, ImportType
from manifests.users import user_findings

MAX_STRING_CHARS = 512

_UTC_MICROS = pl.Datetime("us", "UTC")
REJECT_SCHEMA = pl.Schema({"_row": pl.Int64, "column": pl.String, "code": pl.Int32, "reason": pl.String})


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of one frame; every row is in exactly one of ``accepted`` and ``rejects``, both in order of ``_row``.

    ``accepted``: ``_row``, the four user columns, for events ``evtName`` and ``ts``, then the plan's properties.
    ``rejects``: ``_row``, ``column`` (of the file; null when no single one is to blame), ``code``, ``reason``.
    ``sources``: the rejected rows as they came, ``_row`` first.
    """

    accepted: pl.DataFrame
    rejects: pl.DataFrame
    sources: pl.DataFrame


def apply(plan: Plan, frame: pl.DataFrame, *, received_at: datetime) -> Mapped:
    """The rows of ``frame`` after the plan; ``received_at`` (aware) is the time of events that have none."""
    texts = _texts(plan, frame)
    values = _values(plan, texts)
    findings = [
        *_fault_findings(frame),
        *user_findings(plan.users, texts),
        *event_name_findings(plan, texts),
        *_cell_findings(plan, texts, values),
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


def _texts(plan: Plan, frame: pl.DataFrame) -> pl.DataFrame:
    """The filled cells of every source that the plan reads, as strings; null is no value."""
    values = [*_maybe(plan.timestamp), *plan.cells]
    person = [cell for cell in values if plan.type is ImportType.PROFILE and cell.target in PERSON_FIELDS]
    bare = [*plan.users, *_maybe(plan.event), *person]
    sources = {cell.source for cell in (*bare, *values)}
    texts = frame.select(filled(pl.col(name), plan.null_values) for name in frame.columns if name in sources)
    return texts.with_columns(trimmed(texts[cell.source]).alias(cell.source) for cell in bare)


def _maybe(cell: Cell | None) -> tuple[Cell, ...]:
    return () if cell is None else (cell,)


def _values(plan: Plan, texts: pl.DataFrame) -> dict[str, pl.Series]:
    """The columns that are not stored as the strings they came as, typed, by source.

    Blanks around a cell are rare, so they are looked for only where a cast failed.
    """
    values: dict[str, pl.Series] = {}
    for cell in (*_maybe(plan.timestamp), *plan.cells):
        if cell.asked is DataType.STRING:
            continue
        text = texts[cell.source]
        value = typed(text, cell)
        values[cell.source] = value if value.null_count() == text.null_count() else typed(trimmed(text), cell)
    return values


def _fault_findings(frame: pl.DataFrame) -> Iterator[Finding]:
    """The rows that the parser could not read."""
    faults = frame["_fault"]
    if faults.null_count() < len(faults):
        for code in faults.drop_nulls().unique().sort():
            yield Finding((faults == code).fill_null(value=False), int(code), None)


def _cell_findings(plan: Plan, texts: pl.DataFrame, values: dict[str, pl.Series]) -> Iterator[Finding]:
    """The rows whose time or properties do not keep what the manifest promises."""
    for cell in (*_maybe(plan.timestamp), *plan.cells):
        text = texts[cell.source]
        if cell.source in values:
            yield from _misfits(cell, text, values[cell.source])
        elif (text.str.len_bytes() > MAX_STRING_CHARS).any():  # bytes are counted faster than characters
            yield from Finding.where(text.str.len_chars() > MAX_STRING_CHARS, codes.TOO_LONG, cell.source)
        if plan.type is ImportType.PROFILE:
            yield from person_findings(cell, text)


def _misfits(cell: Cell, text: pl.Series, value: pl.Series) -> Iterator[Finding]:
    if value.null_count() == text.null_count():
        return
    promised = trimmed(text).is_not_null()
    if cell.target == TIMESTAMP:
        yield from Finding.where(promised & value.is_null(), codes.BAD_TIMESTAMP, cell.source)
    elif cell.asked is DataType.DATE:
        yield from Finding.where(
            promised & value.is_null(), codes.BAD_DATE, cell.source, f"the value is not a date of the form {cell.form}"
        )
    else:
        article = "an" if cell.asked is DataType.INTEGER else "a"
        yield from Finding.where(
            promised & value.is_null(), codes.WRONG_TYPE, cell.source, f"the value is not {article} {cell.asked}"
        )


def _assembled(
    plan: Plan, frame: pl.DataFrame, texts: pl.DataFrame, values: dict[str, pl.Series], received_at: datetime
) -> pl.DataFrame:
    """All rows in the shape of accepted ones; rows with a finding have nulls where a cast failed."""
    height = frame.height
    sources = {cell.target: cell.source for cell in plan.users}
    nothing = pl.repeat(None, height, dtype=pl.String, eager=True)
    users = [(texts[sources[name]] if name in sources else nothing).alias(name) for name in USER_COLUMNS]
    columns = [frame["_row"], *users]
    if plan.type is ImportType.EVENT:
        columns += [_event_names(plan, texts), _times(plan, values, height, received_at)]
    for cell in plan.cells:
        column = values.get(cell.source, texts[cell.source])
        if plan.type is ImportType.PROFILE and cell.target == "Gender":
            column = stored_gender(column)
        columns.append(column.cast(POLARS_TYPES[cell.stored]).alias(cell.target))
    return pl.DataFrame(columns)


def _event_names(plan: Plan, texts: pl.DataFrame) -> pl.Series:
    if plan.event is not None:
        return texts[plan.event.source].alias(EVENT_NAME)
    return pl.repeat(plan.event_name, texts.height, dtype=pl.String, eager=True).alias(EVENT_NAME)


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

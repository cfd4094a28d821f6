"""The name of an event (CONTRACT.md 3); rules are asked once for each distinct name, not once a row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import polars as pl

from manifests import codes
from manifests.event_names import EventNames
from manifests.findings import Finding
from manifests.names import FORBIDDEN_IN_NAMES, MAX_EVENT_NAME_CHARS, RESERVED_EVENTS
from manifests.plan import Plan

_FORBIDDEN = f"[{re.escape(FORBIDDEN_IN_NAMES)}]"
_RESERVED = [name.lower() for name in RESERVED_EVENTS]


def event_name_findings(
    plan: Plan, texts: Mapping[str, pl.Series], faults: pl.Series, names: EventNames
) -> Iterator[Finding]:
    """The rows whose event name is missing or may not be used; none when the name is fixed.

    ``faults`` has the rows that could not be read: they bring no new name.
    """
    if plan.event is None:
        return
    source = plan.event.source
    column = texts[source]
    if column.null_count():
        yield Finding(column.is_null(), codes.EVENT_NAME_MISSING, source)
    distinct = column.unique().drop_nulls()
    reserved = distinct.str.to_lowercase().is_in([] if plan.allow_reserved_events else _RESERVED)
    too_long = distinct.str.len_chars() > MAX_EVENT_NAME_CHARS
    forbidden = distinct.str.contains(_FORBIDDEN)
    discarded = distinct.is_in(list(names.discarded))
    yield from _among(column, distinct.filter(reserved), codes.EVENT_RESERVED, source)
    yield from _among(column, distinct.filter(too_long), codes.TOO_LONG, source)
    yield from _among(column, distinct.filter(forbidden), codes.FORBIDDEN_NAME, source)
    yield from _among(column, distinct.filter(discarded), codes.EVENT_DISCARDED, source)
    usable = distinct.filter(~(reserved | too_long | forbidden | discarded))
    if unknown := names.unknown(usable.to_list()):
        fresh = column.filter(column.is_in(unknown) & faults.is_null()).unique(maintain_order=True)
        surplus = names.admit(fresh.to_list())
        yield from _among(column, pl.Series(surplus, dtype=pl.String), codes.TOO_MANY_EVENT_NAMES, source)


def _among(names: pl.Series, wrong: pl.Series, code: int, source: str) -> Iterator[Finding]:
    if len(wrong):
        yield from Finding.where(names.is_in(wrong.implode()), code, source)

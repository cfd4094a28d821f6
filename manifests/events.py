"""The name of an event (CONTRACT.md 3); rules are asked once for each distinct name, not once a row."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from manifests import codes
from manifests.findings import Finding
from manifests.names import FORBIDDEN_IN_NAMES, RESERVED_EVENTS
from manifests.plan import Plan

MAX_EVENT_NAME_CHARS = 512

_FORBIDDEN = f"[{re.escape(FORBIDDEN_IN_NAMES)}]"


def event_name_findings(plan: Plan, texts: pl.DataFrame) -> Iterator[Finding]:
    """The rows whose event name is missing, reserved, too long or forbidden; none when the name is fixed."""
    if plan.event is None:
        return
    source = plan.event.source
    names = texts[source]
    if names.null_count():
        yield Finding(names.is_null(), codes.EVENT_NAME_MISSING, source)
    distinct = names.unique().drop_nulls()
    if not plan.allow_reserved_events:
        reserved = distinct.str.to_lowercase().is_in([name.lower() for name in RESERVED_EVENTS])
        yield from _among(names, distinct.filter(reserved), codes.EVENT_RESERVED, source)
    too_long = distinct.str.len_chars() > MAX_EVENT_NAME_CHARS
    yield from _among(names, distinct.filter(too_long), codes.TOO_LONG, source)
    yield from _among(names, distinct.filter(distinct.str.contains(_FORBIDDEN)), codes.FORBIDDEN_NAME, source)


def _among(names: pl.Series, wrong: pl.Series, code: int, source: str) -> Iterator[Finding]:
    if len(wrong):
        yield from Finding.where(names.is_in(wrong.implode()), code, source)

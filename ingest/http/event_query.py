"""What a reader of events asks for: an event name and two days, and how many events a page may have."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest.http.problems import Problem
from ingest.uploads.body import read_object
from manifests.names import MAX_EVENT_NAME_CHARS, shown
from stores.event_pages import EventQuery

MOST_EVENTS = 5000
_EVENTS = 1000
_DAY = re.compile(r"[0-9]{8}")
_KEYS = ("event_name", "from", "to")


def read_batch_size(text: str | None) -> int:
    """How many events a page has. Raises `Problem`."""
    if text is None:
        return _EVENTS
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= MOST_EVENTS):
        raise Problem(400, "events.batch_size", f"batch_size is a whole number from 1 to {MOST_EVENTS}.")
    return int(text)


def read_query(content: bytes) -> EventQuery:
    """The query in a body; days are UTC, the last one is included. Raises `Problem`, `BodyMalformed`."""
    asked = read_object(content)
    unknown = [key for key in asked if key not in _KEYS]
    if unknown:
        raise _wrong(f"The key {shown(unknown[0])} is not known; known are {', '.join(_KEYS)}.")
    name = asked.get("event_name")
    if type(name) is not str or not 0 < len(name) <= MAX_EVENT_NAME_CHARS:
        raise _wrong(f"event_name is a string of 1 to {MAX_EVENT_NAME_CHARS} characters.")
    first, last = _day(asked, "from"), _day(asked, "to")
    if last < first:
        raise _wrong("The day in to is before the one in from.")
    return EventQuery(name, first, last + timedelta(days=1))


def _day(asked: dict[str, Any], key: str) -> datetime:
    said = asked.get(key)
    try:
        if isinstance(said, str) and _DAY.fullmatch(said):
            day = datetime.strptime(said, "%Y%m%d").replace(tzinfo=UTC)
            if day.year < 9999:
                return day
    except ValueError:
        pass
    raise _wrong(f"{key} is a day, YYYYMMDD, such as 20260131.")


def _wrong(text: str) -> Problem:
    return Problem(400, "events.query", text)

"""The answers about data, as bytes of JSON. Dates are ISO 8601 in UTC, unless a key says otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from manifests.names import EVENT_NAME, TIMESTAMP
from manifests.types import USER_COLUMNS
from stores.lookups import ADDRESS, EventSummary


def cursor_answer(cursor: str) -> bytes:
    """Where the events can be read."""
    return _bytes({"cursor": cursor, "status": "success"})


def events_answer(events: pl.DataFrame, following: str | None) -> bytes:
    """A page of events; ``ts`` is a number, yyyyMMddHHmmss. What has no value is left out."""
    answer: dict[str, Any] = {"status": "success"}
    if following is not None:
        answer["next_cursor"] = following
    if events.is_empty():
        return _bytes(answer | {"records": []})
    users = [name for name in (*USER_COLUMNS, ADDRESS) if name in events.columns]
    properties = [name for name in events.columns if name not in (*users, EVENT_NAME, TIMESTAMP)]
    shown = ["email" if name == ADDRESS else name for name in users]
    moments = events[TIMESTAMP].dt.strftime("%Y%m%d%H%M%S").cast(pl.Int64)
    values_of_rows = events.select(properties).rows() if properties else [()] * events.height  # no columns, no rows
    rows = zip(events.select(users).rows(), moments, values_of_rows, strict=True)
    answer["records"] = [
        {"profile": _filled(shown, user), "ts": moment, "event_props": _filled(properties, values)}
        for user, moment, values in rows
    ]
    return _bytes(answer)


def profile_answer(profile: dict[str, Any], summary: Sequence[EventSummary]) -> bytes:
    """One user; ``first_seen`` and ``last_seen`` are epoch seconds.

    ``platformInfo`` is empty: files and uploads tell of users, not of their devices.
    """
    user = {name: profile[name] for name in USER_COLUMNS if name in profile}
    properties = {name: value for name, value in profile.items() if name not in (*user, "Email")}
    record = {
        **user,
        "email": profile.get("Email"),
        "profileData": properties,
        "events": {
            event.name: {
                "count": event.count,
                "first_seen": int(event.first.timestamp()),
                "last_seen": int(event.last.timestamp()),
            }
            for event in summary
        },
        "platformInfo": [],
    }
    return _bytes({"status": "success", "record": record})


def _filled(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _bytes(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, ensure_ascii=False, allow_nan=False, default=_date).encode()


def _date(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"a value of type {type(value).__name__} is not among what is stored")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

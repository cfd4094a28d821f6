"""Dates of every form in several zones, against plain Python, cell by cell."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import codes
from manifests.dates import DATE_FORMATS, EPOCH_MILLISECONDS, EPOCH_SECONDS, ISO_8601
from manifests.model import Column
from manifests.types import DataType
from tests.manifests.rows import cast

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/Sao_Paulo", "Australia/Lord_Howe")
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
PARTS = {"yyyy": "([0-9]{4})", "MMM": "([A-Za-z]{3})", "MM": "([0-9]{2})", "dd": "([0-9]{2})"}
TIME = "([0-9]{2}):([0-9]{2}):([0-9]{2})"
ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def placed(local: datetime, zone: str) -> datetime | None:
    """The first moment that a local time names; ``None`` for one that the clocks skip."""
    try:
        moment = local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        back = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    except OverflowError:  # before year 1 or after 9999 in UTC
        return None
    return moment if back == local.replace(fold=0) else None


def built(year: str, month: str, day: str, *clock: str) -> datetime | None:
    number = MONTHS.index(month.lower()) + 1 if month.lower() in MONTHS else int(month) if month.isdecimal() else 0
    hour, minute, second = map(int, clock or ("0", "0", "0"))
    try:
        return datetime(int(year), number, int(day), hour, minute, second)  # noqa: DTZ001 -- the caller places it
    except ValueError:
        return None


def python_iso(text: str, zone: str) -> datetime | None:
    match = ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    local = built(year, month, day, hour or "0", minute or "0", second or "0")
    if local is None:
        return None
    local += timedelta(microseconds=int((fraction or "")[:6].ljust(6, "0")))
    if offset is None:
        return placed(local, zone)
    if offset == "Z":
        return local.replace(tzinfo=UTC)
    sign, hours, minutes = offset[0], int(offset[1:3]), int(offset[-2:])
    if hours > 29 or minutes > 59:
        return None
    behind = timedelta(hours=hours, minutes=minutes)
    try:
        return (local + behind if sign == "-" else local - behind).replace(tzinfo=UTC)
    except OverflowError:
        return None


def python_date(cell: str, form: str, zone: str) -> object:
    """What a plain reader makes of one cell."""
    text = cell.strip(" \t")
    if not text:
        return None
    found: datetime | None = None
    if form in (EPOCH_SECONDS, EPOCH_MILLISECONDS):
        if re.fullmatch(r"[+-]?[0-9]{1,30}", text):
            unit = timedelta(seconds=1) if form == EPOCH_SECONDS else timedelta(milliseconds=1)
            try:
                found = datetime(1970, 1, 1, tzinfo=UTC) + int(text) * unit
            except OverflowError:
                found = None
    elif form == ISO_8601:
        found = python_iso(text, zone)
    else:
        day_form = form.removesuffix(" HH:mm:ss")
        order = re.findall("yyyy|MMM|MM|dd", day_form)
        shape = re.sub("yyyy|MMM|MM|dd", lambda part: PARTS[part[0]], day_form)
        match = re.fullmatch(shape + (f" {TIME}" if form != day_form else ""), text)
        if match is not None:
            by_part = dict(zip((part[0].lower() + part[-1] for part in order), match.groups(), strict=False))
            local = built(by_part["yy"], by_part["mM"], by_part["dd"], *match.groups()[3:])
            found = placed(local, zone) if local is not None else None
    return found if found is not None else codes.BAD_DATE


def written(form: str, moment: datetime) -> str:
    if form == ISO_8601:
        return moment.isoformat()
    if form in (EPOCH_SECONDS, EPOCH_MILLISECONDS):
        return str(int((moment - datetime(1970, 1, 1)).total_seconds()))  # noqa: DTZ001 -- both are naive
    values = {"yyyy": f"{moment.year:04}", "MMM": moment.strftime("%b"), "MM": f"{moment.month:02}"}
    text = re.sub("yyyy|MMM|MM|dd", lambda part: values.get(part[0], f"{moment.day:02}"), form)
    return text.replace("HH:mm:ss", moment.strftime("%H:%M:%S"))


END = datetime(2099, 12, 30)  # noqa: DTZ001 -- naive like the rest; the casts know clock changes only so far
MOMENTS = st.datetimes(max_value=END) | st.datetimes(datetime(2024, 1, 1), datetime(2025, 1, 1))  # noqa: DTZ001
CLOCK_CHANGES = st.sampled_from(
    ["2024-03-31 02:30:00", "2024-10-27 02:30:00", "2018-11-04 00:30:00", "2024-10-06 02:15:00", "2024-04-07 01:45:00"]
)
ODD_CELLS = """
    0000-01-01 9999-12-31 2024-02-29 2023-02-29 2024-12-31T23:59:60Z 2024-06-30T24:00:00 12/31/2024 31/12/2024
    1/2/2024 2024-1-2 1e9 1700000000 1,5 2024-12-31T10:20+05:30 2024-12-31T10:20:30-0100 0001-01-01T00:00+14:00
    9223372036854775807 -1 +5 ٢٠٢٤
"""
ODD = st.sampled_from(ODD_CELLS.split()) | st.sampled_from(["31 Dec 2024", "31 dez 2024", " 2024-06-30 ", "", "\t"])
LATER = re.compile("2[1-9][0-9]{2}|[3-9][0-9]{3}")


@pytest.mark.parametrize("form", DATE_FORMATS)
@given(data=st.data(), zone=st.sampled_from(ZONES))
@settings(max_examples=30, deadline=None)
def test_dates_are_those_of_plain_python(form: str, data: st.DataObject, zone: str) -> None:
    """FAULTS D10: each form and no other, years 1 to 9999, no leap second, clock changes."""
    good = (MOMENTS | CLOCK_CHANGES.map(datetime.fromisoformat)).map(lambda moment: written(form, moment))
    damaged = st.tuples(good, st.integers(0, 30), st.text("0123456789:/-T.Z +a", max_size=2)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
    )
    cells = data.draw(st.lists(good | damaged | ODD | CLOCK_CHANGES, max_size=25))
    if zone != "UTC" and form not in (EPOCH_SECONDS, EPOCH_MILLISECONDS):
        cells = [cell for cell in cells if LATER.search(cell) is None]
    made = cast(cells, Column(None, DataType.DATE, form, None), zone=zone)
    assert made == [python_date(cell, form, zone) for cell in cells]

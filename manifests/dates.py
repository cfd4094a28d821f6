"""The forms a date may have (CONTRACT.md 2), and how a column of strings in one of them becomes moments in UTC.

A form is matched strictly: all digits must be there. A missing time of day is 00:00:00. A local time that a clock
change repeats means the first of the two; one that it skips is no date. The casts know the clock changes of zones up to
the year 2099; after it a zone's standard time counts.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from functools import cache

import polars as pl

ISO_8601 = "ISO 8601"
EPOCH_SECONDS = "epoch seconds"
EPOCH_MILLISECONDS = "epoch milliseconds"

_DAY_FORMS = {  # name: (strptime, shape); chrono alone would take one-digit days and two-digit years
    "dd/MM/yyyy": ("%d/%m/%Y", r"[0-9]{2}/[0-9]{2}/[0-9]{4}"),
    "MM/dd/yyyy": ("%m/%d/%Y", r"[0-9]{2}/[0-9]{2}/[0-9]{4}"),
    "yyyy/dd/MM": ("%Y/%d/%m", r"[0-9]{4}/[0-9]{2}/[0-9]{2}"),
    "yyyy/MM/dd": ("%Y/%m/%d", r"[0-9]{4}/[0-9]{2}/[0-9]{2}"),
    "yyyy-MM-dd": ("%Y-%m-%d", r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "dd MMM yyyy": ("%d %b %Y", r"[0-9]{2} [A-Za-z]{3} [0-9]{4}"),
}
_TIME = ("%H:%M:%S", r"[0-2][0-9]:[0-5][0-9]:[0-5][0-9]")
_FORMS = _DAY_FORMS | {
    f"{name} HH:mm:ss": (f"{strptime} {_TIME[0]}", f"{shape} {_TIME[1]}")
    for name, (strptime, shape) in _DAY_FORMS.items()
}

DATE_PATTERNS = tuple(_FORMS)
"""The forms that are patterns."""

DATE_FORMATS = (*DATE_PATTERNS, ISO_8601, EPOCH_SECONDS, EPOCH_MILLISECONDS)
"""Every form, by its canonical name."""

FORMAT_SPELLINGS = {
    "iso8601": ISO_8601,
    "iso": ISO_8601,
    "epoch": EPOCH_SECONDS,
    "epochs": EPOCH_SECONDS,
    "epochsecond": EPOCH_SECONDS,
    "epochseconds": EPOCH_SECONDS,
    "epochms": EPOCH_MILLISECONDS,
    "epochmillis": EPOCH_MILLISECONDS,
    "epochmillisecond": EPOCH_MILLISECONDS,
    "epochmilliseconds": EPOCH_MILLISECONDS,
}
"""Other spellings of the forms that are no patterns, of which only letters and digits count, in any letter case."""

_ISO = (
    r"^(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<clock>[0-2][0-9]:[0-5][0-9])(?::(?P<second>[0-5][0-9])(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r"(?:(?P<zulu>Z)|(?P<sign>[+-])(?P<hours>[0-2][0-9]):?(?P<minutes>[0-5][0-9]))?)?$"
)
_ISO_SECONDS = ("%Y-%m-%dT%H:%M:%S", f"{_DAY_FORMS['yyyy-MM-dd'][1]}T{_TIME[1]}")
_ISO_WAYS = (  # (strptime, shape) of the usual ways to write it
    _DAY_FORMS["yyyy-MM-dd"],
    _FORMS["yyyy-MM-dd HH:mm:ss"],
    _ISO_SECONDS,
    (f"{_ISO_SECONDS[0]}Z", f"{_ISO_SECONDS[1]}Z"),
    (f"{_ISO_SECONDS[0]}%z", f"{_ISO_SECONDS[1]}[+-][0-2][0-9]:[0-5][0-9]"),
)

_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_MAX_EPOCH_SECONDS = 2**62 // 1_000_000  # beyond all years that count, and still safe to multiply


def date_format(text: str) -> str | None:
    """The canonical name of a form; ``None`` if unknown. Letter case counts in patterns only."""
    pattern = " ".join(text.split())
    if pattern in _FORMS:
        return pattern
    return FORMAT_SPELLINGS.get("".join(char for char in text.lower() if char.isalnum()))


def is_epoch(form: str) -> bool:
    """Whether the form counts from 1970 in UTC, so that a time zone has no meaning for it."""
    return form in (EPOCH_SECONDS, EPOCH_MILLISECONDS)


def is_timezone(name: str) -> bool:
    """Whether this is an IANA time zone name that the casts know."""
    return name in _zones()


@cache
def _zones() -> frozenset[str]:
    # these two mean the machine, not a place; the casts do not know them
    return frozenset(zoneinfo.available_timezones() - {"Factory", "localtime"})


def pattern_moments(text: pl.Expr, form: str, zone: str) -> pl.Expr:
    """The moments (microseconds, UTC) that strings of a pattern name; null where one does not have the form.

    What lies beyond the years 1 to 9999 is for `in_range` to take away.
    """
    return _to_utc(_strictly(text, *_FORMS[form]), zone)


def _strictly(text: pl.Expr, strptime: str, shape: str) -> pl.Expr:
    """The local times of strings that have all digits."""
    local = text.str.to_datetime(strptime, time_unit="us", strict=False)
    return pl.when(text.str.contains(f"^{shape}$")).then(local)


def in_range(moment: pl.Series) -> pl.Series:
    """The moments in the years 1 to 9999; null for the others."""
    inside = moment.is_between(_EARLIEST, _LATEST)
    return moment if inside.all() else _where(inside, moment)


def epoch_moments(text: pl.Series, form: str) -> pl.Series:
    """The moments that whole numbers name, as `pattern_moments` gives them."""
    per_second = 1000 if form == EPOCH_MILLISECONDS else 1
    number = text.cast(pl.Int64, strict=False)
    limit = _MAX_EPOCH_SECONDS * per_second
    safe = number if number.is_between(-limit, limit).all() else _where(number.is_between(-limit, limit), number)
    return (safe * (1_000_000 // per_second)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _where(mask: pl.Series, values: pl.Series) -> pl.Series:
    """The values where the mask says yes, null elsewhere."""
    return pl.select(pl.when(mask).then(values)).to_series()


def _to_utc(local: pl.Expr, zone: str) -> pl.Expr:
    if zone == "UTC":
        return local.dt.replace_time_zone("UTC")
    placed = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return placed.dt.convert_time_zone("UTC")


def iso_moments(text: pl.Series, zone: str) -> pl.Series:
    """The moments that strings of ISO 8601 name, as `pattern_moments` gives them.

    Most columns are written in one way: that of the first string is tried, and the general one where it does not fit.
    """
    first = text.drop_nulls().head(1)
    for strptime, shape in _ISO_WAYS:
        if first.str.contains(f"^{shape}$").any():
            local = _strictly(pl.col("text"), strptime, shape)
            moment = local.dt.convert_time_zone("UTC") if strptime.endswith("%z") else _to_utc(local, zone)
            if strptime.endswith("Z"):
                moment = _to_utc(local, "UTC")
            made = text.to_frame("text").select(moment).to_series()
            if made.null_count() == text.null_count():
                return made
    return _any_iso(text, zone)


def _any_iso(text: pl.Series, zone: str) -> pl.Series:
    parts = text.str.extract_groups(_ISO).struct.unnest()
    clock = pl.concat_str(
        "day", pl.lit(" "), pl.col("clock").fill_null("00:00"), pl.lit(":"), pl.col("second").fill_null("00")
    )
    micros = pl.col("fraction").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64).fill_null(0)
    minutes = pl.col("hours").cast(pl.Int64) * 60 + pl.col("minutes").cast(pl.Int64)
    times = parts.select(
        local=clock.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
        + pl.duration(microseconds=micros, time_unit="us"),
        behind=pl.duration(minutes=pl.when(pl.col("sign") == "-").then(-minutes).otherwise(minutes), time_unit="us"),
        zulu=pl.col("zulu").is_not_null(),
    )
    fixed = pl.when("zulu").then("local").otherwise(pl.col("local") - pl.col("behind")).dt.replace_time_zone("UTC")
    here = _to_utc(pl.col("local"), zone)
    moment = pl.coalesce(fixed, pl.when(pl.col("behind").is_null() & ~pl.col("zulu")).then(here))
    return times.select(moment).to_series()

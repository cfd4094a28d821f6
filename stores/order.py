"""The order of rows that were compacted, as one text a row: so that a look-up reads one row group.

    events      by name, then by time: a name and some days are next to each other
    profiles    by user: all updates of one user are next to each other

A user is one text as well: which of the four columns names it, and what stands there.
"""

from __future__ import annotations

import polars as pl

from manifests.types import USER_COLUMNS, ImportType

_BEFORE_ALL_TIMES = 10**18  # microseconds; makes each time of the years 1 to 9999 a number of 19 digits

USER = pl.coalesce(
    pl.concat_str(pl.lit(str(place)), pl.col(name)) for place, name in enumerate(USER_COLUMNS)
).fill_null("")
"""The user of a row as one text."""

EVENT = pl.concat_str(
    pl.col("evtName"), pl.lit("\0"), (pl.col("ts").to_physical() + _BEFORE_ALL_TIMES).cast(pl.String)
).fill_null("")

ORDER = {ImportType.EVENT: EVENT, ImportType.PROFILE: USER}
"""What the rows of a table are sorted by."""


def user_text(column: str, value: str) -> str:
    """The user whom ``column`` names, as one text."""
    return f"{USER_COLUMNS.index(column)}{value}"


def user_of(text: str) -> tuple[str, str]:
    """The column and the value of a user that is one text."""
    return USER_COLUMNS[int(text[0])], text[1:]

"""Each row needs exactly one user (CONTRACT.md 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from manifests.codes import BAD_OBJECT_ID, NO_USER, WRONG_TYPE
from manifests.findings import Finding
from manifests.plan import Cell
from manifests.types import DataType

MAX_USER_CHARS = 1023

FORBIDDEN_USERS = (
    "undefined",
    "null",
    "na",
    "n/a",
    "0",
    "nil",
    "-1",
    "infinity",
    "-infinity",
    "inf",
    "-inf",
    "nan",
    "-nan",
    "empty",
    "xxxxxx",
    "none",
)
_NO_OBJECT_ID = r"[\s\pC]"
_LONGEST_FORBIDDEN = max(len(value) for value in FORBIDDEN_USERS)


def user_findings(users: Sequence[Cell], texts: Mapping[str, pl.Series]) -> Iterator[Finding]:
    """The rows without exactly one usable user; ``texts`` has the users without blanks around them."""
    yield from _count_findings(users, texts)
    for cell in users:
        text = texts[cell.source]
        size = text.str.len_bytes()  # counted faster than characters
        if (size <= _LONGEST_FORBIDDEN).any():  # most files have longer ones only
            yield from Finding.where(
                _is_forbidden(text), NO_USER, cell.source, "the value is one that stands for no user at all"
            )
        if (size > MAX_USER_CHARS).any():
            yield from Finding.where(
                text.str.len_chars() > MAX_USER_CHARS, NO_USER, cell.source, "the user has 1024 characters or more"
            )
        if cell.target == "objectId":
            yield from Finding.where(text.str.contains(_NO_OBJECT_ID), BAD_OBJECT_ID, cell.source)
        if cell.asked is DataType.INTEGER:
            number = text.cast(pl.Int64, strict=False)
            yield from Finding.where(
                text.is_not_null() & number.is_null(), WRONG_TYPE, cell.source, "the value is not an Integer"
            )


def _is_forbidden(text: pl.Series) -> pl.Series:
    short = pl.col("user").str.len_bytes() <= _LONGEST_FORBIDDEN
    lower = pl.when(short).then(pl.col("user")).str.to_lowercase()
    return text.to_frame("user").select(lower.is_in(FORBIDDEN_USERS)).to_series()


def _count_findings(users: Sequence[Cell], texts: Mapping[str, pl.Series]) -> Iterator[Finding]:
    only = users[0].source if len(users) == 1 else None
    if only is not None:
        if texts[only].null_count():
            yield Finding(texts[only].is_null(), NO_USER, only, "the row names no user")
        return
    count = pl.select(pl.sum_horizontal(texts[cell.source].is_not_null() for cell in users)).to_series()
    yield from Finding.where(count == 0, NO_USER, None, "the row names no user")
    yield from Finding.where(count > 1, NO_USER, None, "the row names more than one user")

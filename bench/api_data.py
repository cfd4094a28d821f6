"""A lake of many events and profiles for the bench of the API, made by polars and stored through `stores.lake`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import polars as pl

from manifests.types import DataType, ImportType
from stores.lake import Lake

ACCOUNT = "bench"
NAMES = 50
DAYS = 365
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_FRAME = 100_000
_IMPORTS = 5
_NOBODY = [pl.lit(None, pl.String).alias(name) for name in ("objectId", "FBID", "GPID")]
_EVENT = {"Price": DataType.FLOAT, "Item": DataType.STRING, "Quantity": DataType.INTEGER}
_PROFILE = {"Email": DataType.STRING, "City": DataType.STRING, "Score": DataType.INTEGER, "Plan": DataType.STRING}


def identity(number: int) -> str:
    """A user's identity."""
    return f"user-{number:08}"


def email(number: int) -> str:
    """The address of the same user."""
    return f"user-{number:08}@example.com"


def fill(lake: Lake, *, events: int, profiles: int) -> None:
    """Store the events and profiles, in some imports each."""
    for kind, rows, frame, properties in (
        (ImportType.EVENT, events, _events, _EVENT),
        (ImportType.PROFILE, profiles, _profiles, _PROFILE),
    ):
        for part in range(_IMPORTS):
            first, last = rows * part // _IMPORTS, rows * (part + 1) // _IMPORTS
            lake.append(
                ACCOUNT,
                kind,
                f"import-{part}",
                sequence=part,
                received_at=FIRST_DAY,
                properties=properties,
                frames=_frames(first, last, frame(profiles)),
            )


def _frames(first: int, last: int, columns: list[pl.Expr]) -> Iterator[pl.DataFrame]:
    for start in range(first, last, _FRAME):
        numbers = pl.int_range(start, min(start + _FRAME, last), dtype=pl.Int64, eager=True).alias("_row")
        mixed = ((numbers * 2654435761) % 4294967296).alias("mixed")  # looks random, as in bench.events
        yield pl.DataFrame([numbers, mixed]).select("_row", *_NOBODY, *columns)


def _user(number: pl.Expr) -> pl.Expr:
    return "user-" + number.cast(pl.String).str.zfill(8)


def _events(profiles: int) -> list[pl.Expr]:
    mixed = pl.col("mixed")
    moment = int(FIRST_DAY.timestamp()) * 1_000_000 + mixed // 3 % (DAYS * 86_400) * 1_000_000
    return [
        _user(mixed % profiles).alias("identity"),
        ("Event " + (mixed // 5 % NAMES).cast(pl.String)).alias("evtName"),
        moment.cast(pl.Datetime("us", "UTC")).alias("ts"),
        (mixed // 7 % 10_000 / 100).alias("Price"),
        ("item " + (mixed // 11 % 500).cast(pl.String)).alias("Item"),
        (mixed // 13 % 9).alias("Quantity"),
    ]


def _profiles(_profiles: int) -> list[pl.Expr]:
    mixed, user = pl.col("mixed"), _user(pl.col("_row"))
    return [
        user.alias("identity"),
        (user + "@example.com").alias("Email"),
        ("city " + (mixed % 300).cast(pl.String)).alias("City"),
        (mixed // 7 % 1000).alias("Score"),
        pl.when(mixed % 3 == 0).then(pl.lit("gold")).otherwise(pl.lit("free")).alias("Plan"),
    ]

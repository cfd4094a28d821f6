"""The profile of one user, and the addresses of many, out of one version of the table of updates."""

from __future__ import annotations

from typing import Any

import polars as pl

from manifests.names import operation_column
from manifests.types import SYSTEM_COLUMNS, USER_COLUMNS
from stores.fold import folded
from stores.order import USER
from stores.seam import unavailable
from stores.snapshot import Snapshot, may_hold

EMAIL = "Email"


def profile_in(snapshot: Snapshot, column: str, value: str) -> dict[str, Any] | None:
    """A user's properties in one version of the table of profiles, folded; ``None`` for an unknown user.

    Raises ``ValueError`` when ``column`` is not one of `manifests.types.USER_COLUMNS`, and `StoreUnavailable`.
    """
    if column not in USER_COLUMNS:
        raise ValueError(f"no column {column} names a user")
    with unavailable("read a profile"):
        files = may_hold(snapshot.files, column, value, value)
        updates = snapshot.scan(files).filter(pl.col(column) == value).sort("_sequence", "_row")
        return folded(updates.select(pl.exclude(SYSTEM_COLUMNS)).collect()) or None


def addresses_in(snapshot: Snapshot, users: pl.DataFrame) -> pl.DataFrame:
    """The addresses (``user`` as one text, ``Email``) that many users have in one version; who has none is left out.

    ``users`` has the user columns. Of an address only ``$delete`` is an operation: so the last update decides.
    Raises `StoreUnavailable`.
    """
    if EMAIL not in snapshot.columns or users.is_empty():
        return pl.DataFrame(schema={"user": pl.String, EMAIL: pl.String})
    operation = operation_column(EMAIL)
    changes = [name for name in (EMAIL, operation) if name in snapshot.columns]
    wanted = [users[name].drop_nulls().unique().implode() for name in USER_COLUMNS]
    with unavailable("read addresses"):
        updates = snapshot.scan(snapshot.files, ["_sequence", "_row", *USER_COLUMNS, *changes]).filter(
            pl.any_horizontal(
                pl.col(name).is_in(pl.lit(values))
                for name, values in zip(USER_COLUMNS, wanted, strict=True)
                if len(values[0])
            ),
            pl.any_horizontal(pl.col(name).is_not_null() for name in changes),
        )
        last = updates.sort("_sequence", "_row").group_by(USER.alias("user")).agg(pl.col(changes).last()).collect()
    if operation in changes:
        last = last.filter(pl.col(operation).is_null())
    return last.select("user", EMAIL).drop_nulls()

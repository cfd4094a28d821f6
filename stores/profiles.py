"""The profile of one user out of one version of the table of updates."""

from __future__ import annotations

from typing import Any

import polars as pl

from manifests.types import SYSTEM_COLUMNS, USER_COLUMNS
from stores.fold import folded
from stores.seam import unavailable
from stores.snapshot import Snapshot, may_hold


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

"""Looking up single users and pages of events: fast on a compacted lake, and right on any.

What a look-up finds in the runs (`stores.compact`), by the order of their rows and by their indexes, it takes together
with what stands in the files that were not compacted yet; both come from one version of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from manifests.types import SYSTEM_COLUMNS, USER_COLUMNS, ImportType
from stores.durable import sync_path
from stores.event_pages import EventQuery, Place, page
from stores.indexes import EMAIL, Indexes, entries_of, together
from stores.lake import Lake
from stores.order import USER, user_of, user_text
from stores.profiles import addresses_in, profile_in
from stores.seam import unavailable
from stores.snapshot import may_hold

ADDRESS = "\0address"
"""The column of a page of events that no property can be called."""

_MOST_OF_ONE_ADDRESS = 100


@dataclass(frozen=True, slots=True)
class EventSummary:
    """What one user has done under one event name; times are aware UTC."""

    name: str
    count: int
    first: datetime
    last: datetime


class Lookups:
    """Reads the lake by user and by page. Blocks; any number of threads may ask.

    Everything raises `StoreUnavailable` and `StoreDamaged`.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def profile(self, account: str, column: str, value: str) -> dict[str, Any] | None:
        """The properties of the user that ``column`` names, folded, as `Lake.profile` says."""
        snapshot = self._lake.newest(account, ImportType.PROFILE)
        return None if snapshot is None else profile_in(snapshot, column, value)

    def profile_by_email(self, account: str, address: str) -> dict[str, Any] | None:
        """The profile that has this address now, in any letter case; of several, the one that was given it last.

        Beyond a hundred users who were ever given one address, only the last hundred are looked at.
        """
        snapshot = self._lake.newest(account, ImportType.PROFILE)
        if snapshot is None or "Email" not in snapshot.columns:
            return None
        address = address.lower()
        with unavailable("look for an address"):
            rest = snapshot.scan(snapshot.rest, [*SYSTEM_COLUMNS, *USER_COLUMNS, "Email"]).filter(address == EMAIL)
            given = pl.concat(
                [
                    self._indexes(account, ImportType.PROFILE).find(snapshot.runs, address),
                    entries_of(ImportType.PROFILE, rest),
                ]
            )
        candidates = given.sort("_sequence", "_row", descending=True)["user"].unique(maintain_order=True)
        for user in candidates.head(_MOST_OF_ONE_ADDRESS):
            profile = profile_in(snapshot, *user_of(user))
            if profile is not None and str(profile.get("Email", "")).lower() == address:
                return profile
        return None

    def event_summary(self, account: str, column: str, value: str) -> list[EventSummary]:
        """What the user has done: by name, in the order of the alphabet."""
        snapshot = self._lake.newest(account, ImportType.EVENT)
        if snapshot is None:
            return []
        with unavailable("sum a user's events up"):
            files = may_hold(snapshot.rest, column, value, value)
            rest = snapshot.scan(files, [*USER_COLUMNS, "evtName", "ts"]).filter(pl.col(column) == value)
            entries = pl.concat(
                [
                    self._indexes(account, ImportType.EVENT).find(snapshot.runs, user_text(column, value)),
                    entries_of(ImportType.EVENT, rest),
                ]
            )
            rows = together(ImportType.EVENT, entries).drop("user").rows()
        return [EventSummary(*row) for row in rows]

    def version(self, account: str) -> int | None:
        """The version that the table of events has now; ``None`` when there is no table."""
        snapshot = self._lake.newest(account, ImportType.EVENT)
        return None if snapshot is None else snapshot.version

    def event_page(
        self, account: str, version: int, query: EventQuery, place: Place, size: int
    ) -> tuple[pl.DataFrame, Place | None]:
        """A page of events, as `stores.event_pages.page` says, of this version of the table.

        A column `ADDRESS` has the address that the user of each event has now, null for none; it is there when the
        account has profiles. Raises `SnapshotGone` when the version cannot be read any more.
        """
        events, following = page(self._lake.at(account, ImportType.EVENT, version), query, place, size)
        if events.is_empty() or (profiles := self._lake.newest(account, ImportType.PROFILE)) is None:
            return events, following
        absent = [pl.lit(None, pl.String).alias(name) for name in USER_COLUMNS if name not in events.columns]
        users = events.with_columns(absent).select(*USER_COLUMNS, USER.alias("user"))
        addresses = addresses_in(profiles, users).rename({"Email": ADDRESS})
        found = users.select("user").join(addresses, on="user", how="left", maintain_order="left")
        return events.with_columns(found[ADDRESS]), following

    def _indexes(self, account: str, kind: ImportType) -> Indexes:
        folder: Path = self._lake.folder(account, kind).parent
        return Indexes(folder, kind, sync_path)

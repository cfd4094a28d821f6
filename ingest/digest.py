"""What one mail says in place of many that were held back, in the shape that the ledger and the mails share."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

MOST_NAMED = 10
"""Files that a digest names."""


@dataclass(slots=True)
class Digest:
    """The notices of one account to one recipient that were held back, counted.

    ``failed`` has a count for each code, ``in_part`` counts those that succeeded with rejected rows, ``skipped`` those
    that were the same as one before, ``waiting`` files without their counterpart, ``underway`` imports of which only
    the beginning was held back; ``named`` are the first manifests that failed, with their codes. Times are aware UTC:
    of the first and the last notice.
    """

    account: str
    first_at: datetime
    last_at: datetime
    mails_per_hour: int
    notices: int = 0
    succeeded: int = 0
    in_part: int = 0
    skipped: int = 0
    underway: int = 0
    waiting: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    named: list[tuple[str, str]] = field(default_factory=list)

    def add_failed(self, manifest: str, code: str) -> None:
        """Count a failed import, and name it if there is room."""
        self.failed[code] += 1
        if len(self.named) < MOST_NAMED:
            self.named.append((manifest, code))

    def as_json(self) -> dict[str, Any]:
        """The facts with stable keys and only JSON types; times as ISO 8601 with ``Z``."""
        return asdict(self) | {
            "first_at": self.first_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "last_at": self.last_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "failed": dict(self.failed.most_common()),
            "named": [{"manifest": manifest, "code": code} for manifest, code in self.named],
        }

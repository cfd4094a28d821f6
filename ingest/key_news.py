"""What is told of a key pair whose end is near, in the shape that the ledger and the mails share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class KeyNews:
    """The facts about one pair that ends at ``ends_at`` (aware UTC); no key material, no user ID.

    ``why``: senders can no longer encrypt to it, or it opens no more files. ``successor`` is the fingerprint of the
    pair that its key ID has by now, ``others`` are the account's other key IDs that can be used instead.
    """

    key_id: str
    version: int
    account: str
    fingerprint: str
    algorithm: str
    why: Literal["expires", "retires"]
    ends_at: datetime
    successor: str | None
    others: tuple[str, ...]

    @property
    def subject(self) -> str:
        """What a notice is about: this pair, and this day. Another day is told anew."""
        return f"{self.key_id}/{self.version} {self.why} {self.ends_at:%Y-%m-%dT%H:%M:%SZ}"

    def as_json(self) -> dict[str, Any]:
        """The facts with stable keys and only JSON types; times as ISO 8601 with ``Z``."""
        return asdict(self) | {
            "ends_at": self.ends_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "others": list(self.others),
        }

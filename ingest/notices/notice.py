"""One mail about one import or one key pair, as it waits in the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Stage(StrEnum):
    """What a notice tells of an import."""

    PICKED_UP = "picked_up"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class KeyStage(StrEnum):
    """What a notice tells of a key pair: how soon it expires or retires."""

    DAYS_30 = "key_30_days"
    DAYS_7 = "key_7_days"
    DAY_1 = "key_1_day"


@dataclass(frozen=True)
class Notice:
    """One mail to one recipient.

    ``message_id`` is given once, with the notice, so that a mail sent twice after a crash is known as the same mail
    (FAULTS.md W7). ``report`` is `Report.as_json` at the time of the notice, or `KeyNews.as_json` for a `KeyStage`;
    ``note`` is a line for the end of the mail; ``attempts`` counts the deliveries tried so far; ``created_at`` is aware
    UTC.
    """

    id: int
    stage: Stage | KeyStage
    recipient: str
    message_id: str
    note: str | None
    report: dict[str, Any] = field(repr=False)
    created_at: datetime
    attempts: int

    @property
    def about(self) -> dict[str, str]:
        """The ID of the import or of the key pair, by its name."""
        if isinstance(self.stage, KeyStage):
            return {"key_id": self.report["key_id"]}
        return {"import_id": self.report["id"]}

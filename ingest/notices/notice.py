"""One mail about one import, as it waits in the ledger."""

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


@dataclass(frozen=True)
class Notice:
    """One mail to one recipient.

    ``message_id`` is given once, with the notice, so that a mail sent twice after a crash is known as the same mail
    (FAULTS.md W7). ``report`` is `Report.as_json` at the time of the notice; ``note`` is a line for the end of the
    mail; ``attempts`` counts the deliveries tried so far; ``created_at`` is aware UTC.
    """

    id: int
    stage: Stage
    recipient: str
    message_id: str
    note: str | None
    report: dict[str, Any] = field(repr=False)
    created_at: datetime
    attempts: int

"""One message to one recipient, as it waits in the ledger: about an import, a key pair, a file that waits, or many."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Channel(StrEnum):
    """How a notice reaches its recipient."""

    MAIL = "mail"
    WEBHOOK = "webhook"


class Stage(StrEnum):
    """What a notice tells of an import."""

    PICKED_UP = "picked_up"
    STILL_RUNNING = "still_running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class KeyStage(StrEnum):
    """What a notice tells of a key pair: how soon it expires or retires."""

    DAYS_30 = "key_30_days"
    DAYS_7 = "key_7_days"
    DAY_1 = "key_1_day"


class FileStage(StrEnum):
    """What a notice tells of a file in the drop."""

    WAITING = "file_waiting"


class DigestStage(StrEnum):
    """A mail in place of many that were held back."""

    DIGEST = "digest"


AnyStage = Stage | KeyStage | FileStage | DigestStage

_STAGES: dict[str, AnyStage] = {
    stage.value: stage for kind in (Stage, KeyStage, FileStage, DigestStage) for stage in kind
}


def stage_of(name: str) -> AnyStage:
    """The stage of this name. Raises ``KeyError``."""
    return _STAGES[name]


@dataclass(frozen=True)
class Notice:
    """One message to one recipient: a mail address, or where the account's webhook was when it was written.

    ``message_id`` is given once, with the notice, so that what is sent twice after a crash is known as the same
    (FAULTS.md W7): the Message-ID of a mail, the delivery ID of a webhook. ``report`` is what is told, at the time of
    the notice: `Report.as_json` for a `Stage`, `KeyNews.as_json` for a `KeyStage`, `FileNews.as_json` for a
    `FileStage`, `Digest.as_json` for a digest. ``note`` is a line for the end of a mail; ``attempts`` counts the
    deliveries that have ended, ``perhaps_taken`` says that one of them may have arrived; ``occasion`` tells notices of
    one stage apart; ``created_at`` is aware UTC.
    """

    id: int
    account: str
    stage: AnyStage
    channel: Channel
    recipient: str
    message_id: str
    note: str | None
    report: dict[str, Any] = field(repr=False)
    created_at: datetime
    attempts: int
    occasion: int = 0
    perhaps_taken: bool = False

    @property
    def about(self) -> dict[str, str]:
        """The ID of the import or of the key pair, else the account, by its name."""
        if isinstance(self.stage, KeyStage):
            return {"key_id": self.report["key_id"]}
        if isinstance(self.stage, Stage):
            return {"import_id": self.report["id"]}
        return {"account": self.account}

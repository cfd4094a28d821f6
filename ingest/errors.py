"""What can go wrong in the flow itself; the other packages own their errors.

`ingest.outcomes` says what happens after each of them.
"""

from __future__ import annotations

from typing import ClassVar


class IngestError(Exception):
    """Base of this package's errors; only its leaves are raised."""

    code: ClassVar[str]

    def __init__(self, public: str, *, detail: str = "") -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail


class AccountDisabled(IngestError):
    """The account was disabled or removed before its import was carried out."""

    code = "account.disabled"


class FileMissing(IngestError):
    """The data file of an import is not there any more."""

    code = "manifest.file_missing"


class SizeMismatch(IngestError):
    """The encrypted file has another size than the manifest says."""

    code = "manifest.size_mismatch"


class ChecksumMismatch(IngestError):
    """The encrypted file has another SHA-256 than the manifest says."""

    code = "manifest.sha256_mismatch"


class WorkerLost(IngestError):
    """Workers died of this import as often as tries are allowed."""

    code = "worker.lost"


class SpoolUnavailable(IngestError):
    """A file in the spool cannot be read or written now; another try may work."""

    code = "spool.unavailable"


class DiskFull(IngestError):
    """The disk has no room for an import now; another try may find some."""

    code = "disk.full"


class LedgerUnavailable(IngestError):
    """The ledger cannot be read or written now; another try may work."""

    code = "ledger.unavailable"


class LedgerConflict(IngestError):
    """What was to be written refers to something that another process has removed meanwhile; another try may work."""

    code = "ledger.conflict"


class BodyMalformed(IngestError):
    """The body of an upload is not an array of records."""

    code = "body.malformed"


class TooManyRecords(IngestError):
    """The body of an upload has more records than a request may have."""

    code = "body.too_many_records"


class KeyReused(IngestError):
    """The idempotency key of an upload came before, with another body."""

    code = "idempotency.key_reused"


class UploadsBusy(IngestError):
    """More uploads are waiting than may wait."""

    code = "uploads.busy"


class CursorInvalid(IngestError):
    """A cursor is not one that was made for this account, or its time is over."""

    code = "cursor.invalid"


class Interrupted(BaseException):
    """This worker is being stopped: let go of everything. Not an error, so no handler of errors catches it."""


class LeaseLost(Exception):
    """Another worker has taken the import over; what this one did must not be settled."""


class Refused(Exception):
    """Base of errors for whoever asked for something at the command line: nothing was changed, the text says why."""

    code: ClassVar[str]


class LimitReached(Refused):
    """An account has as many keys of a kind as it may have; the text says the limit and the remedy."""

    code: ClassVar[str] = "limit_reached"


class AlreadyThere(Refused):
    """What was to be added is there already; the text names it."""

    code: ClassVar[str] = "already_there"


class MoveRefused(Refused):
    """A key pair or an account cannot be brought to the state that was asked for; the text says why and the remedy."""

    code: ClassVar[str] = "move_refused"


class ReplayRefused(Refused):
    """An import cannot be replayed as asked; nothing was changed, and the text says why."""

    code: ClassVar[str] = "replay_refused"


class StillNeeded(Refused):
    """What was to be removed is needed for now; nothing was changed, and the text says for what and what to do."""

    code: ClassVar[str] = "still_needed"


class RotationRefused(Refused):
    """The master key cannot be rotated as asked; nothing was changed, and the text says what to do."""

    code: ClassVar[str] = "rotation_refused"


class AuditBroken(Refused):
    """A line of the audit that should be cut off is not as it was written; nothing was changed."""

    code: ClassVar[str] = "audit_broken"

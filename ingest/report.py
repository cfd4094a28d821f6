"""What became of an import, in the shape that the command line, the result file and the notices share (DESIGN.md 6)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """Why one row was not stored; never its values. ``row`` counts records from 1, the header is not one."""

    row: int
    column: str | None
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column of the file that was read, and what it was read as, in the words of a manifest."""

    name: str
    target: str
    data_type: str


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that differs from the previous import of the same manifest; never a value of a row."""

    kind: str
    column: str | None
    message: str


@dataclass(frozen=True, slots=True)
class PropertyPreview:
    """What a dry run would have stored of one property.

    ``filled`` counts rows with a value, ``distinct`` the different values among the first ``sampled`` rows, both of
    the accepted rows; ``rejected`` the rows that were rejected for this property.
    """

    name: str
    data_type: str
    filled: int
    distinct: int
    sampled: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Report:
    """The facts about one import.

    Times are aware UTC; ``seconds`` maps a step to the time it took; ``rejects`` holds only the first
    rows, ``rows_rejected`` counts all, ``rejects_in_file`` those in the reject file; ``sha256`` and
    ``bytes_encrypted`` are of the file as it was uploaded. ``columns`` are those of the file that were read, ``drift``
    is against the previous import of the manifest; after a dry run, which stores nothing, ``preview`` has the
    properties that it would have stored. ``pair`` is the fingerprint of the pair that opened it,
    ``signature`` what its signatures came to (`keystore.openpgp.SignatureState`), ``signer`` whose they are.
    ``replay_of`` is the import whose files a replay was given. ``duplicate_of`` is the import that had the same bytes
    first, received at ``first_received_at``: one that is skipped for it, or waits for its end.
    """

    id: str
    account: str
    manifest: str
    data_file: str | None
    type: str | None
    state: str
    received_at: datetime
    client_email: str | None = None
    code: str | None = None
    message: str | None = None
    remedy: str | None = None
    column: str | None = None
    rows_read: int = 0
    rows_stored: int = 0
    rows_rejected: int = 0
    rejects: tuple[RejectedRow, ...] = ()
    reject_file: str | None = None
    rejects_in_file: int = 0
    finished_at: datetime | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    key_id: str | None = None
    pair: str | None = None
    signature: str | None = None
    signer: str | None = None
    bytes_encrypted: int | None = None
    bytes_plain: int | None = None
    sha256: str | None = None
    attempts: int = 0
    dry_run: bool = False
    columns: tuple[FileColumn, ...] = ()
    drift: tuple[Drift, ...] = ()
    preview: tuple[PropertyPreview, ...] = ()
    replay_of: str | None = None
    duplicate_of: str | None = None
    first_received_at: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """The report with stable keys and only JSON types; times as ISO 8601 with ``Z``."""
        facts = asdict(self)
        for name in ("received_at", "finished_at", "first_received_at"):
            moment: datetime | None = facts[name]
            facts[name] = None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for name in ("rejects", "columns", "drift", "preview"):
            facts[name] = list(facts[name])
        return facts

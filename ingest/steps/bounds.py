"""What reading one data file may use (FAULTS.md D4)."""

from __future__ import annotations

from dataclasses import dataclass

MAX_COLUMNS = 2000
MAX_RECORD_BYTES = 16_000_000  # and so of a field
MAX_ROWS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that an installation sets; the defaults are those of CONTRACT.md 1.

    ``max_bytes`` and ``max_ratio`` are of gzip inside the encryption, those of the message's own compression.
    """

    chunk_bytes: int = 16_000_000
    max_bytes: int = 5_000_000_000
    max_ratio: int = 200

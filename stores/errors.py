"""What can go wrong where the data ends up.

Every error has a stable ``code``, a ``public`` text for the sender, and a ``detail`` for the operator's log.
"""

from __future__ import annotations

from typing import ClassVar


class StoreError(Exception):
    """Base of this package's errors; only its leaves are raised."""

    code: ClassVar[str]

    def __init__(self, public: str, *, detail: str = "") -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail


class StoreUnavailable(StoreError):
    """The lake cannot be read or written now; another try may work."""

    code = "store.unavailable"


class StoreConflict(StoreError):
    """Another import changed the table's columns at the same moment; another try sees them."""

    code = "store.conflict"


class StoreDamaged(StoreError):
    """A table's log cannot be read; somebody must look at it."""

    code = "store.damaged"


class SnapshotGone(StoreError):
    """The version of a table that was to be read has been compacted since, and its files are removed."""

    code = "store.snapshot_gone"


class StoreBusy(StoreError):
    """Somebody else does the same at this moment, and it must not be done twice at once."""

    code = "store.busy"

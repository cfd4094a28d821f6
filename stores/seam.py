"""The seam to the lake's libraries: what they raise becomes an error of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deltalake.exceptions import DeltaError

from stores.errors import StoreDamaged, StoreError, StoreUnavailable

PUBLIC_UNAVAILABLE = "The data could not be stored now. Nobody needs to act: it is tried again."
PUBLIC_CONFLICT = "Another import added columns at the same moment. Nobody needs to act: it is tried again."
PUBLIC_DAMAGED = "The place where the data is stored needs attention. The operator has been told."


@contextmanager
def unavailable(doing: str) -> Iterator[None]:
    """Turn whatever a library or the disk raises into `StoreUnavailable`; errors of this package pass.

    Code that belongs to others (the frames of an import) is never run inside. ``deltalake`` raises plain
    ``Exception`` as well, so nothing narrower would do.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise StoreUnavailable(PUBLIC_UNAVAILABLE, detail=_detail(doing, error)) from error


@contextmanager
def damaged(doing: str) -> Iterator[None]:
    """As `unavailable`, but an error of ``deltalake`` itself means that the log cannot be read: `StoreDamaged`."""
    with unavailable(doing):
        try:
            yield
        except DeltaError as error:
            raise StoreDamaged(PUBLIC_DAMAGED, detail=_detail(doing, error)) from error


def _detail(doing: str, error: Exception) -> str:
    first_line = str(error).partition("\n")[0]
    return f"{doing}: {type(error).__name__}: {first_line}"

"""Whether the header of a file can be read after its manifest at all, before anything is planned."""

from __future__ import annotations

from collections.abc import Sequence

from manifests.errors import HeaderMismatch
from manifests.model import Manifest
from manifests.names import FRAME_COLUMNS, closest, shown

MAX_MISSING_TOLD = 20
"""Missing columns that are named; to look for the closest name takes a millisecond for each."""


def check_header(manifest: Manifest, header: Sequence[str]) -> None:
    """Every column is named once, and every mapped column is there (FAULTS.md D2, D7)."""
    check_names(header)
    present = set(header)
    missing = [name for name, column in manifest.columns.items() if name not in present and not column.ignore]
    if missing:
        lines = [_missing(name, header) for name in missing[:MAX_MISSING_TOLD]]
        if len(missing) > MAX_MISSING_TOLD:
            lines.append(f"And {len(missing) - MAX_MISSING_TOLD} more columns of the manifest are not in the file.")
        raise HeaderMismatch("\n".join(lines), column=missing[0])


def check_names(header: Sequence[str]) -> None:
    """Every column has a name, and no two have the same. Raises `HeaderMismatch`."""
    seen: set[str] = set()
    for number, name in enumerate(header, start=1):
        if not name:
            raise HeaderMismatch(f"Column {number} of the file has no name in the header.")
        if name in seen:
            raise HeaderMismatch(f"The header names the column {shown(name)} twice.", column=name)
        if name in FRAME_COLUMNS:
            raise HeaderMismatch(f"The column name {shown(name)} is reserved; give it another one.", column=name)
        seen.add(name)


def _missing(name: str, header: Sequence[str]) -> str:
    near = closest(name, header)
    hint = f"the closest in the file is {shown(near)}" if near is not None else f"the file has {listed(header)}"
    return f"The column {shown(name)} of the manifest is not in the file; {hint}."


def listed(header: Sequence[str], most: int = 20) -> str:
    """The names of a header for a message, the first ``most`` of them."""
    names = ", ".join(shown(name) for name in header[:most])
    return f"{names} and {len(header) - most} more" if len(header) > most else names

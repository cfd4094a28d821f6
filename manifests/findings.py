"""A rule that some rows of a frame break."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from manifests.codes import ROW_CODES


@dataclass(frozen=True, slots=True)
class Finding:
    """The rows that break one rule, as a mask without nulls; ``column`` is the file's, or ``None``."""

    rows: pl.Series
    code: int
    column: str | None
    text: str | None = None

    @property
    def reason(self) -> str:
        """What is wrong, in words for the sender; never a value of a row."""
        return self.text or ROW_CODES[self.code].meaning

    @classmethod
    def where(cls, rows: pl.Series, code: int, column: str | None, text: str | None = None) -> Iterator[Finding]:
        """One finding when the mask, in which null means no, has a row; else none."""
        if rows.any():
            yield cls(rows.fill_null(value=False), code, column, text)

"""The records of a JSON file: bytes of UTF-8 in, frames of whole records out, in bounded memory.

JSON lines, an array of objects, or ``{"d": [...]}``; cut into records by `ingest.steps.json_framing`, read by
`ingest.steps.json_block`.

Decided: objects have no header, so it is made of the manifest's columns and of the top-level keys in the first block
of the file, in this order. A column of the manifest that no record there has is taken for one that is seldom filled,
unless a key that the manifest does not name looks the same but for letter case, blanks, `-` and `_`: then it is
missing, as in a CSV. A key that first comes later cannot become a column any more; its record is rejected when it has
a value, so that nothing is lost in silence. Keys that the manifest ignores may come anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

import polars as pl

from ingest.steps.bounds import MAX_COLUMNS, MAX_RECORD_BYTES, MAX_ROWS
from ingest.steps.json_block import BlockReader, Part
from ingest.steps.json_framing import RecordTexts
from ingest.steps.json_paths import wanted
from manifests.errors import DataMalformed, LimitExceeded
from manifests.model import Column

_ALIKE = str.maketrans("", "", " -_")


class JsonRecords:
    """The records of one JSON file; iterate once.

    The first block is read when this is made. ``header`` are the names of the columns; a frame has them as String (null
    for no value), ``_row`` (Int64, records counted from 1) and ``_fault`` (Int32: null, 605, 610, 611 or 612). A record
    that could not be read stands as it came in the first column. Ask for frames only after `manifests.plan.build_plan`
    has taken the header: names that are doubled or called as these two make iteration fail.

    Making it raises `HeaderMismatch` when the manifest maps an object and a part of it, `LimitExceeded` beyond
    `MAX_COLUMNS`, and what making `RecordTexts` does. Iterating raises what iterating those does, and `LimitExceeded`
    beyond ``max_rows``; frames before that were good.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        columns: Mapping[str, Column],
        *,
        chunk_bytes: int = 16_000_000,
        max_record_bytes: int = MAX_RECORD_BYTES,
        max_rows: int = MAX_ROWS,
    ) -> None:
        root = wanted(columns)
        self._reader = BlockReader(root)
        self._texts = iter(RecordTexts(chunks, chunk_bytes=chunk_bytes, max_record_bytes=max_record_bytes))
        self._max_rows = max_rows
        self._rows_read = 0
        self._first = [self._reader.read(texts, None) for texts in islice(self._texts, 1)]
        seen = dict.fromkeys(name for part in self._first for name in part.cells)
        paths = {path for branch in root.below() for path in branch.leaves.values()}
        self.header = _header(columns, [name for name in seen if name not in root.inner or name in columns], paths)
        self._known = frozenset(self.header).union(columns, root.inner)

    @property
    def rows_read(self) -> int:
        """Records handed over so far, bad ones too."""
        return self._rows_read

    def __iter__(self) -> Iterator[pl.DataFrame]:
        later = (self._reader.read(texts, self._known) for texts in self._texts)
        first, self._first = self._first, []
        for part in chain(first, later):
            yield self._frame(part)

    def _frame(self, part: Part) -> pl.DataFrame:
        """The part's records in the shape of the header."""
        rows = pl.int_range(part.height, dtype=pl.Int64, eager=True)
        columns = [self._column(part, name) for name in self.header]
        fault = pl.repeat(None, part.height, dtype=pl.Int32, eager=True)
        if part.faults.height:
            fault = fault.scatter(part.faults["row"], part.faults["code"])
            unread = part.faults.filter(pl.col("text").is_not_null())
            columns[0] = columns[0].scatter(unread["row"], unread["text"])
        first = self._rows_read + 1
        self._rows_read += part.height
        if self._rows_read > self._max_rows:
            raise LimitExceeded(f"The file has more than {self._max_rows:,} rows. Split it into several files.")
        return pl.DataFrame([*columns, (rows + first).alias("_row"), fault.alias("_fault")])

    def _column(self, part: Part, name: str) -> pl.Series:
        cells = part.cells.get(name)
        if cells is not None and cells.height == part.height:
            return cells["value"].alias(name)
        column = pl.repeat(None, part.height, dtype=pl.String, eager=True).alias(name)
        return column if cells is None else column.scatter(cells["row"], cells["value"])


def _header(columns: Mapping[str, Column], seen: list[str], paths: set[str]) -> list[str]:
    """The columns that a file has, by its manifest and by the keys of its first records."""
    others = {_alike(name) for name in seen if name not in columns}
    named = [
        name
        for name, column in columns.items()
        if not column.ignore and (name in seen or name in paths or _alike(name) not in others)
    ]
    header = named + [name for name in seen if name not in columns]
    if len(header) > MAX_COLUMNS:
        raise LimitExceeded(f"The file has {len(header)} columns; {MAX_COLUMNS} are allowed.")
    if not header:
        raise DataMalformed(
            "The manifest names no columns, and the file begins with no record that could: JSON lines has one whole "
            "object in each line."
        )
    return header


def _alike(name: str) -> str:
    return name.translate(_ALIKE).casefold()

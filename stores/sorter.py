"""Sorting more rows than memory holds: dealt into files by ranges of the key, each of which is sorted alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl

from manifests.types import DataType
from stores.columns import POLARS
from stores.datafile import DataFile

_SAMPLES_A_RANGE = 500


class Sample:
    """Every so-many-th key of many, from which the ranges are made that hold about as many rows each."""

    def __init__(self, *, rows: int, ranges: int) -> None:
        self._ranges = ranges
        self._step = max(1, rows // (ranges * _SAMPLES_A_RANGE))
        self._seen: list[str] = []

    def add(self, keys: pl.Series) -> None:
        """Look at some of the keys."""
        self._seen += keys.gather_every(self._step).to_list()  # a series would keep the texts of all the others

    def bounds(self) -> pl.Series:
        """What the ranges are parted by, in order; no text for a single range."""
        seen = pl.Series(self._seen, dtype=pl.String).sort()
        places = [len(seen) * number // self._ranges for number in range(1, self._ranges)]
        return seen.gather(places).unique().sort() if len(seen) else seen


class Sorter:
    """A context manager: first `add` all frames, then iterate over `ranges`, in order; its files go at the end.

    ``columns`` are those of the frames; ``key`` makes one text of each row.
    """

    def __init__(self, folder: Path, columns: Mapping[str, DataType], key: pl.Expr, bounds: pl.Series) -> None:
        self._columns = columns
        self._key = key
        self._bounds = bounds
        self._name = secrets.token_hex(4)
        self._folder = folder
        self._files: dict[int, DataFile] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, frame: pl.DataFrame) -> None:
        """Deal the rows of a frame into the ranges."""
        if frame.is_empty():
            return
        if not len(self._bounds):
            self._file(0).write(frame)
            return
        ranges = self._bounds.search_sorted(frame.select(self._key).to_series())
        parts = frame.with_columns(ranges.alias("\0range")).partition_by("\0range", include_key=False, as_dict=True)
        for (number,), part in parts.items():
            self._file(int(str(number))).write(part)

    def ranges(self) -> Iterator[pl.DataFrame]:
        """The rows of each range that has some; every key in one is below all keys in the next. Not sorted inside."""
        for _, file in sorted(self._files.items()):
            file.close()
            yield pl.read_parquet(file.path, schema={name: POLARS[type_] for name, type_ in self._columns.items()})

    def _file(self, number: int) -> DataFile:
        if number not in self._files:
            file = DataFile(self._folder, self._columns, name=f"{self._name}-{number}")
            self._files[number] = self._stack.enter_context(file)
        return self._files[number]

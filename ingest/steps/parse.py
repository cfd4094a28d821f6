"""The parse step: decrypted bytes in, frames of whole records out, in bounded memory.

A chain of iterators: gzip is taken off, the declared encoding becomes UTF-8, and the reader of CSV cuts records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from ingest.steps.csv_records import CsvRecords
from ingest.steps.gunzip import gunzipped
from ingest.steps.transcode import transcoded
from manifests.model import Manifest


class Records(Protocol):
    """The records of one data file, whatever its format; iterate once.

    ``header`` is known before the first frame. A frame has its columns as String (null for no value), ``_row`` (Int64,
    records counted from 1) and ``_fault`` (Int32: null, or a code of `manifests.codes`).
    """

    header: list[str]

    @property
    def rows_read(self) -> int:
        """Records handed over so far, bad ones too."""
        ...

    def __iter__(self) -> Iterator[pl.DataFrame]: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What reading one file may use; the defaults are those of CONTRACT.md 1."""

    chunk_bytes: int = 16_000_000
    max_bytes: int = 5_000_000_000
    max_ratio: int = 200


def records_of(chunks: Iterable[bytes], manifest: Manifest, bounds: Bounds) -> Records:
    """The records of a data file, as its manifest describes it.

    Raises what the readers raise, now for what stands before the first record, later while it is iterated:
    `DataMalformed`, `DataEncoding`, `HeaderMismatch` and `LimitExceeded`.
    """
    plain = gunzipped(chunks, max_bytes=bounds.max_bytes, max_ratio=bounds.max_ratio)
    text = transcoded(plain, manifest.encoding)
    return CsvRecords(
        text,
        delimiter=manifest.delimiter,
        quote=manifest.quote,
        names=None if manifest.header else list(manifest.columns),
        chunk_bytes=bounds.chunk_bytes,
    )

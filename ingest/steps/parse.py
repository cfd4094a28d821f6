"""The parse step: decrypted bytes in, frames of whole records out, in bounded memory.

A chain of iterators: gzip is taken off, the declared encoding becomes UTF-8, and the reader of the format cuts records.
The file's name says the format, before `.asc`, `.gpg`, `.pgp` and `.gz`; where it does not, the first character that
is no blank does: ``{`` and ``[`` begin JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Protocol

import polars as pl

from ingest.steps.bounds import Bounds
from ingest.steps.csv_records import CsvRecords
from ingest.steps.gunzip import gunzipped
from ingest.steps.json_records import JsonRecords
from ingest.steps.transcode import transcoded
from manifests.model import Manifest

_PACKED = (".asc", ".gpg", ".pgp", ".gz")
_IS_JSON = {".csv": False, ".tsv": False, ".json": True, ".jsonl": True, ".ndjson": True}
_BLANKS = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_LONGEST_LEAD = 1 << 16  # blanks in front of the first character


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


def records_of(chunks: Iterable[bytes], manifest: Manifest, bounds: Bounds) -> Records:
    """The records of a data file, as its manifest describes it.

    Raises what the readers raise, now for what stands before the first record, later while it is iterated:
    `DataMalformed`, `DataEncoding`, `HeaderMismatch` and `LimitExceeded`.
    """
    plain = gunzipped(chunks, max_bytes=bounds.max_bytes, max_ratio=bounds.max_ratio)
    text = transcoded(plain, manifest.encoding)
    is_json = _named(manifest.file_name)
    if is_json is None:
        lead, text = _lead(text)
        is_json = lead.startswith((b"{", b"["))
    if is_json:
        return JsonRecords(text, manifest.columns, chunk_bytes=bounds.chunk_bytes)
    return CsvRecords(
        text,
        delimiter=manifest.delimiter,
        quote=manifest.quote,
        names=None if manifest.header else list(manifest.columns),
        chunk_bytes=bounds.chunk_bytes,
    )


def _named(file_name: str) -> bool | None:
    """Whether the name says JSON; ``None`` when it says neither JSON nor CSV."""
    name = file_name.lower()
    while name.endswith(_PACKED):
        name = name.rpartition(".")[0]
    _, dot, extension = name.rpartition(".")
    return _IS_JSON.get(dot + extension)


def _lead(text: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """What the text begins with, without BOM and blanks, and the whole text again."""
    read = b""
    for chunk in text:
        read += chunk
        lead = read.removeprefix(_BOM).lstrip(_BLANKS)
        if (lead and read != _BOM[: len(read)]) or len(read) > _LONGEST_LEAD:
            return lead, chain((read,), text)
    return read.removeprefix(_BOM).lstrip(_BLANKS), iter((read,) if read else ())

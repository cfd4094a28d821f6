"""The records of a CSV file: bytes of UTF-8 in, frames of whole records out, in bounded memory.

At most a few blocks are held at a time, whatever the size of the file; the input is pulled only when a frame is asked
for, and its exceptions pass through untouched. How a block is read stands in `ingest.steps.csv_block`.

Decided: UTF-8 with or without BOM. Blanks around the names in the header do not count. Line ends are LF or CRLF, also
mixed; CR alone is refused. Bytes that are no text reject the row, in the header the file. A file without a header
fails when its first row has another number of fields than the manifest names columns: all its rows would be rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from ingest.steps.bounds import MAX_COLUMNS, MAX_RECORD_BYTES, MAX_ROWS
from ingest.steps.csv_block import BlockReader, Grammar
from ingest.steps.slices import sliced
from manifests.errors import DataEncoding, DataMalformed, HeaderMismatch, LimitExceeded

_BOM = b"\xef\xbb\xbf"
_UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class CsvRecords:
    """The records of one CSV file; iterate once.

    ``header`` is read when this is made: the names in the order of the file, without blanks around them; ``names``
    instead, for a file that has no header. A frame has these columns as String (null is an empty field), ``_row``
    (Int64, records counted from 1 without the header) and ``_fault`` (Int32: null, 604, 605 or 606). Ask for frames
    only after `manifests.plan.build_plan` has taken the header: names that are doubled or called as these two make
    iteration fail.

    Making it raises `DataMalformed` when there is no header, `DataEncoding` when it is not UTF-8, `LimitExceeded`
    beyond `MAX_COLUMNS`, and `HeaderMismatch` when the first row does not have as many fields as ``names``. Iterating
    raises `DataMalformed` for a quote that is never closed and for a record longer than ``max_record_bytes``, and
    `LimitExceeded` beyond ``max_rows``; frames before that were good.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        *,
        delimiter: str = ",",
        quote: str = '"',
        names: Sequence[str] | None = None,
        chunk_bytes: int = 16_000_000,
        max_record_bytes: int = MAX_RECORD_BYTES,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._source = sliced(chunks, chunk_bytes)
        self._at_end = False
        self._grammar = Grammar(delimiter, quote)
        self._chunk_bytes = chunk_bytes
        self._max_record_bytes = max_record_bytes
        self._max_rows = max_rows
        self._rows_read = 0
        if names is None:
            first, self._buffer = self._cut_first("header")
            self.header = self._names(first)
        else:
            first, rest = self._cut_first("first row")
            self._buffer = first.removeprefix(_BOM) + rest
            self.header = list(names)
            self._check_width(first)

    @property
    def rows_read(self) -> int:
        """Records handed over so far, bad ones too, without the header."""
        return self._rows_read

    def __iter__(self) -> Iterator[pl.DataFrame]:
        reader = BlockReader(self._grammar, len(self.header))
        buffer, self._buffer = self._buffer, b""
        wanted = self._chunk_bytes
        while True:
            buffer = self._filled(buffer, wanted)
            if self._at_end and not buffer:
                return
            end = self._end_of_block(buffer)
            frame, used = reader.read(buffer[:end]) if end else (None, 0)
            if used == 0 or frame is None:
                if self._at_end or len(buffer) >= self._max_record_bytes:
                    raise self._endless()
                wanted = max(2 * len(buffer), self._chunk_bytes)  # doubling, so that a long record is not read n² times
                continue
            buffer = buffer[used:]
            wanted = self._chunk_bytes
            if frame.height:
                yield self._numbered(frame)

    def _numbered(self, frame: pl.DataFrame) -> pl.DataFrame:
        names = dict(zip(frame.columns, [*self.header, "_fault"], strict=True))
        first = self._rows_read + 1
        self._rows_read += frame.height
        if self._rows_read > self._max_rows:
            raise LimitExceeded(f"The file has more than {self._max_rows:,} rows. Split it into several files.")
        rows = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True).alias("_row")
        return frame.rename(names).with_columns(rows)

    def _filled(self, buffer: bytes, wanted: int) -> bytes:
        """The buffer with at least ``wanted`` bytes, or with all that is left and a line feed at its end."""
        parts, size = [buffer], len(buffer)
        while size < wanted and not self._at_end:
            part = next(self._source, None)
            if part is None:
                self._at_end = True
                break
            parts.append(part)
            size += len(part)
        if self._at_end and size and not parts[-1].endswith(b"\n"):
            parts.append(b"\n")
        return b"".join(parts)

    def _end_of_block(self, buffer: bytes) -> int:
        """How much of the buffer to read at once; 0 for not yet."""
        if self._at_end:
            return len(buffer)
        end = self._grammar.end_of_records(buffer)
        if end == 0 and len(buffer) >= self._max_record_bytes:
            return buffer.rfind(b"\n") + 1  # quotes do not pair: the reader finds the records one by one
        return end

    def _endless(self) -> DataMalformed:
        row = self._rows_read + 1
        if self._at_end:
            return DataMalformed(f"Row {row} opens a quote that is never closed.")
        limit = self._max_record_bytes
        return DataMalformed(
            f"Row {row} is longer than {limit} bytes; most likely it opens a quote that is never closed."
        )

    def _cut_first(self, what: str) -> tuple[bytes, bytes]:
        """The first record and the bytes after it that were read already; blank lines before it do not count."""
        buffer, wanted = b"", 1
        while True:
            buffer = self._filled(buffer, wanted)
            if buffer.startswith(_UTF_16_BOMS):
                raise DataEncoding(
                    "The file begins as UTF-16 does (byte 0), but is read as UTF-8: put its encoding into `encoding` "
                    "in the manifest."
                )
            if self._at_end or len(buffer) >= len(_BOM):
                start = len(_BOM) if buffer.startswith(_BOM) else 0
                start += len(buffer[start:]) - len(buffer[start:].lstrip(b"\r\n"))
                record = self._grammar.any_record.match(buffer, start)
                if record is not None:
                    return buffer[: record.end()], buffer[record.end() :]
                if self._at_end:
                    raise DataMalformed(
                        f"The {what} opens a quote that is never closed."
                        if buffer[start:]
                        else f"The file has no {what}."
                    )
            if len(buffer) >= self._max_record_bytes:
                raise DataMalformed(f"The {what} is longer than {self._max_record_bytes} bytes.")
            wanted = 2 * len(buffer) + 1

    def _check_width(self, first: bytes) -> None:
        record = first.removeprefix(_BOM).lstrip(b"\r\n")
        width = len(self._grammar.fields(record))
        if width != len(self.header) and self._grammar.strict_record.fullmatch(record) is not None:
            raise HeaderMismatch(
                f"The manifest says `header: false` and names {len(self.header)} columns, but the first row of the "
                f"file has {width} fields. Name every column of the file under `columns`, in its order."
            )

    def _names(self, header: bytes) -> list[str]:
        record = header.removeprefix(_BOM).lstrip(b"\r\n")
        try:
            header.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataEncoding(f"The header is not UTF-8 (byte {error.start}).") from None
        if b"\0" in header:
            raise DataEncoding(f"The header contains a NUL (byte {header.index(0)}); the file must be UTF-8 text.")
        if b"\r" in record.removesuffix(b"\n").removesuffix(b"\r"):
            raise DataMalformed("The header contains a carriage return; lines must end with LF or CRLF, not CR alone.")
        if self._grammar.strict_record.fullmatch(record) is None:
            raise DataMalformed("The header has a quote where none may stand (RFC 4180).")
        names = [name.decode("utf-8").strip() for name in self._grammar.fields(record)]
        if len(names) > MAX_COLUMNS:
            raise LimitExceeded(f"The file has {len(names)} columns; {MAX_COLUMNS} are allowed.")
        return names

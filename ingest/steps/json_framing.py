"""From the bytes of a JSON file to its records, each a string of marked text, block by block, in bounded memory.

Three ways to write many records, seen from the first characters: JSON lines, an array of objects, and an array under
the one key ``d``. In JSON lines a line feed ends a record whatever it is. An array is cut at the commas between its
elements: line feeds elsewhere are blanks, and what an element is worth is for the reader of records to say. Only the
brackets and quotes of an array have to pair, or its records cannot be told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

import polars as pl

from ingest.steps.bounds import MAX_RECORD_BYTES
from ingest.steps.json_array import ArrayText, Broken
from ingest.steps.json_text import marked
from ingest.steps.slices import sliced
from manifests.errors import DataEncoding, DataMalformed

_BOM = b"\xef\xbb\xbf"
_UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_BLANKS = " \t\r\n"
_ARRAY = re.compile(rb"[ \t\r\n]*\[")
_ARRAY_OF_D = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"d"[ \t\r\n]*:[ \t\r\n]*\[(?=[ \t\r\n]*[{\]])')
_COMMA = re.compile(rb"[ \t\r\n]*,")
_LEAD_BYTES = 1 << 16


class RecordTexts:
    """The records of a file as blocks of strings, none blank, none with a line feed; iterate once.

    Making it reads the first characters; raises `DataEncoding` for UTF-16, and `DataMalformed` when they begin no JSON
    that has records. Iterating raises `DataMalformed`, naming the record, when one is longer than ``max_record_bytes``
    or an array does not end as it must.
    """

    def __init__(self, chunks: Iterable[bytes], *, chunk_bytes: int, max_record_bytes: int = MAX_RECORD_BYTES) -> None:
        self._source = sliced(chunks, chunk_bytes)
        self._chunk_bytes = chunk_bytes
        self._max_record_bytes = max_record_bytes
        self._at_end = False
        self._records = 0
        lead = self._filled(b"", _LEAD_BYTES).removeprefix(_BOM)
        in_object = _ARRAY_OF_D.match(lead)
        array = in_object or _ARRAY.match(lead)
        self._is_array = array is not None
        self._behind_array = b"}" if in_object else b""
        if array is None:
            _refuse_other_text(lead)
        self._source = chain(sliced((lead[array.end() if array else 0 :],), chunk_bytes), self._source)
        self._at_end = False

    def __iter__(self) -> Iterator[pl.Series]:
        for records in self._elements() if self._is_array else self._lines():
            self._records += len(records)
            if len(records):
                yield records

    def _filled(self, buffer: bytes, wanted: int) -> bytes:
        parts, size = [buffer], len(buffer)
        while size < wanted and not self._at_end:
            part = next(self._source, None)
            if part is None:
                self._at_end = True
                break
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    def _lines(self) -> Iterator[pl.Series]:
        buffer, wanted = b"", self._chunk_bytes
        while True:
            buffer = self._filled(buffer, wanted)
            end = len(buffer) if self._at_end else buffer.rfind(b"\n") + 1
            if end:
                lines = pl.Series([marked(buffer[:end])]).str.split("\n").explode()
                buffer, wanted = buffer[end:], self._chunk_bytes
                yield lines.filter(lines.str.contains("[^ \t\r]"))
            else:
                wanted = max(2 * len(buffer), self._chunk_bytes)  # doubling: a long record is not read n² times
            self._check_length(len(buffer))
            if self._at_end and not buffer:
                return

    def _check_length(self, size: int) -> None:
        if size >= self._max_record_bytes:
            raise DataMalformed(f"Row {self._records + 1} is longer than {self._max_record_bytes} bytes.")

    def _elements(self) -> Iterator[pl.Series]:
        array = ArrayText()
        buffer, wanted = b"", self._chunk_bytes
        while not array.is_closed:
            buffer = self._filled(buffer, wanted)
            # no character and no escape goes on behind a bracket, or behind a comma
            end = len(buffer) if self._at_end else max(buffer.rfind(b"}"), buffer.rfind(b"]")) + 1
            end = comma.end() if end and (comma := _COMMA.match(buffer, end)) else end
            try:
                yield array.read(marked(buffer[:end]))
            except Broken as broken:
                raise DataMalformed(
                    "The array of records has a bracket too many, or a comma with no record on one side, after row "
                    f"{self._records + broken.rows}."
                ) from None
            buffer = buffer[end:]
            self._check_length(len(buffer) + array.kept)
            wanted = len(buffer) + max(array.kept, self._chunk_bytes)
            if self._at_end and not array.is_closed:
                raise DataMalformed(
                    f"The file ends inside of its array, after row {self._records}: it was cut short, or its quotes "
                    "and brackets do not pair."
                )
        self._check_tail(array.behind.encode() + buffer)

    def _check_tail(self, tail: bytes) -> None:
        """Behind the array there is nothing, or the end of the object that it stood in."""
        expected = self._behind_array
        while True:
            tail = tail.strip(_BLANKS.encode())
            if tail not in (b"", expected):
                raise DataMalformed(f"Something follows the array of records, after row {self._records}.")
            if self._at_end:
                break
            tail += self._filled(b"", 1)
        if tail != expected:
            raise DataMalformed("The file ends before the object that holds the array `d` does.")


def _refuse_other_text(lead: bytes) -> None:
    """Say what is wrong with a file that does not begin with an array, unless it begins with an object."""
    if lead.startswith(_UTF_16_BOMS):
        raise DataEncoding(
            "The file begins as UTF-16 does (byte 0), but is read as UTF-8: put its encoding into `encoding` in the "
            "manifest."
        )
    blanks = len(lead) - len(lead.lstrip())
    if blanks == len(lead):
        raise DataMalformed("The file is empty.")
    if not lead.startswith(b"{", blanks):
        raise DataMalformed(
            f"The file is not JSON as it may be here: it must begin with {{ or [ (byte {blanks}). The name of a CSV "
            "ends with .csv."
        )

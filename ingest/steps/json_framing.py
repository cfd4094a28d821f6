"""From the bytes of a JSON file to marked text with one record in each line, block by block, in bounded memory.

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
from ingest.steps.json_text import CONTROL, marked
from ingest.steps.slices import sliced
from manifests.errors import DataEncoding, DataMalformed

_BOM = b"\xef\xbb\xbf"
_UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_BLANKS = " \t\r\n"
_ARRAY = re.compile(rb"[ \t\r\n]*\[")
_ARRAY_OF_D = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"d"[ \t\r\n]*:[ \t\r\n]*\[(?=[ \t\r\n]*[{\]])')
_COMMA = re.compile(rb"[ \t\r\n]*,")
_BLANK_LINES = re.compile(r"\n(?:[ \t\r]*\n)+")
_BORDER = r"\}[ \t\r]*,[ \t\r]*\{[ \t\r]*$"
_LEAD_BYTES = 1 << 16


class Lines:
    """The records of a file, each in a line of its own; iterate once.

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

    def __iter__(self) -> Iterator[str]:
        for text in self._elements() if self._is_array else self._lines():
            self._records += text.count("\n")
            yield text

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

    def _lines(self) -> Iterator[str]:
        buffer, wanted = b"", self._chunk_bytes
        while True:
            buffer = self._filled(buffer, wanted)
            end = len(buffer) if self._at_end else buffer.rfind(b"\n") + 1
            if end:
                text = marked(buffer[:end])
                buffer, wanted = buffer[end:], self._chunk_bytes
                text = _BLANK_LINES.sub("\n", f"\n{text}\n")[1:]
                if text:
                    yield text
            else:
                wanted = max(2 * len(buffer), self._chunk_bytes)  # doubling: a long record is not read n² times
            self._check_length(len(buffer))
            if self._at_end and not buffer:
                return

    def _check_length(self, size: int) -> None:
        if size >= self._max_record_bytes:
            raise DataMalformed(f"Row {self._records + 1} is longer than {self._max_record_bytes} bytes.")

    def _elements(self) -> Iterator[str]:
        array = ArrayText()
        buffer, wanted = b"", self._chunk_bytes
        while not array.is_closed:
            buffer = self._filled(buffer, wanted)
            # no character and no escape goes on behind a bracket, or behind a comma
            end = len(buffer) if self._at_end else max(buffer.rfind(b"}"), buffer.rfind(b"]")) + 1
            end = comma.end() if end and (comma := _COMMA.match(buffer, end)) else end
            try:
                text = array.read(marked(buffer[:end]))
            except Broken as broken:
                raise DataMalformed(
                    "The array of records has a bracket too many, or a comma with no record on one side, after row "
                    f"{self._records + broken.rows}."
                ) from None
            if text:
                yield text
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


class Broken(Exception):
    """The elements of an array cannot be told apart behind so many ``rows``; never leaves this module."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows


class ArrayText:
    """Cuts the elements of one array into lines; it has read the ``[`` already.

    ``kept`` characters of an element that has not ended are kept for the next piece; ``behind`` is what stood behind
    the ``]`` once the array ``is_closed``.
    """

    def __init__(self) -> None:
        self._element = ""  # the beginning of an element that has not ended
        self._wants_one = False  # a comma stands before it
        self.is_closed = False
        self.behind = ""

    @property
    def kept(self) -> int:
        """Characters of the element that has not ended."""
        return len(self._element)

    def read(self, text: str) -> str:
        """The elements that end in marked ``text``, one in each line.

        Raises `Broken` when there is a comma with nothing before or behind it, or a bracket too many.
        """
        pieces = pl.Series([self._element + text]).str.split('"').explode()
        strings = pieces.gather_every(2, 1).str.replace_all("\n", CONTROL, literal=True)
        gaps = self._cut(pieces.gather_every(2).str.replace_all("\n", " ", literal=True))
        strings = strings.head(len(gaps) - 1) if self.is_closed else strings
        parts = pl.DataFrame({"gap": gaps.head(len(strings)), "string": strings})
        joined = str(parts.select(pl.concat_str("gap", pl.lit('"'), "string", pl.lit('"')).str.join(""))[0, 0] or "")
        # without a last gap the text ends within a string
        joined = joined + gaps[-1] if len(gaps) > len(strings) else joined[:-1]
        done = joined.rfind("\n") + 1
        self._wants_one |= done > 0
        self._element = joined[done:]
        if not self.is_closed:
            return joined[:done]
        if self._element.strip(_BLANKS):
            return joined + "\n"
        if self._wants_one:
            raise Broken(joined.count("\n"))
        return joined[:done]

    def _cut(self, gaps: pl.Series) -> pl.Series:
        """The gaps with a line feed for each comma between two elements, to the end of the array if it is there."""
        count = {bracket: gaps.str.count_matches(bracket, literal=True).cast(pl.Int64) for bracket in "{}[]"}
        closed = count["}"] + count["]"]
        after = (count["{"] + count["["] - closed).cum_sum()
        before = after.shift(1, fill_value=0)
        places = (before - closed <= 0).arg_true()  # only here an element can end
        ends = gaps.gather(places)
        is_border = (
            (after.gather(places) == 1) & ends.str.contains(_BORDER) & (ends.str.count_matches(r"\}[ \t\r]*,") == 1)
        )
        ends = ends.str.replace(r",([ \t\r]*\{[ \t\r]*)$", "\n$1").zip_with(is_border, ends)
        others = (~is_border).arg_true()
        scanned: list[str] = []
        for place, gap, depth in zip(
            places.gather(others), ends.gather(others), before.gather(places.gather(others)), strict=True
        ):
            try:
                found, behind = _scanned(gap, depth, has_begun=place > 0)
            except ValueError:
                rows = is_border.filter(places < place).sum() + "".join(scanned).count("\n") + (place > 0)
                raise Broken(int(rows)) from None
            scanned.append(found)
            if behind is not None:
                self.is_closed = True
                self.behind = behind if place == len(gaps) - 1 else behind + '"'
                gaps = gaps.head(place + 1)
                break
        ends = ends.scatter(others.head(len(scanned)), scanned)
        within = places < len(gaps)
        return gaps.scatter(places.filter(within), ends.filter(within))


def _scanned(gap: str, depth: int, *, has_begun: bool) -> tuple[str, str | None]:
    """One gap, character by character: commas between elements are line feeds; and what stands behind the array's end.

    ``has_begun`` says whether something of an element stands before the gap. Raises `ValueError` for a comma before
    which nothing stands, and for a bracket that closes nothing.
    """
    found = list(gap)
    for place, char in enumerate(gap):
        if char in "}]":
            depth -= 1
            if depth < 0:
                if char == "]":
                    return "".join(found[:place]), gap[place + 1 :]
                raise ValueError
        elif char == "," and depth == 0:
            if not has_begun:
                raise ValueError
            found[place] = "\n"
            has_begun = False
            continue
        elif char in "{[":
            depth += 1
        has_begun = has_begun or char not in _BLANKS
    return "".join(found), None

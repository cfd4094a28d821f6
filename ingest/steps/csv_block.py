"""CSV records out of a block of bytes (RFC 4180 §2), vectorised for good rows; looks closer only at what is wrong.

A block that polars has parsed is believed when it is exact. polars refuses a row with more fields than the header has,
but fills one with fewer, and drops stray quotes in silence. So a block with quotes must match the grammar as a whole
(polars' own regular expressions do that at 450 MB/s), and in one without quotes the delimiters must add up to what that
many whole rows need.

A block that is not exact is scanned: runs of good records are passed over by one regular expression, each bad record is
cut or padded to the header's width and marked, and polars parses the repaired block. So columns never shift.

Decided: blank lines are no records. A carriage return counts only before a line feed. A quote in the middle of a field,
or text after a closing quote, makes a bad record; it still ends where an open quote closes.
"""

from __future__ import annotations

import re

import polars as pl

from manifests.codes import BAD_ENCODING, BAD_QUOTE, RAGGED

# No accepted row has a NUL, so it can mark what is wrong: one for bytes that are no text, two before a fault.
_BAD_TEXT = "\0"
_RAGGED_MARK = b"\0\0r"
_QUOTE_MARK = b"\0\0q"
_NO_TEXT = re.compile("[\0\udc80-\udcff]+")
_MOST_STEPS_BACK = 10_000


class Grammar:
    """How records look with one delimiter and one quote, both one ASCII character."""

    def __init__(self, delimiter: str, quote: str) -> None:
        self.delimiter = delimiter.encode("ascii")
        self.quote = quote.encode("ascii")
        d, q = _escaped(self.delimiter), _escaped(self.quote)
        quoted = b"%b(?:[^%b]|%b%b)*%b" % (q, q, q, q, q)
        quoted_for_good = b"%b(?:[^%b]++|%b%b)*+%b" % (q, q, q, q, q)  # the same, but never tried in another way
        self._field = b"(?:%b|[^%b%b\n]*+)" % (quoted_for_good, q, d)
        self._plain_field = b"(?:%b|[^%b%b\n]*)" % (quoted, q, d)
        self._delimiter = d
        # after a closing quote anything may come, and a quote inside is as good as any character
        loose = b"(?:%b[^%b\n]*+|(?!%b)[^%b\n]*+)" % (quoted_for_good, d, q, d)
        self.any_record = re.compile(b"%b(?:%b%b)*+\n" % (loose, d, loose))
        self._any_field = re.compile(b"(%b)(?:%b|\n)" % (loose, d))
        self.strict_record = re.compile(b"%b(?:%b%b)*+\r?\n" % (self._field, d, self._field))
        self._quoted = re.compile(quoted_for_good)

    def good_run(self, width: int) -> re.Pattern[bytes]:
        """Matches as many records of ``width`` fields as follow each other; may match nothing."""
        record = b"%b(?:%b%b){%d}\r?\n" % (self._field, self._delimiter, self._field, width - 1)
        return re.compile(b"(?:%b)*+" % record)

    def whole_block(self, width: int) -> str:
        """Matches a block of nothing but records of ``width`` fields; for polars, which has no possessive repeats."""
        record = b"%b(?:%b%b){%d}\r?\n" % (self._plain_field, self._delimiter, self._plain_field, width - 1)
        return rf"\A(?:{record.decode('ascii')})*\z"

    def fields(self, record: bytes) -> list[bytes]:
        """The values of one record, good or bad, which ends with a line feed."""
        raw = self._any_field.findall(record)
        raw[-1] = raw[-1].removesuffix(b"\r")
        return [self._value(field) for field in raw]

    def _value(self, field: bytes) -> bytes:
        if self._quoted.fullmatch(field):
            return field[1:-1].replace(self.quote * 2, self.quote)
        return field

    def written(self, values: list[bytes]) -> bytes:
        """One record with every value in quotes."""
        quoted = (self.quote + value.replace(self.quote, self.quote * 2) + self.quote for value in values)
        return self.delimiter.join(quoted) + b"\n"

    def end_of_records(self, buffer: bytes) -> int:
        """The end of the last record in ``buffer``, which begins with one; 0 when none ends, or none can be seen to.

        A line feed ends a record when the quotes before it are even in number. Quotes where none may stand can make
        this wrong: the block's reader then stops early, or goes on without it.
        """
        # looking for a quote is much faster than counting them
        is_open = self.quote in buffer and buffer.count(self.quote) % 2 == 1
        end = len(buffer)
        for _ in range(_MOST_STEPS_BACK):
            before = buffer.rfind(self.quote, 0, end)
            if not is_open and (line_feed := buffer.rfind(b"\n", before + 1, end)) >= 0:
                return line_feed + 1
            if before < 0:
                return 0
            end, is_open = before, not is_open
        return 0


class BlockReader:
    """Reads blocks of records that have the same columns.

    A frame has one String column for each column of the header, named by its position (``"0"``, ``"1"``, ...), and
    ``_fault``; an empty field is null, or "" when it was quoted.
    """

    def __init__(self, grammar: Grammar, width: int) -> None:
        self._grammar = grammar
        self._width = width
        self._names = [str(index) for index in range(width)]
        self._good_run = grammar.good_run(width)
        self._whole = grammar.whole_block(width)
        self._blank = re.compile(rb"(?:\r?\n)++")
        # polars takes a block that begins with the magic bytes of a compressed format ("x^" for one) for such a file,
        # and drops a BOM: so no block begins with the sender's bytes
        self._guard = grammar.written([b""] * width)

    def read(self, block: bytes) -> tuple[pl.DataFrame, int]:
        """The records of ``block``, and how many bytes they take.

        The block begins with a record and ends with a line feed. Fewer bytes than it has are taken when a quote in it
        is not closed: what is left begins with the record that opens it.
        """
        frame = self._exact(block) if b"\0" not in block else None
        if frame is not None:
            return frame.with_columns(pl.lit(None, pl.Int32).alias("_fault")), len(block)
        repaired, used = self._repaired(block)
        return self._marked(self._parsed(repaired)), used

    def _parsed(self, block: bytes) -> pl.DataFrame:
        """Raises `polars.exceptions.PolarsError` when a row has too many fields or polars cannot read the block."""
        frame = pl.read_csv(
            self._guard + block,
            has_header=False,
            schema=dict.fromkeys(self._names, pl.String()),
            separator=self._grammar.delimiter.decode(),
            quote_char=self._grammar.quote.decode(),
            infer_schema=False,
        ).slice(1)
        # with one column a blank line is a null; an empty value is written with quotes
        return frame.drop_nulls() if self._width == 1 else frame

    def _exact(self, block: bytes) -> pl.DataFrame | None:
        """The block's rows when all of them are good, else nothing."""
        has_quotes = self._grammar.quote in block
        if has_quotes and not self._is_whole(block):
            return None
        try:
            frame = self._parsed(block)
        except pl.exceptions.PolarsError:
            return None
        delimiters = frame.height * (self._width - 1)
        return frame if has_quotes or block.count(self._grammar.delimiter) == delimiters else None

    def _is_whole(self, block: bytes) -> bool:
        """Whether the block is nothing but records of the header's width."""
        try:
            text = pl.Series([block.decode("utf-8")])
        except UnicodeDecodeError:
            return False
        return bool(text.str.contains(self._whole)[0])

    def _repaired(self, block: bytes) -> tuple[bytes, int]:
        """The block with bad records marked and as wide as the header, and how far it could be read."""
        pieces: list[bytes] = []
        position = 0
        while position < len(block):
            if (good := self._good_run.match(block, position)) is not None and good.end() > position:
                pieces.append(_text_marked(good.group()))
                position = good.end()
            elif (blank := self._blank.match(block, position)) is not None:
                position = blank.end()
            elif (bad := self._grammar.any_record.match(block, position)) is not None:
                pieces.append(self._bad_record(bad.group()))
                position = bad.end()
            else:
                break
        return b"".join(pieces), position

    def _bad_record(self, record: bytes) -> bytes:
        """The record as wide as the header: missing fields are empty, surplus ones stay together in the last."""
        mark = _RAGGED_MARK if self._grammar.strict_record.fullmatch(record) else _QUOTE_MARK
        values = self._grammar.fields(_text_marked(record))
        last = self._width - 1
        if len(values) > self._width:
            values[last:] = [self._grammar.delimiter.join(values[last:])]
        values += [b""] * (self._width - len(values))
        values[0] = mark + values[0]
        return self._grammar.written(values)

    def _marked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the marks turned into faults."""
        first = pl.col(self._names[0])
        no_text = pl.any_horizontal(pl.all().str.contains(_BAD_TEXT, literal=True))
        fault = (
            pl.when(first.str.starts_with(_RAGGED_MARK.decode()))
            .then(RAGGED)
            .when(first.str.starts_with(_QUOTE_MARK.decode()))
            .then(BAD_QUOTE)
            .when(no_text)
            .then(BAD_ENCODING)
        )
        marks = first.str.strip_prefix(_RAGGED_MARK.decode()).str.strip_prefix(_QUOTE_MARK.decode())
        return (
            frame.with_columns(fault.cast(pl.Int32).alias("_fault"))
            .with_columns(marks)
            .with_columns(pl.col(self._names).str.replace_all(_BAD_TEXT, "\ufffd", literal=True))
        )


def _escaped(char: bytes) -> bytes:
    """The character as every regular expression takes it, inside brackets too."""
    return b"\\x%02x" % char[0]


def _text_marked(piece: bytes) -> bytes:
    """The bytes with one NUL for each run of NULs and of bytes that are not UTF-8."""
    if piece.isascii() and b"\0" not in piece:
        return piece
    text = piece.decode("utf-8", "surrogateescape")
    return _NO_TEXT.sub(_BAD_TEXT, text).encode("utf-8")

"""The elements of one JSON array, piece by piece: marked text in, a record in each string out.

Elements that are objects and not nested deeply are found by one regular expression. The others, and the last one, are
found by their brackets: the text is split at its quotes, and only between two strings an element can end.
"""

from __future__ import annotations

import polars as pl

from ingest.steps.json_text import CONTROL

_BLANKS = " \t\r\n"
_W = r"[ \t\r\n]*"
_PLAIN = r'[^{}\[\]"]|"[^"\n]*"'
_NESTED = rf"[\[{{](?:{_PLAIN}|[\[{{](?:{_PLAIN})*[\]}}])*[\]}}]"
_ELEMENT = rf"{_W}\{{(?:{_PLAIN}|{_NESTED})*\}}{_W},"
_ELEMENTS = rf"^(?:{_ELEMENT})*"
_BORDER = r"\}[ \t\r]*,[ \t\r]*\{[ \t\r]*$"


class Broken(Exception):
    """The elements of an array cannot be told apart behind so many ``rows``; does not leave the parse step."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows


class ArrayText:
    """Cuts the elements of one array; it has read the ``[`` already.

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

    def read(self, text: str) -> pl.Series:
        """The elements that end in marked ``text``, without line feeds.

        Raises `Broken` when there is a comma with nothing before or behind it, or a bracket too many.
        """
        text = self._element + text
        behind = pl.Series([text]).str.replace(_ELEMENTS, "")[0]
        shallow = text.removesuffix(behind)
        elements = pl.Series([shallow]).str.extract_all(_ELEMENT).explode().drop_nulls().str.strip_chars(_BLANKS + ",")
        if "\n" in shallow:
            elements = elements.str.replace_all("\n", " ", literal=True)
        self._wants_one |= len(elements) > 0
        try:
            return pl.concat([elements, pl.Series(self._walked(behind), dtype=pl.String)])
        except Broken as broken:
            raise Broken(len(elements) + broken.rows) from None

    def _walked(self, text: str) -> list[str]:
        """The elements that end in ``text``, by their brackets."""
        pieces = pl.Series([text]).str.split('"').explode()
        strings = pieces.gather_every(2, 1).str.replace_all("\n", CONTROL, literal=True)
        gaps = self._cut(pieces.gather_every(2).str.replace_all("\n", " ", literal=True))
        strings = strings.head(len(gaps) - 1) if self.is_closed else strings
        parts = pl.DataFrame({"gap": gaps.head(len(strings)), "string": strings})
        joined = str(parts.select(pl.concat_str("gap", pl.lit('"'), "string", pl.lit('"')).str.join(""))[0, 0] or "")
        # without a last gap the text ends within a string
        joined = joined + gaps[-1] if len(gaps) > len(strings) else joined[:-1]
        *elements, last = joined.split("\n")
        self._wants_one |= len(elements) > 0
        self._element = "" if self.is_closed else last
        if self.is_closed and last.strip(_BLANKS):
            elements.append(last)
        elif self.is_closed and self._wants_one:
            raise Broken(len(elements))
        return elements

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

"""JSON with places: RFC 8259 plus ``//`` and ``/* */`` comments and trailing commas (CONTRACT.md 2).

Stricter than Python's ``json``: no NaN or Infinity, no number beyond 64 bits, no lone surrogate, depth at most 16
(FAULTS.md D5). Keys may be doubled here; who reads the tree refuses that.
"""

from __future__ import annotations

import bisect
import math
import re

from manifests.errors import Problem
from manifests.node import MAX_DEPTH, Array, Member, Node, Object, Place, Scalar, Unreadable

_BLANK = re.compile(r"(?:[ \t\r\n]++|//[^\n]*+|/\*(?:(?!\*/).)*+\*/)*+", re.DOTALL)
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*+)"')
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|(["\\/bfnrt]))')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![0-9A-Za-z_.+-])")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_MAX_NUMBER_CHARS = 32


def first_significant(text: str) -> str:
    """The first character that is neither blank nor comment; empty when there is none."""
    end = _end_of_blank(text, 0)
    return text[end : end + 1]


def _end_of_blank(text: str, start: int) -> int:
    match = _BLANK.match(text, start)
    return match.end() if match is not None else start


def read_json(text: str) -> tuple[Node, tuple[Problem, ...]]:
    """The tree of a JSON text, and what in it is accepted but no JSON: the first comment, the first trailing comma.

    Raises `Unreadable` with the place of the first thing that cannot be read.
    """
    scanner = _Scanner(text)
    node = scanner.value(depth=1)
    scanner.skip()
    if scanner.position < len(text):
        raise scanner.error("the text goes on after the end of the JSON value")
    return node, scanner.remarks()


class _Scanner:
    """Reads one value after the other from ``position`` on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self._comment: int | None = None
        self._trailing_comma: int | None = None
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(self, position: int | None = None) -> Place:
        at = self.position if position is None else position
        line = bisect.bisect_right(self._line_starts, at)
        return Place(line, at - self._line_starts[line - 1] + 1)

    def error(self, message: str, position: int | None = None) -> Unreadable:
        return Unreadable(message, self.place(position))

    def remarks(self) -> tuple[Problem, ...]:
        """What was read so far and is no JSON."""
        found = ((self._comment, "a comment"), (self._trailing_comma, "a comma with nothing after it"))
        places = [(self.place(at), what) for at, what in found if at is not None]
        text = "{} is accepted here, but it is not JSON: other programs refuse it"
        return tuple(Problem("", text.format(what), place.line, place.column) for place, what in places)

    def skip(self) -> None:
        """Go to the next character that is neither blank nor comment."""
        start, self.position = self.position, _end_of_blank(self.text, self.position)
        if self._comment is None and (slash := self.text.find("/", start, self.position)) >= 0:
            self._comment = slash
        if self.text.startswith("/*", self.position):
            raise self.error("this comment is never closed")

    def next_is(self, char: str) -> bool:
        """Whether the next significant character is ``char``, which is then behind us."""
        self.skip()
        if not self.text.startswith(char, self.position):
            return False
        self.position += 1
        return True

    def value(self, depth: int) -> Node:
        self.skip()
        if depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels")
        place = self.place()
        start = self.text[self.position : self.position + 1]
        if start == "{":
            return self._object(place, depth)
        if start == "[":
            return self._array(place, depth)
        if start == '"':
            return Scalar(self._string(), place, typed=True)
        if start == "-" or start.isdecimal():
            return Scalar(self._number(), place, typed=True)
        word = _WORD.match(self.text, self.position)
        if word is not None and word.group() in _WORDS:
            self.position = word.end()
            return Scalar(_WORDS[word.group()], place, typed=True)
        raise self.error("a value is expected here" if start else "the text ends where a value is expected")

    def _object(self, place: Place, depth: int) -> Object:
        members: list[Member] = []
        self.position += 1
        while not self.next_is("}"):
            if members and not self._after_comma("}"):
                break
            key_place = self.place()
            if not self.text.startswith('"', self.position):
                raise self.error('a key in double quotes or "}" is expected here')
            key = self._string()
            if not self.next_is(":"):
                raise self.error('":" is expected here')
            members.append(Member(key, key_place, self.value(depth + 1)))
        return Object(tuple(members), place)

    def _array(self, place: Place, depth: int) -> Array:
        items: list[Node] = []
        self.position += 1
        while not self.next_is("]"):
            if items and not self._after_comma("]"):
                break
            items.append(self.value(depth + 1))
        return Array(tuple(items), place)

    def _after_comma(self, closing: str) -> bool:
        """Pass the comma after a value; ``False`` when it was a trailing one and ``closing`` is behind us too."""
        if not self.next_is(","):
            raise self.error(f'"," or "{closing}" is expected here')
        comma = self.position - 1
        if not self.next_is(closing):
            return True
        if self._trailing_comma is None:
            self._trailing_comma = comma
        return False

    def _string(self) -> str:
        match = _STRING.match(self.text, self.position)
        if match is None:
            raise self.error("this string is not closed on its line, or contains an escape that JSON does not have")
        raw = match.group(1)
        if "\\" in raw:
            raw = _ESCAPE.sub(lambda escape: chr(int(escape[1], 16)) if escape[1] else _PLAIN[escape[2]], raw)
            try:  # join surrogate pairs; a lone one is no character
                raw = raw.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                raise self.error("this string contains half of a surrogate pair") from None
        self.position = match.end()
        return raw

    def _number(self) -> int | float:
        match = _NUMBER.match(self.text, self.position)
        if match is None or len(match.group()) > _MAX_NUMBER_CHARS:
            raise self.error("this is not a JSON number of reasonable length")
        whole = match.group(1) is None and match.group(2) is None
        number = int(match.group()) if whole else float(match.group())
        if not math.isfinite(number) or (whole and not -(2**63) <= number < 2**63):
            raise self.error("this number is beyond 64 bits")
        self.position = match.end()
        return number

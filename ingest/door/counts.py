"""Numbers that hold for all doors on one port together (FAULTS.md S6, S7, S17).

Two tables, one behind the other, on the sheet of each process (`ingest.door.sheets`): numbers, whose total over all
doors counts, and moments, of which the latest does. A table is buckets of eight keys and their eight values; a key is a
hash of kind and name, so no name is written anywhere. What is read while another process writes it is at most the
state before or after.

A fence that must not be exceeded adds first and looks at the total then: of two doors that do so at the same moment, at
least one sees the other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from ingest.door.sheets import Sheets

_BUCKETS = 4096
_ROWS = 8  # of a bucket
_BUCKET_WORDS = 2 * _ROWS


class Number:
    """One number, as this door and all doors have it."""

    def __init__(self, counts: Counts, key: int) -> None:
        self._counts = counts
        self._key = key

    def add(self, change: int) -> int:
        """Change this door's part; the total of all doors after that."""
        return self._counts.add(self._key, change) + self.elsewhere()

    def elsewhere(self) -> int:
        """The total of the other doors."""
        return sum(self._counts.elsewhere(self._key, 0))


class Moment:
    """A number that only grows, such as one made of a time; 0 when nobody has set it."""

    def __init__(self, counts: Counts, key: int) -> None:
        self._counts = counts
        self._key = key

    def latest(self) -> int:
        """The latest that any door has set."""
        return max(self._counts.moment_here(self._key), *self._counts.elsewhere(self._key, 1), 0)

    def set(self, moment: int) -> None:
        """Set this door's; in a bucket that is full the earliest moment is given up for it."""
        self._counts.set_moment(self._key, moment)


class Counts:
    """The numbers and moments of this door, and the way to those of the others; `close` it."""

    def __init__(self, sheets: Sheets | None = None, *, buckets: int = _BUCKETS) -> None:
        self._buckets = buckets
        self._sheets = sheets or Sheets(2 * buckets * _BUCKET_WORDS)
        self._words = self._sheets.words
        self._unseen = Counter[int]()  # numbers that found no row: they count in this process only

    @classmethod
    def shared(cls, folder: Path, spool: Path) -> Counts:
        """Counts together with the other doors on this spool; blocks. Raises `SharedCountsUnusable`."""
        return cls(Sheets.shared(2 * _BUCKETS * _BUCKET_WORDS, folder, spool))

    def number(self, kind: str, name: str = "") -> Number:
        """The number of this kind and name, 0 at first."""
        return Number(self, _key(kind, name))

    def moment(self, kind: str, name: str) -> Moment:
        """The moment of this kind and name."""
        return Moment(self, _key(kind, name))

    def doors(self) -> tuple[int, ...]:
        """Which doors there are, this one among them: another value when one has come or gone."""
        return self._sheets.doors()

    def forget_the_dead(self) -> int:
        """Let what processes have counted that have ended count no more; how many have. Does not block."""
        return self._sheets.forget_the_dead()

    def close(self) -> None:
        """This door counts nothing any more."""
        self._words = memoryview(b"").cast("q")
        self._sheets.close()

    def add(self, key: int, change: int) -> int:
        """Change a number of this door; what it is then."""
        words, bucket = self._words, self._bucket(self._sheets.own, key, 0)
        keys = words[bucket : bucket + _ROWS].tolist()
        if key in keys:
            place = bucket + _ROWS + keys.index(key)
        else:
            values = words[bucket + _ROWS : bucket + _BUCKET_WORDS].tolist()
            if key in self._unseen or 0 not in values:
                return self._add_unseen(key, change)
            place = bucket + _ROWS + values.index(0)
            words[place - _ROWS] = key
        words[place] += change
        return words[place]

    def elsewhere(self, key: int, table: int) -> list[int]:
        """The values that the other doors have under a key."""
        return [self._value(start, key, table) for start in self._sheets.others()]

    def moment_here(self, key: int) -> int:
        """A moment as this door has set it."""
        return self._value(self._sheets.own, key, 1)

    def set_moment(self, key: int, moment: int) -> None:
        """Set a moment of this door."""
        words, bucket = self._words, self._bucket(self._sheets.own, key, 1)
        keys = words[bucket : bucket + _ROWS].tolist()
        values = words[bucket + _ROWS : bucket + _BUCKET_WORDS].tolist()
        place = bucket + (keys.index(key) if key in keys else values.index(min(values)))
        if words[place] != key:
            words[place + _ROWS] = 0  # at no moment has a key the value of another
            words[place] = key
        words[place + _ROWS] = moment

    def _add_unseen(self, key: int, change: int) -> int:
        self._unseen[key] += change
        return self._unseen[key] or self._unseen.pop(key)

    def _value(self, start: int, key: int, table: int) -> int:
        bucket = self._bucket(start, key, table)
        keys = self._words[bucket : bucket + _ROWS].tolist()
        return self._words[bucket + _ROWS + keys.index(key)] if key in keys else 0

    def _bucket(self, start: int, key: int, table: int) -> int:
        return start + (table * self._buckets + key % self._buckets) * _BUCKET_WORDS


def _key(kind: str, name: str) -> int:
    digest = hashlib.blake2b(f"{kind} {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True) or 1

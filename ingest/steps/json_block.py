"""JSON records out of a block of lines, vectorised for good records.

Records that are written alike are read by their shape (`ingest.steps.json_shape`), what is left by the gaps between its
strings (`ingest.steps.json_gaps`). What is not good as a whole then is halved; a small part is judged record by record
by the plain reader (`ingest.steps.json_text.fault_of`), and what that finds good is read like any other.

Decided: numbers and booleans are their text, exactly as written; null is no value, and so is a nested object that a
dotted path reaches into; other objects and arrays are their JSON text, exactly as written. Where a path leads to
nothing, or through something that is no object, there is no value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from ingest.steps.bounds import MAX_COLUMNS
from ingest.steps.json_gaps import Edge, keys_of
from ingest.steps.json_paths import Branch
from ingest.steps.json_shape import shape_of
from ingest.steps.json_text import fault_of, is_text, written
from manifests.codes import LATE_KEY
from manifests.errors import LimitExceeded

FAULT_SCHEMA = pl.Schema({"row": pl.Int64, "code": pl.Int32, "text": pl.String})
_MOST_SHAPES = 4
_WORTH_A_SHAPE = 0.1  # of the records that are left
_JUDGED_ONE_BY_ONE = 2000


@dataclass(frozen=True, slots=True)
class Part:
    """Records that follow each other, numbered from 0.

    ``cells`` are the values by column, each with the rows that have its key (``row``, ``value``), in order; ``faults``
    have `FAULT_SCHEMA`: a ``text`` is that of a record that could not be read.
    """

    height: int
    cells: dict[str, pl.DataFrame]
    faults: pl.DataFrame


class BlockReader:
    """Reads blocks of records, which are marked text (`ingest.steps.json_text`)."""

    def __init__(self, root: Branch) -> None:
        self._branches = [root]
        self._edges: list[list[Edge]] = []  # by level
        level = [0]
        while level:
            edges: list[Edge] = []
            for parent in level:
                for key, branch in self._branches[parent].inner.items():
                    edges.append((parent, key, len(self._branches)))
                    self._branches.append(branch)
            self._edges.append(edges)
            level = [child for _, _, child in edges]

    def read(self, records: pl.Series, known: frozenset[str] | None) -> Part:
        """The records, each in a string of marked text without line feeds, none blank.

        Without ``known`` every top-level key is a column; else any other is late, and its record has a fault when it
        has a value. Raises `LimitExceeded` beyond `MAX_COLUMNS` keys.
        """
        rest = pl.int_range(len(records), eager=True)
        found = _Found(len(records))
        may_name = records.str.contains("\\u", literal=True)
        has_escapes = not may_name.any() or is_text(records.filter(may_name).str.join("\n")[0])
        for _ in range(_MOST_SHAPES):
            shape = shape_of(records[0], self._branches[0], known, has_escapes=has_escapes) if len(records) else None
            if shape is None:
                break
            matched = shape.matched(records)
            if matched is None:
                has_escapes = False
                continue
            places, values = matched
            found.add(rest.gather(places), values)
            is_left = pl.repeat(True, len(records), dtype=pl.Boolean, eager=True).scatter(places, False)  # noqa: FBT003
            records, rest = records.filter(is_left), rest.filter(is_left)
            if len(places) < _WORTH_A_SHAPE * len(is_left):
                break
        done = 0
        for part in self._irregular(f"{records.str.join(chr(10))[0]}\n", known) if len(records) else ():
            found.add_part(part, rest.slice(done, part.height))
            done += part.height
        return found.part()

    def _irregular(self, text: str, known: frozenset[str] | None) -> Iterator[Part]:
        """The records of ``text``, one in each line, in as many parts as it takes."""
        part = self._exact(text, known)
        if part is not None:
            yield part
        elif text.count("\n") <= _JUDGED_ONE_BY_ONE:
            yield self._judged(text, known)
        else:
            middle = text.index("\n", len(text) // 2) + 1
            if middle == len(text):
                middle = text.rindex("\n", 0, len(text) - 1) + 1
            yield from self._irregular(text[:middle], known)
            yield from self._irregular(text[middle:], known)

    def _judged(self, text: str, known: frozenset[str] | None) -> Part:
        """The records, each judged by the plain reader first."""
        lines = text.split("\n")[:-1]
        codes = [fault_of(line) for line in lines]
        good = [row for row, code in enumerate(codes) if code is None]
        bad = [(row, code, written(lines[row])) for row, code in enumerate(codes) if code is not None]
        part = self._exact("".join(f"{lines[row]}\n" for row in good), known)
        if part is None:
            raise RuntimeError("the two readers of JSON do not agree about a record")
        found = _Found(len(lines))
        found.add_part(part, pl.Series(good, dtype=pl.Int64))
        found.faults.append(pl.DataFrame(bad, FAULT_SCHEMA, orient="row"))
        return found.part()

    def _exact(self, text: str, known: frozenset[str] | None) -> Part | None:
        """The block's records when all of them are good, else nothing."""
        keys = keys_of(text, self._edges)
        if keys is None:
            return None
        found = _Found(text.count("\n"))
        for number, branch in enumerate(self._branches):
            of_object = keys if len(self._branches) == 1 else keys.filter(pl.col("object") == number)
            groups = of_object.group_by("key", maintain_order=True).agg(
                "row", "value", doubled=(pl.col("row").diff() == 0).any()
            )
            if groups["doubled"].any():
                return None
            if number == 0:
                names = None if known is None else {name: name for name in known}
                if known is not None:
                    found.faults.append(_late(groups, known))
            else:
                names = branch.leaves
            if names is not None:
                groups = groups.filter(pl.col("key").is_in(list(names)))
            elif groups.height > MAX_COLUMNS:
                raise LimitExceeded(f"The records have {groups.height} keys; {MAX_COLUMNS} are allowed.")
            for place, key in enumerate(groups["key"]):
                found.add(groups["row"][place], {names[key] if names is not None else key: groups["value"][place]})
        return found.part()


class _Found:
    """The cells and faults of records, from several ways to read them.

    The first value that a row has for a column wins: a key that is spelled with dots goes before a path of this name.
    """

    def __init__(self, height: int) -> None:
        self._height = height
        self._cells: dict[str, list[pl.DataFrame]] = {}
        self.faults: list[pl.DataFrame] = []

    def add(self, rows: pl.Series, values: Mapping[str, pl.Series]) -> None:
        """Values by column, each for these rows."""
        for name, value in values.items():
            self._cells.setdefault(name, []).append(pl.DataFrame({"row": rows, "value": value}))

    def add_part(self, part: Part, rows: pl.Series) -> None:
        """All of a part, whose records have these rows here."""
        for name, cells in part.cells.items():
            self.add(rows.gather(cells["row"]), {name: cells["value"]})
        self.faults.append(part.faults.with_columns(row=rows.gather(part.faults["row"])))

    def part(self) -> Part:
        """All that was added."""
        cells = {
            name: cells[0] if len(cells) == 1 else pl.concat(cells).unique("row", keep="first").sort("row")
            for name, cells in self._cells.items()
        }
        return Part(self._height, cells, pl.concat([FAULT_SCHEMA.to_frame(), *self.faults]))


def _late(groups: pl.DataFrame, known: frozenset[str]) -> pl.DataFrame:
    """The records that have a value under a key that is not known."""
    unknown = groups.filter(~pl.col("key").is_in(list(known))).select(pl.col("row", "value").explode())
    rows = unknown.filter(pl.col("value").is_not_null()).select(pl.col("row").unique().sort())
    return rows.with_columns(code=pl.lit(LATE_KEY, pl.Int32), text=pl.lit(None, pl.String))

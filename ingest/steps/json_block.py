"""JSON records out of a block of lines, vectorised for good records (`ingest.steps.json_gaps`).

A block that is not good as a whole is halved; a small part is judged record by record by the plain reader
(`ingest.steps.json_text.fault_of`), and what that finds good is read like any other.

Decided: numbers and booleans are their text, exactly as written; null is no value, and so is a nested object that a
dotted path reaches into; other objects and arrays are their JSON text, exactly as written. Where a path leads to
nothing, or through something that is no object, there is no value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from ingest.steps.bounds import MAX_COLUMNS
from ingest.steps.json_gaps import Edge, keys_of
from ingest.steps.json_paths import Branch
from ingest.steps.json_text import fault_of, written
from manifests.codes import LATE_KEY
from manifests.errors import LimitExceeded

FAULT_SCHEMA = pl.Schema({"row": pl.Int64, "code": pl.Int32, "text": pl.String})
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
    """Reads blocks of records, one in each line of marked text (`ingest.steps.json_text`), no line blank."""

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

    def read(self, text: str, known: frozenset[str] | None) -> Iterator[Part]:
        """The records of ``text``, whose lines all end, in one part or more.

        Without ``known`` every top-level key is a column; else any other is late, and a fault of its record when it has
        a value. Raises `LimitExceeded` beyond `MAX_COLUMNS` keys.
        """
        part = self._exact(text, known)
        if part is not None:
            yield part
        elif text.count("\n") <= _JUDGED_ONE_BY_ONE:
            yield self._judged(text, known)
        else:
            middle = text.index("\n", len(text) // 2) + 1
            if middle == len(text):
                middle = text.rindex("\n", 0, len(text) - 1) + 1
            yield from self.read(text[:middle], known)
            yield from self.read(text[middle:], known)

    def _judged(self, text: str, known: frozenset[str] | None) -> Part:
        """The records, each judged by the plain reader first."""
        lines = text.split("\n")[:-1]
        codes = [fault_of(line) for line in lines]
        bad = [(row, code, written(lines[row])) for row, code in enumerate(codes) if code is not None]
        good = [row for row, code in enumerate(codes) if code is None]
        part = self._exact("".join(f"{lines[row]}\n" for row in good), known)
        if part is None:
            raise RuntimeError("the two readers of JSON do not agree about a record")
        rows = pl.Series(good, dtype=pl.Int64)
        cells = {name: found.with_columns(row=rows.gather(found["row"])) for name, found in part.cells.items()}
        late = part.faults.with_columns(row=rows.gather(part.faults["row"]))
        return Part(len(lines), cells, pl.concat([late, pl.DataFrame(bad, FAULT_SCHEMA, orient="row")]))

    def _exact(self, text: str, known: frozenset[str] | None) -> Part | None:
        """The block's records when all of them are good, else nothing."""
        keys = keys_of(text, self._edges)
        if keys is None:
            return None
        found: dict[str, list[pl.DataFrame]] = {}
        late = FAULT_SCHEMA.to_frame()
        for number, branch in enumerate(self._branches):
            of_object = keys if len(self._branches) == 1 else keys.filter(pl.col("object") == number)
            groups = of_object.group_by("key", maintain_order=True).agg(
                "row", "value", doubled=(pl.col("row").diff() == 0).any()
            )
            if groups["doubled"].any():
                return None
            if number == 0:
                names = None if known is None else {name: name for name in known}
                late = late if known is None else _late(groups, known)
            else:
                names = branch.leaves
            if names is not None:
                groups = groups.filter(pl.col("key").is_in(list(names)))
            elif groups.height > MAX_COLUMNS:
                raise LimitExceeded(f"The records have {groups.height} keys; {MAX_COLUMNS} are allowed.")
            for place, key in enumerate(groups["key"]):
                cells = pl.DataFrame({"row": groups["row"][place], "value": groups["value"][place]})
                found.setdefault(key if names is None else names[key], []).append(cells)
        return Part(text.count("\n"), {name: _merged(parts) for name, parts in found.items()}, late)


def _late(groups: pl.DataFrame, known: frozenset[str]) -> pl.DataFrame:
    """The records that have a value under a key that is not known."""
    unknown = groups.filter(~pl.col("key").is_in(list(known))).select(pl.col("row", "value").explode())
    rows = unknown.filter(pl.col("value").is_not_null()).select(pl.col("row").unique().sort())
    return rows.with_columns(code=pl.lit(LATE_KEY, pl.Int32), text=pl.lit(None, pl.String))


def _merged(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The cells of one column; a key that is spelled with dots goes before a path of this name."""
    if len(parts) == 1:
        return parts[0]
    return pl.concat(parts).unique("row", keep="first", maintain_order=True).sort("row")

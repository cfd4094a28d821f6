"""What the value of a profile does to the one that is stored (CONTRACT.md 3), told by a companion column.

    $set      takes its place, as a value without an operation does
    $add      adds the values of a StringList
    $remove   takes the values of a StringList away
    $delete   takes the property away; the value beside it does not count

Letter case and blanks around the word do not count, an empty cell is ``$set``. Reading folds the updates of a user in
their order, so several rows for one user add up.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from manifests import codes
from manifests.findings import Finding
from manifests.names import OPERATIONS
from manifests.plan import Cell
from manifests.types import DataType

SET, ADD, REMOVE, DELETE = OPERATIONS


def operation_words(text: pl.Series) -> pl.Series:
    """The words of a companion column in lower case; null where there is none."""
    return text.str.to_lowercase()


def operation_findings(cell: Cell, words: pl.Series) -> Iterator[Finding]:
    """The rows whose operation is unknown, or is none for the type of the column."""
    yield from Finding.where(
        ~words.is_in(list(OPERATIONS)), codes.BAD_OPERATION, cell.operation, f"the operation is none of {_KNOWN}"
    )
    if cell.asked is not DataType.STRING_LIST:
        yield from Finding.where(
            words.is_in([ADD, REMOVE]),
            codes.BAD_OPERATION,
            cell.operation,
            f"{ADD} and {REMOVE} are for a StringList only",
        )


_KNOWN = ", ".join(OPERATIONS)


def stored_operation(words: pl.Series, value: pl.Series) -> pl.Series:
    """What is stored beside the value: nothing for ``$set``, and nothing where there is no value to add or remove."""
    does = (words == DELETE) | (words.is_in([ADD, REMOVE]) & value.is_not_null())
    return pl.select(pl.when(does).then(words)).to_series()

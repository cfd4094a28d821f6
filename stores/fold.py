"""The updates of one profile to what they come to.

Of each column the last value that is not null counts. Where a property has a column of operations
(`manifests.operations`), its updates are taken one after the other: a value without an operation takes the place of
what was there, ``$add`` and ``$remove`` change a list, ``$delete`` takes the property away. A list keeps the order in
which its values came, each once.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from manifests.names import is_operation_column, operation_column
from manifests.operations import ADD, DELETE, REMOVE


def folded(updates: pl.DataFrame) -> dict[str, Any]:
    """The columns that have a value after all ``updates``, which are those of one user in their order."""
    names = [name for name in updates.columns if not is_operation_column(name)]
    last = updates.select(pl.col(name).drop_nulls().last() for name in names).row(0, named=True)
    for name in names:
        if operation_column(name) in updates.columns:
            last[name] = _operated(updates.select(value=name, operation=operation_column(name)))
    return {name: value for name, value in last.items() if value is not None}


def _operated(updates: pl.DataFrame) -> Any:
    """The value of one property after all its updates."""
    value: Any = None
    for given, operation in updates.filter(pl.any_horizontal(pl.all().is_not_null())).iter_rows():
        if operation == DELETE:
            value = None
        elif operation == ADD:
            value = [*(value or ()), *(each for each in given if each not in (value or ()))]
        elif operation == REMOVE:
            value = [each for each in value or () if each not in given] or None
        else:
            value = given
    return value

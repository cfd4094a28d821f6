"""The columns of the lake's tables: their order, and each `DataType` in the words of Delta, Arrow and polars.

A table has the system columns, the user columns, for events ``evtName`` and ``ts``, and then one column for each
property, named by its ``ctName``. A property of profiles on which somebody used an operation (`manifests.operations`)
has one more column, which holds it. Engines keep statistics of the first 32 columns, so the ones that everybody filters
by come first. Delta compares names without regard to letter case: no two columns of a table differ only in that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl
import pyarrow as pa
from deltalake import Field, Schema
from deltalake.schema import ArrayType, PrimitiveType

from manifests.names import is_operation_column
from manifests.types import SYSTEM_COLUMNS, USER_COLUMNS, DataType, ImportType

_DELTA: dict[DataType, PrimitiveType | ArrayType] = {
    DataType.STRING: PrimitiveType("string"),
    DataType.INTEGER: PrimitiveType("long"),
    DataType.FLOAT: PrimitiveType("double"),
    DataType.BOOLEAN: PrimitiveType("boolean"),
    DataType.DATE: PrimitiveType("timestamp"),
    DataType.STRING_LIST: ArrayType(PrimitiveType("string"), contains_null=True),
}
_ARROW: dict[DataType, pa.DataType] = {
    DataType.STRING: pa.large_string(),
    DataType.INTEGER: pa.int64(),
    DataType.FLOAT: pa.float64(),
    DataType.BOOLEAN: pa.bool_(),
    DataType.DATE: pa.timestamp("us", tz="UTC"),
    DataType.STRING_LIST: pa.large_list(pa.large_string()),
}
POLARS: dict[DataType, pl.DataType] = {
    DataType.STRING: pl.String(),
    DataType.INTEGER: pl.Int64(),
    DataType.FLOAT: pl.Float64(),
    DataType.BOOLEAN: pl.Boolean(),
    DataType.DATE: pl.Datetime("us", "UTC"),
    DataType.STRING_LIST: pl.List(pl.String()),
}
"""The type of a frame's column for each type of a property; dates have microseconds and are UTC."""

_SYSTEM = dict(zip(SYSTEM_COLUMNS, (DataType.STRING, DataType.INTEGER, DataType.INTEGER, DataType.DATE), strict=True))
_USER = dict.fromkeys(USER_COLUMNS, DataType.STRING)
_EVENT = {"evtName": DataType.STRING, "ts": DataType.DATE}


def fixed_columns(kind: ImportType) -> dict[str, DataType]:
    """The columns, in order, that every table of this kind has before its properties."""
    return _SYSTEM | _USER | (_EVENT if kind is ImportType.EVENT else {})


def filled_columns(schema: Schema, kind: ImportType) -> dict[str, DataType]:
    """The columns of a table that imports fill, in order: properties and the operations on them.

    Columns of a type that is not ours are left out.
    """
    fixed = fixed_columns(kind)
    known = ((field.name, _type_of(field)) for field in schema.fields if field.name not in fixed)
    return {name: type_ for name, type_ in known if type_ is not None}


def properties_of(columns: Mapping[str, DataType], kind: ImportType) -> dict[str, DataType]:
    """The properties among a table's columns, in order."""
    fixed = fixed_columns(kind)
    return {name: type_ for name, type_ in columns.items() if name not in fixed and not is_operation_column(name)}


def _type_of(field: Field) -> DataType | None:
    return next((type_ for type_, delta in _DELTA.items() if delta == field.type), None)


def fields(columns: Mapping[str, DataType]) -> list[Field]:
    """The columns as Delta's nullable fields."""
    return [Field(name, _DELTA[type_], nullable=True) for name, type_ in columns.items()]


def arrow_schema(columns: Mapping[str, DataType]) -> pa.Schema:
    """The columns as an Arrow schema."""
    return pa.schema([(name, _ARROW[type_]) for name, type_ in columns.items()])


def clash(stored: Iterable[str], asked: Iterable[str]) -> tuple[str, str] | None:
    """The first pair of a stored and an asked name, or of two asked ones, that differ only in letter case."""
    seen = {name.lower(): name for name in stored}
    for name in asked:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            return other, name
    return None


def mismatch(frame: pl.DataFrame, columns: Mapping[str, DataType]) -> str | None:
    """What is wrong with a frame that should have exactly these columns, in words without any value of a row."""
    for name, type_ in columns.items():
        if name not in frame.columns:
            return f"the column {name} is missing"
        if frame.schema[name] != POLARS[type_]:
            return f"the column {name} is {frame.schema[name]}, not {POLARS[type_]}"
    extra = [name for name in frame.columns if name not in columns]
    return f"the column {extra[0]} is not among the properties" if extra else None

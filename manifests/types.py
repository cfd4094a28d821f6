"""The data types of a property (CONTRACT.md 2), shared by manifests, casts and the lake's columns."""

from __future__ import annotations

from enum import StrEnum


class DataType(StrEnum):
    """The type of a property; ``Long`` in a manifest is ``INTEGER`` here, both have 64 bits."""

    STRING = "String"
    INTEGER = "Integer"
    FLOAT = "Float"
    BOOLEAN = "Boolean"
    DATE = "Date"
    STRING_LIST = "StringList"


class ImportType(StrEnum):
    """What the rows of a data file are."""

    EVENT = "event"
    PROFILE = "profile"


USER_COLUMNS = ("identity", "objectId", "FBID", "GPID")
"""The columns that can name a user; a row fills exactly one of them."""

SYSTEM_COLUMNS = ("_import", "_sequence", "_row", "_received_at")
"""Columns that the lake adds to each row; no property may have one of these names."""

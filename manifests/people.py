"""The fields of a profile that have rules of their own: Email, Phone and Gender (CONTRACT.md 3)."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from manifests import codes
from manifests.findings import Finding
from manifests.plan import Cell

PERSON_FIELDS = ("Email", "Phone", "Gender")
"""The profile fields with rules; they are always Strings."""

_EMAIL = r"^[^\s@,;<>()\[\]\\\"]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$"
_PHONE = r"^\+[1-9][0-9]{4,14}$"
_GENDERS = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O", "others": "O"}


def person_findings(cell: Cell, text: pl.Series) -> Iterator[Finding]:
    """The rows whose value breaks the rule of its field; other fields have none."""
    match cell.target:
        case "Email":
            yield from Finding.where(~text.str.contains(_EMAIL), codes.BAD_EMAIL, cell.source)
        case "Phone":
            yield from Finding.where(~text.str.contains(_PHONE), codes.BAD_PHONE, cell.source)
        case "Gender":
            known = text.str.to_lowercase().is_in(list(_GENDERS))
            yield from Finding.where(~known, codes.BAD_GENDER, cell.source)


def stored_gender(text: pl.Series) -> pl.Series:
    """M, F or O for the letters and the words in any letter case; null for anything else."""
    return text.str.to_lowercase().replace_strict(_GENDERS, default=None, return_dtype=pl.String)

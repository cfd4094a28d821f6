"""The fields of a profile that have rules of their own (CONTRACT.md 2 and 3).

Email, Phone           a plausible one, stored as it came without blanks around it
Gender, Education      one of some words in any letter case, stored in one spelling
Employed, Married      yes or no, stored as Boolean
Age                    whole years, stored as Integer
consent flags          Boolean
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from manifests import codes
from manifests.findings import Finding
from manifests.names import CONSENT_FLAGS
from manifests.types import DataType

MAX_AGE = 150

FIELD_TYPES: dict[str, tuple[DataType, ...]] = {
    **dict.fromkeys(("Email", "Phone", "Gender", "Education"), (DataType.STRING,)),
    **dict.fromkeys(("Employed", "Married"), (DataType.BOOLEAN, DataType.STRING)),
    "Age": (DataType.INTEGER,),
    **dict.fromkeys(CONSENT_FLAGS, (DataType.BOOLEAN,)),
}
"""The types that a manifest may give a field; it is read and stored as the first, whichever was given."""

FIELD_CODES = {
    "Gender": codes.BAD_GENDER,
    "Email": codes.BAD_EMAIL,
    "Phone": codes.BAD_PHONE,
    "Employed": codes.BAD_EMPLOYED,
    "Education": codes.BAD_EDUCATION,
    "Married": codes.BAD_MARRIED,
    "Age": codes.BAD_AGE,
}
"""The code of a row whose value breaks the rule of its field; for consent flags that of any Boolean."""

YES_NO = {"y": True, "yes": True, "n": False, "no": False}
"""The words that Employed and Married know besides those of a Boolean, in any letter case."""
YES_NO_FIELDS = ("Employed", "Married")

_PATTERNS = {
    "Email": r"^[^\s@,;<>()\[\]\\\"]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$",
    "Phone": r"^\+[1-9][0-9]{4,14}$",
}
_WORDS = {
    "Gender": {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O", "others": "O"},
    "Education": {"school": "School", "college": "College", "graduate": "Graduate"},
}


def person_findings(field: str | None, source: str, text: pl.Series) -> Iterator[Finding]:
    """The rows whose text breaks the rule of its field, for fields that are Strings; others have none."""
    if field in _PATTERNS:
        yield from Finding.where(~text.str.contains(_PATTERNS[field]), FIELD_CODES[field], source)
    elif field in _WORDS:
        known = text.str.to_lowercase().is_in(list(_WORDS[field]))
        yield from Finding.where(~known, FIELD_CODES[field], source)


def age_findings(source: str, years: pl.Series) -> Iterator[Finding]:
    """The rows whose age nobody can have."""
    yield from Finding.where(~years.is_between(0, MAX_AGE), codes.BAD_AGE, source)


def spelled(field: str | None, text: pl.Series) -> pl.Series:
    """The values of a field of words in their one spelling, null for anything else; other fields as they are."""
    if field not in _WORDS:
        return text
    return text.str.to_lowercase().replace_strict(_WORDS[field], default=None, return_dtype=pl.String)

"""Readers of a manifest's single values: a scalar in, a checked value out, or `Refused` with a text for the sender."""

from __future__ import annotations

import re
from typing import Literal

from manifests import dates
from manifests.names import FILE_NAME, FILE_NAME_RULE, closest, shown
from manifests.node import Scalar
from manifests.types import DataType, ImportType

_MARKDOWN_LINK = re.compile(r"\[.*\]\s*\(.*\)|<?mailto:.*", re.DOTALL | re.IGNORECASE)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
EMAIL = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+)*@(?:{_LABEL}\.)+{_LABEL}"
UUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_FINGERPRINT = re.compile(r"(?:0x)?(?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{16}|[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})")
_WHOLE = re.compile(r"[0-9]{1,18}")
PERCENT = r"(100|[0-9]{1,2}(?:\.[0-9]{1,6})?) *%"
MAX_SEPARATOR_CHARS = 8
MAX_EMAIL_CHARS = 254
_MAX_LOCAL_PART_CHARS = 64


class Refused(Exception):
    """A scalar is not what its key asks for; the text is for the sender. Never leaves this package."""


def text(scalar: Scalar) -> str:
    """A string."""
    if not isinstance(scalar.value, str):
        raise Refused("must be a string")
    return scalar.value


def boolean(scalar: Scalar) -> bool:
    """``true`` or ``false``; YAML's other words for them are not known."""
    if isinstance(scalar.value, bool):
        return scalar.value
    if not scalar.typed and scalar.value in ("true", "false"):
        return scalar.value == "true"
    raise Refused("must be true or false")


def byte_count(scalar: Scalar) -> int:
    """A positive whole number."""
    number = _whole(scalar)
    if not number:
        raise Refused("must be a whole number of bytes, at least 1")
    return number


def _whole(scalar: Scalar) -> int | None:
    value = scalar.value
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    if isinstance(value, float) and value.is_integer() and 0 <= value < 2**63:
        return int(value)  # 5.0 and 5e0 are the number 5 (RFC 8259 §6)
    if isinstance(value, str) and not scalar.typed and _WHOLE.fullmatch(value):
        return int(value)
    return None


def import_type(scalar: Scalar) -> ImportType:
    """``event`` or ``profile``, any letter case."""
    try:
        return ImportType(text(scalar).strip().lower())
    except ValueError:
        raise Refused("must be event or profile") from None


def file_name(scalar: Scalar) -> str:
    """The name of a file beside the manifest (FAULTS.md W13)."""
    name = text(scalar)
    if "/" in name or "\\" in name:
        raise Refused("must be the name of a file beside the manifest, without folders")
    if FILE_NAME.fullmatch(name) is None:
        raise Refused(f"is not a name that a file can have here: {FILE_NAME_RULE}")
    return name


def email(scalar: Scalar) -> str:
    """One plain mail address (FAULTS.md M2)."""
    address = text(scalar)
    if _MARKDOWN_LINK.search(address):
        raise Refused(
            "is a Markdown link ([...](mailto:...)), not a mail address; "
            "write only the address, such as name@example.com"
        )
    if (
        len(address) > MAX_EMAIL_CHARS
        or re.fullmatch(EMAIL, address) is None
        or len(address.partition("@")[0]) > _MAX_LOCAL_PART_CHARS
    ):
        raise Refused("is not a mail address; write one plain address, such as name@example.com")
    return address


def key_id(scalar: Scalar) -> str:
    """A UUID, in lower case."""
    value = text(scalar).strip()
    if re.fullmatch(UUID, value):
        return value.lower()
    if _FINGERPRINT.fullmatch("".join(value.split())):
        raise Refused(
            "looks like an OpenPGP fingerprint or key ID; keyId is the UUID that was issued when the key was stored, "
            "not a fingerprint"
        )
    raise Refused("must be the UUID that was issued when the key was stored: 32 hexadecimal digits as 8-4-4-4-12")


def delimiter(scalar: Scalar) -> str:
    """One ASCII character that can stand between two fields."""
    char = text(scalar)
    if len(char) != 1 or not (char == "\t" or " " <= char <= "~") or char.isalnum():
        raise Refused("must be one ASCII character that is no letter and no digit, such as , or ; or a tab")
    return char


def quote(scalar: Scalar) -> str:
    """One ASCII character that can enclose a field."""
    char = text(scalar)
    if len(char) != 1 or not "!" <= char <= "~" or char.isalnum():
        raise Refused("must be one ASCII character that is no letter, no digit and no blank, such as \" or '")
    return char


def separator(scalar: Scalar) -> str:
    """What stands between the values of a StringList."""
    mark = text(scalar)
    if not 0 < len(mark) <= MAX_SEPARATOR_CHARS or not mark.strip(" ") or '"' in mark:
        raise Refused(f"must have 1 to {MAX_SEPARATOR_CHARS} characters, not only blanks and no quote, such as |")
    return mark


def sha256(scalar: Scalar) -> str:
    """64 hexadecimal digits, in lower case."""
    digest = text(scalar).strip().lower()
    if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
        raise Refused("must be 64 hexadecimal digits")
    return digest


def on_error(scalar: Scalar) -> Literal["skip", "abort"]:
    """``skip`` or ``abort``."""
    match text(scalar):
        case "skip":
            return "skip"
        case "abort":
            return "abort"
        case _:
            raise Refused("must be skip or abort")


def max_errors(scalar: Scalar) -> int | float:
    """A count of rows as ``int``, or a percentage such as ``"5%"`` as ``float``."""
    if (count := _whole(scalar)) is not None:
        return count
    if isinstance(scalar.value, str) and (found := re.fullmatch(PERCENT, scalar.value)):
        return float(found[1])
    raise Refused('must be a count of rows, or a percentage such as "5%"')


def data_type(scalar: Scalar) -> DataType:
    """A data type, any letter case; ``Long`` is another word for Integer."""
    name = text(scalar).strip()
    if name.lower() == "long":
        return DataType.INTEGER
    for known in DataType:
        if known.lower() == name.lower():
            return known
    near = closest(name, DataType)
    hint = f", did you mean {near}?" if near is not None else ""
    raise Refused(f"unknown data type {shown(name)}{hint}; known are {', '.join(DataType)} and Long")


def date_form(scalar: Scalar) -> str:
    """One of `manifests.dates.DATE_FORMATS`."""
    name = text(scalar)
    form = dates.date_format(name)
    if form is None:
        raise Refused(f"unknown date format {shown(name)}; known are {', '.join(dates.DATE_FORMATS)}")
    return form


def timezone(scalar: Scalar) -> str:
    """An IANA time zone name."""
    name = text(scalar)
    if not dates.is_timezone(name):
        raise Refused(f"unknown time zone {shown(name)}; write an IANA name, such as Europe/Berlin or UTC")
    return name

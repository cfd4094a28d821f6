"""The encodings that a data file may be written in, by every name that Python's codecs know for them.

A list of what is allowed, so that no codec comes in that is none for text, keeps a state that hides bytes (ISO 2022,
UTF-7, HZ) or does not write ASCII as ASCII (EBCDIC). US-ASCII is read as UTF-8, which it is.
"""

from __future__ import annotations

from encodings.aliases import aliases

from manifests.names import closest, shown
from manifests.node import Scalar
from manifests.scalars import Refused, text

UTF_8 = "utf_8"

ENCODINGS = (
    UTF_8,
    *("utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be"),
    "latin_1",
    *(f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)),
    *(f"cp{page}" for page in range(1250, 1259)),
    *("cp437", "cp850", "cp852", "cp866", "koi8_r", "koi8_u", "mac_roman"),
    *("shift_jis", "cp932", "euc_jp", "gb2312", "gbk", "gb18030", "big5", "cp950", "euc_kr", "cp949"),
)
"""Names of Python codecs. ``utf_16`` and ``utf_32`` must begin with a BOM, which says their byte order."""

_BY_NAME = (
    {name: name for name in ENCODINGS}
    | {alias: name for alias, name in aliases.items() if name in ENCODINGS}
    | {
        "utf_8_sig": UTF_8,
        "utf8_bom": UTF_8,
        "utf16le": "utf_16_le",
        "utf16be": "utf_16_be",
        "us_ascii": UTF_8,
        "ascii": UTF_8,
    }
)
_EXAMPLES = ("UTF-8", "UTF-16", "UTF-16LE", "UTF-16BE", "ISO-8859-1", "ISO-8859-15", "Windows-1252", "Shift_JIS")


def encoding(scalar: Scalar) -> str:
    """One of `ENCODINGS`, by any of its names, in any letter case."""
    name = text(scalar)
    known = _BY_NAME.get("_".join(name.lower().replace("-", " ").replace("_", " ").split()))
    if known is None:
        near = closest(name, _EXAMPLES)
        hint = f", did you mean {near}?" if near is not None else f"; known are {', '.join(_EXAMPLES)} and others"
        raise Refused(f"unknown encoding {shown(name)}{hint}")
    return known

"""Names that carry a meaning, and the rules that a name must keep (CONTRACT.md 1, 2 and 3).

`FILE_NAME` is the one rule for names of files; targets are compared in any letter case and have one canonical spelling.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from manifests.types import SYSTEM_COLUMNS, USER_COLUMNS, ImportType

FILE_NAME = re.compile(r"[A-Za-z0-9_()+@][A-Za-z0-9 ._()+@-]{0,127}(?<![ .])")
"""Names a client may use, by ``fullmatch`` (FAULTS.md S10); `FILE_NAME_RULE` says it in words."""

FILE_NAME_RULE = (
    "letters, digits, space and . _ ( ) + @ - are allowed, at most 128 of them, "
    "the first is not a dot, a dash or a space, and the last is not a dot or a space"
)

EVENT_NAME = "evtName"
TIMESTAMP = "ts"

PROFILE_FIELDS = ("Name", "Email", "Phone", "Gender", "Employed", "Education", "Married", "DOB", "Age")
CONSENT_FLAGS = (
    "MSG-sms",
    "MSG-email",
    "MSG-whatsapp",
    "MSG-push",
    "MSG-dndSMS",
    "MSG-dndWhatsApp",
    "MSG-dndEmail",
)

FRAME_COLUMNS = ("_row", "_fault")
"""Columns that the parse step adds to the file's own; no column of a file may have one of these names."""

OPERATION_SUFFIX = ".operation"
"""What the name of a companion column ends with; before it stands the column whose operation it tells."""

OPERATIONS = ("$set", "$add", "$remove", "$delete")

_STORED_OPERATION = "$operation"  # no property can have such a name: $ is forbidden

RESERVED_EVENTS = (
    "Notification Sent",
    "Notification Viewed",
    "Notification Clicked",
    "Notification Delivered",
    "Notification Replied",
    "UTM Visited",
    "App Launched",
    "App Uninstalled",
    "App Version Changed",
    "Stayed",
    "Reply Sent",
    "Experiment Rendered",
    "Reachable By",
    "Identity Reset",
    "Identity Set",
    "Identity Error",
)

MAX_NAME_CHARS = 120
MAX_EVENT_NAME_CHARS = 512
FORBIDDEN_IN_NAMES = "%><!|&.:;$'\"\\#"

_RESERVED = {name.lower() for name in (*SYSTEM_COLUMNS, *FRAME_COLUMNS, "__proto__", "*")}
_EVENT_TARGETS = {name.lower(): name for name in (*USER_COLUMNS, EVENT_NAME, TIMESTAMP)}
_PROFILE_TARGETS = _EVENT_TARGETS | {name.lower(): name for name in (*PROFILE_FIELDS, *CONSENT_FLAGS)}


def canonical_target(name: str, kind: ImportType) -> str:
    """The one spelling of a target that has a meaning for this type of import; any other name as it is."""
    targets = _PROFILE_TARGETS if kind is ImportType.PROFILE else _EVENT_TARGETS
    return targets.get(name.lower(), name)


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a property, in words; ``None`` when it may be used."""
    if not name.strip():
        return "a name must not be empty"
    if len(name) > MAX_NAME_CHARS:
        return f"a name has at most {MAX_NAME_CHARS} characters"
    if name.lower() in _RESERVED:
        return "this name is reserved"
    if name != name.strip():
        return "a name must not begin or end with a blank"
    forbidden = sorted({char for char in name if char in FORBIDDEN_IN_NAMES})
    if forbidden:
        return f"these characters are forbidden in a name: {' '.join(forbidden)}"
    if not name.isprintable():
        return "control characters are forbidden in a name"
    return None


def operation_column(target: str) -> str:
    """The name of the lake's column that holds the operations on a property."""
    return f"{target}{_STORED_OPERATION}"


def is_operation_column(name: str) -> bool:
    """Whether a column of the lake holds operations, not values."""
    return name.endswith(_STORED_OPERATION)


def shown(text: str, *, most: int = 64) -> str:
    """A name from a sender, fit for a message: one line, printable, quoted, cut after ``most`` characters."""
    safe = "".join(char if char.isprintable() else "?" for char in text[:most])
    return f'"{safe}…"' if len(text) > most else f'"{safe}"'


def closest(name: str, known: Iterable[str], *, likeness: float = 0.5) -> str | None:
    """The known name that looks most like ``name``, in any letter case; ``None`` when none is ``likeness`` (0 to 1)."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=likeness)
    return by_lower[found[0]] if found else None

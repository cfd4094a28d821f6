"""How facts are written for people: harmless text, numbers, times.

Names, columns and reasons come from whoever could upload. `header_text` is the only way for them into a header
(FAULTS.md M1), `shown` the only way into a body (FAULTS.md M4); templates escape for HTML on top.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

MOST_NAME_CHARACTERS = 64

# The file-name allow-list. Without `=` and `?` no encoded word can arise (RFC 2047 §2), without control characters no
# second header.
_NOT_FOR_HEADERS = re.compile(r"[^A-Za-z0-9 ._()+@-]")


def header_text(text: str) -> str:
    """What of ``text`` may stand in a header: characters of the file-name allow-list, at most 64, no double spaces."""
    return " ".join(_NOT_FOR_HEADERS.sub("", text).split())[:MOST_NAME_CHARACTERS].rstrip()


def shown(text: str, limit: int = MOST_NAME_CHARACTERS) -> str:
    """``text`` on one line, with `U+FFFD` for what does not print (controls, bidirectional marks), cut to ``limit``."""
    line = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[: limit + 1])
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 row``, ``12,345 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def moment(iso: str) -> str:
    """A time of a report for people: ``2026-11-22 08:04:11 UTC``."""
    return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M:%S UTC")


def time_between(start: str, end: str, *, exact: bool = True) -> str:
    """The time from one moment of a report to a later one, as exact as somebody wants to read it.

    Not ``exact``: from two minutes on the larger unit only, rounded.
    """
    seconds = max((datetime.fromisoformat(end) - datetime.fromisoformat(start)) / timedelta(seconds=1), 0.0)
    if not exact and seconds >= 120:
        hours = round(seconds / 3600)
        return counted(hours, "hour") if seconds >= 3570 else counted(round(seconds / 60), "minute")
    if seconds < 59.95:
        figure = f"{seconds:.1f}".removesuffix(".0")
        return f"{figure} second" if figure == "1" else f"{figure} seconds"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return counted(minutes, "minute") + (f" {counted(rest, 'second')}" if rest else "")
    hours, minutes = divmod(minutes, 60)
    return counted(hours, "hour") + (f" {counted(minutes, 'minute')}" if minutes else "")

"""The files that a sender finds in ``results/``: the report, and the rejected rows before they are encrypted.

Only names and bytes: the spool writes them, the keystore encrypts the rejected rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from ingest.report import RejectedRow, Report

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9 ._()+@-]")  # FAULTS.md S10, the door's list
_MOST_NAME_CHARACTERS = 128

# What makes a spreadsheet take a cell for a formula (FAULTS.md D9, ASVS 1.2.10): the signs, their full-width forms,
# and the characters that some programs drop from the front before they look.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def report_name(manifest: str, import_id: str) -> str:
    """The name of an import's report in ``results/``; never a path, whatever the manifest is called."""
    return f"{_file_name(manifest)}.{_file_name(import_id)}.json"


def reject_file_name(manifest: str, import_id: str) -> str:
    """The name of an import's encrypted rejected rows in ``results/``; never a path."""
    return f"{_file_name(manifest)}.{_file_name(import_id)}.rejects.csv.asc"


def report_bytes(report: Report) -> bytes:
    """The report as indented JSON in UTF-8 with a newline at the end; keys as in `Report.as_json`."""
    text = json.dumps(report.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
    # A lone surrogate has no UTF-8; its backslash form is the same character to every JSON reader.
    return f"{text}\n".encode(errors="backslashreplace")


def reject_csv(header: Sequence[str], rows: Iterable[tuple[RejectedRow, Sequence[str | None]]]) -> bytes:
    r"""Rejected rows with the reason in front of each: ``row, code, column, reason``, then the source columns.

    UTF-8, ``\r\n`` (RFC 4180 §2), in the order given. Every field is quoted; a cell that a spreadsheet could take for
    a formula gets a ``'`` in front, names of columns included. A row with more or fewer cells than the header keeps
    its own number: that may be why it was rejected.
    """
    lines = [_csv_line(("row", "code", "column", "reason", *header))]
    lines += [
        _csv_line((str(reject.row), str(reject.code), reject.column, reject.reason, *cells)) for reject, cells in rows
    ]
    return "".join(lines).encode(errors="replace")


def _file_name(text: str) -> str:
    """Only characters that a client may use in a file name, and no leading dot, dash or space."""
    return _NOT_ALLOWED.sub("", text).lstrip(". -")[:_MOST_NAME_CHARACTERS] or "unnamed"


def _csv_line(cells: Iterable[str | None]) -> str:
    return ",".join(map(_csv_field, cells)) + "\r\n"


def _csv_field(cell: str | None) -> str:
    if cell is None:
        return '""'
    inert = f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
    return '"' + inert.replace('"', '""') + '"'

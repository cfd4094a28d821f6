"""Showing things: tables and lines for people, JSON with stable keys for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ingest.report import Report

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")]

_WIDTH_WITHOUT_TERMINAL = 160

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_STATE_STYLE = {"succeeded": "green", "failed": "red", "held": "magenta", "running": "cyan", "deferred": "yellow"}


def complain(text: str) -> None:
    """Print an error for a person to standard error."""
    err.print("[bold red]error:[/] ", end="")
    err.print(text, markup=False)


def hint(text: str) -> None:
    """Print a message beside the result to standard error."""
    err.print(text, markup=False)


def print_json(value: Any) -> None:
    """Print JSON to standard output; times as ISO 8601."""
    json.dump(value, sys.stdout, default=_plain, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print rows as a table for people, or ``empty`` to standard error when there are none."""
    if not rows:
        hint(empty)
        return
    out.print(table_of(columns, rows), soft_wrap=False, crop=False, no_wrap=True)


def table_of(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table whose first column, the name of the thing, is never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values one below the other; those without a value are left out."""
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        if value is None or value == "":
            continue
        lines = _cell(value).split("\n")
        out.print(f"[bold]{name.ljust(width)}[/]  ", end="")
        out.print(("\n" + " " * (width + 2)).join(lines), markup=False)


def styled_state(state: str) -> str:
    """The state in its colour, as rich markup."""
    style = _STATE_STYLE.get(state)
    return f"[{style}]{state}[/]" if style else state


def print_report(report: Report) -> None:
    """Print what became of an import, for people."""
    print_facts(
        {
            "import": report.id,
            "account": report.account,
            "state": str(report.state),
            "files": " + ".join(filter(None, (report.manifest, report.data_file))),
            "type": report.type,
            "received": report.received_at,
            "finished": report.finished_at,
            "rows": f"{report.rows_read:,} read, {report.rows_stored:,} stored, {report.rows_rejected:,} rejected",
            "failure": None if report.code is None else f"{report.code}\n{report.message}",
            "column": report.column,
            "remedy": report.remedy,
            "seconds": ", ".join(f"{step} {seconds:.3f}" for step, seconds in report.seconds.items()),
            "rejects": report.reject_file,
        }
    )
    if report.rejects:
        rows = [(reject.row, reject.column or "", reject.code, reject.reason) for reject in report.rejects[:10]]
        print_table(("row", "column", "code", "reason"), rows, empty="")
        if report.rows_rejected > len(rows):
            hint(f"... and {report.rows_rejected - len(rows):,} more: see the report in results/")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S UTC")
    return str(value)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")

"""Showing things: tables and lines for people, JSON with stable keys for programs."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingest.ledger.deliveries import Delivery
from ingest.report import Report
from ingest.states import State

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.")]

_WIDTH_WITHOUT_TERMINAL = 160
_GAP = 2
_LEAST_FOLDED_WIDTH = 16

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)
err = Console(stderr=True, highlight=False, soft_wrap=True)

_STATE_STYLE = {
    "succeeded": "green",
    "sent": "green",
    "given_up": "red",
    "pending": "yellow",
    "failed": "red",
    "skipped": "dim",
    "held": "magenta",
    "running": "cyan",
    "deferred": "yellow",
}


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
    """Print rows as a table for people, or ``empty`` to standard error when there are none.

    A terminal that is too narrow for the table gets the rows one below the other, each value after its name.
    """
    if not rows:
        hint(empty)
    elif out.is_terminal and _least_width(columns, rows) > out.width:
        for number, row in enumerate(rows):
            if number:
                out.print()
            print_facts(dict(zip(columns, row, strict=True)))
    else:
        out.print(table_of(columns, rows), soft_wrap=False, crop=False)


def table_of(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table of which only the last column is ever folded: the others hold what people copy."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """The characters that a line of the table needs, with its last column folded as far as can still be read."""
    cells = [[Text(column) for column in columns], *([_cell(value) for value in row] for row in rows)]
    widths = [max(_width(cell) for cell in column) for column in zip(*cells, strict=True)]
    return sum(widths[:-1]) + min(widths[-1], _LEAST_FOLDED_WIDTH) + _GAP * (len(widths) - 1)


def _width(cell: Text) -> int:
    return max((line.cell_len for line in cell.split("\n")), default=0)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values one below the other, folded between words; those without a value are left out."""
    shown = {name: cell for name, value in facts.items() if (cell := _cell(value))}
    width = max(map(len, facts))
    for name, cell in shown.items():
        lines = [part for line in cell.split("\n") for part in _folded(line, out.width - width - _GAP)]
        for number, line in enumerate(lines):
            out.print(Text(("" if number else name).ljust(width + _GAP), style="bold"), line, sep="")


def _folded(line: Text, room: int) -> list[Text]:
    """The line, folded between words for a terminal; a word that is too long stays whole, so that it can be copied."""
    if not out.is_terminal or line.cell_len <= room:
        return [line]
    width = max(room, _LEAST_FOLDED_WIDTH)
    return [Text(part) for part in textwrap.wrap(line.plain, width, break_long_words=False, break_on_hyphens=False)]


def styled_state(state: str) -> Text:
    """The state in its colour."""
    return Text(state, style=_STATE_STYLE.get(state, ""))


def visible(text: str) -> str:
    """The text with anything that would steer a terminal made visible; customers chose most of what we show."""
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def print_report(report: Report) -> None:
    """Print what became of an import, for people."""
    print_facts(
        {
            "import": report.id,
            "account": report.account,
            "state": styled_state(report.state),
            "files": " + ".join(filter(None, (report.manifest, report.data_file))),
            "type": report.type,
            "received": report.received_at,
            "finished": report.finished_at,
            "replay of": report.replay_of,
            "same as": report.duplicate_of,
            "received then": report.first_received_at,
            "dry run": "nothing was stored, as the manifest asks" if report.dry_run else None,
            "rows": f"{report.rows_read:,} read, {report.rows_stored:,} stored, {report.rows_rejected:,} rejected",
            "failure": None if report.code is None else f"{report.code}\n{report.message}",
            "column": report.column,
            "skipped": report.message if report.state == State.SKIPPED else None,
            "remedy": report.remedy,
            "seconds": ", ".join(f"{step} {seconds:.3f}" for step, seconds in report.seconds.items()),
            "signature": " by ".join(filter(None, (_words(report.signature), report.signer))),
            "rejects": report.reject_file,
            "changed": "\n".join(drift.message for drift in report.drift),
        }
    )
    if report.preview:
        print_table(
            ("property", "type", "filled", "different", "rejected"),
            [(each.name, each.data_type, each.filled, each.distinct, each.rejected) for each in report.preview],
            empty="",
        )
    if report.rejects:
        rows = [(reject.row, reject.column or "", reject.code, reject.reason) for reject in report.rejects[:10]]
        print_table(("row", "column", "code", "reason"), rows, empty="")
        if report.rows_rejected > len(rows):
            hint(f"... and {report.rows_rejected - len(rows):,} more: see the report in results/")


def print_deliveries(deliveries: Sequence[Delivery], *, empty: str) -> None:
    """Print how notices stand, for people."""
    rows = [
        (
            delivery.id,
            delivery.account,
            delivery.stage.replace("_", " "),
            f"{delivery.channel} {delivery.recipient}",
            styled_state(delivery.state),
            delivery.attempts,
            _outcome(delivery),
        )
        for delivery in deliveries
    ]
    print_table(("notice", "account", "stage", "to", "state", "tries", "last"), rows, empty=empty)


def _outcome(delivery: Delivery) -> str:
    if delivery.digest_id is not None:
        return f"told by notice {delivery.digest_id}"
    if delivery.sent_at is not None:
        return " ".join(filter(None, (f"{delivery.sent_at:%Y-%m-%d %H:%M:%S UTC}", _status(delivery))))
    return delivery.error or ""


def _status(delivery: Delivery) -> str:
    return "" if delivery.last_status is None else f"({delivery.last_status})"


def _words(state: str | None) -> str:
    return (state or "").replace("_", " ")


def _cell(value: object) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, datetime):
        return Text(value.strftime("%Y-%m-%d %H:%M:%S UTC"))
    return Text("" if value is None else visible(str(value)))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")

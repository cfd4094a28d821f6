"""What the demo shows on the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ingest.demo.mailbox import text_of
from ingest.ledger.pgp_keys import PgpKey
from ingest.report import RejectedRow, Report

_WAY = """\
 sftp put ──> drop ──watch──> collect ──> [ledger: ready] ──> worker
 ──> decrypt > parse > map > load ──> the lake
 ──> settle ──> results/ + mails
"""
_STEPS = ("upload", "unlock", "decrypt", "parse", "map", "load", "settle", "total")


class Picture:
    """Prints the story as it goes."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._start = perf_counter()

    def tools(self, *, gpg: bool, sftp: bool) -> None:
        """Say which programs play the customer."""
        encrypts = "the real gpg" if gpg else "our own OpenPGP writer (gpg is not installed)"
        uploads = "the real OpenSSH sftp" if sftp else "asyncssh (OpenSSH's sftp is not installed)"
        self._console.print(f"[bold]Sealdrop demo[/]: encrypts with {encrypts}, uploads with {uploads},")
        self._console.print("receives mail with a real SMTP server (aiosmtpd). Everything runs on this machine.\n")

    @contextlib.contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """Name what happens next, and the time that it took."""
        start = perf_counter()
        with self._console.status(title):
            yield
        self._console.print(f"[green]✓[/] {title} [dim]({perf_counter() - start:.2f} s)[/]")

    def serving(self, port: int | None) -> None:
        """Say that the service runs."""
        self._console.print(f"[green]✓[/] The service runs: door on port {port}, watcher, workers, notices")

    def keys(self, keys: Sequence[PgpKey]) -> None:
        """Show the stored pairs."""
        for key in keys:
            self._console.print(f"    key ID {key.key_id}  {key.algorithm}", markup=False)

    def outcome(self, report: Report) -> None:
        """Show how an import ended, in one line."""
        facts = f"{report.rows_read:,} rows read, {report.rows_stored:,} stored, {report.rows_rejected:,} rejected"
        failure = f": {report.code}" if report.code else ""
        self._console.print(f"    {report.manifest} {report.state}{failure} - {facts}", markup=False)

    def mail(self, mail: EmailMessage) -> None:
        """Show a mail as it was received."""
        head = "\n".join(f"{name}: {mail[name]}" for name in ("From", "To", "Subject"))
        body = Text(f"{head}\n\n{text_of(mail).strip()}")
        self._console.print(
            Panel(body, title="a mail as it arrived", box=box.HORIZONTALS, border_style="cyan", padding=0)
        )

    def rejected(self, reject: RejectedRow, report_file: str, reject_file: str | None) -> None:
        """Explain the rejected row."""
        text = (
            f"Row {reject.row}, column {reject.column}, code {reject.code}: {reject.reason}\n\n"
            f"From results/{report_file}, as the customer downloaded it.\n"
            f"The row itself lies in results/{reject_file}, encrypted to the customer's pair."
        )
        self._console.print(Panel(Text(text), title="the rejected row, explained", box=box.HORIZONTALS, padding=0))

    def data(self, profile: Mapping[str, Any], events: pl.DataFrame) -> None:
        """Show stored data as it was read back from the lake."""
        facts = Table(title="profile of user-1, read back", box=box.SIMPLE_HEAD, title_justify="left")
        facts.add_column("property")
        facts.add_column("value")
        for name, value in profile.items():
            facts.add_row(name, str(value))
        self._console.print(facts)
        shown = [
            name for name in events.columns if not name.startswith("_") and events[name].null_count() < events.height
        ]
        table = Table(
            *shown, title=f"{events.height:,} events, the newest three", box=box.SIMPLE_HEAD, title_justify="left"
        )
        for row in events.select(shown).head(3).rows():
            table.add_row(*(str(value) for value in row))
        self._console.print(table)

    def way(self, reports: Sequence[Report]) -> None:
        """Show the way of the data, with the seconds of each step for each import."""
        self._console.print(Text(_WAY), soft_wrap=True)
        table = Table("seconds", *_STEPS, box=box.SIMPLE_HEAD)
        for report in reports:
            cells = [f"{report.seconds[step]:.3f}" if step in report.seconds else "-" for step in _STEPS]
            table.add_row(report.manifest, *cells)
        self._console.print(table)

    def failed(self, text: str) -> None:
        """Say that the story did not come true."""
        self._console.print(f"[bold red]✗ The demo failed:[/] {text}")

    def done(self, folder: Path | None) -> None:
        """Say that everything arrived."""
        self._console.print(
            f"[bold green]Everything arrived.[/] The demo took {perf_counter() - self._start:.1f} seconds."
        )
        if folder is not None:
            self._console.print(f"The installation is kept: sealdrop --config {folder / 'sealdrop.toml'} imports list")

"""``sealdrop import`` and ``sealdrop imports``: carry one out by hand, and look at all."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from ingest.cli.session import CommandFailed, needed_account, opened
from ingest.cli.show import (
    AsJson,
    err,
    hint,
    out,
    print_deliveries,
    print_json,
    print_report,
    print_table,
    styled_state,
    table_of,
    visible,
)
from ingest.ledger.imports import new_import_id
from ingest.report import Report
from ingest.states import ENDS, State
from manifests.errors import ManifestInvalid

if TYPE_CHECKING:
    from ingest.app import App
    from ingest.spool import Taken

run_app = typer.Typer(help="Carry out one import by hand.", no_args_is_help=True)
app = typer.Typer(help="Imports: list, show, watch, retry.", no_args_is_help=True)

_POLL_S = 0.2
_COLUMNS = ("import", "state", "stored", "rejected", "manifest")


@run_app.callback()
def import_commands() -> None:
    """Carry out one import by hand."""


@run_app.command()
def run(context: typer.Context, account: str, manifest: Path, as_json: AsJson = False) -> None:
    """Take a manifest and the data file beside it as if they had been uploaded, wait, and print the report.

    The files stay where they are. Exit code 0 only when the import succeeded.

    Example: `sealdrop import run acme users.manifest`
    """
    with opened(context) as parts:
        needed_account(parts, account)
        parts.open_vault()  # before anything is recorded: without it the import could not be carried out
        import_id = _receive(parts, account, manifest)
        report = _carried_out(parts, import_id)
    if as_json:
        print_json(report.as_json())
    else:
        print_report(report)
    raise typer.Exit(0 if report.state == State.SUCCEEDED else 1)


@app.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest imports.

    Example: `sealdrop imports list --account acme --limit 5`
    """
    with opened(context) as parts:
        reports = parts.imports.newest(account=account, limit=limit)
    if as_json:
        print_json([report.as_json() for report in reports])
        return
    print_table(_COLUMNS, [_row(report) for report in reports], empty="No import yet.")


@app.command()
def show(context: typer.Context, import_id: str, as_json: AsJson = False) -> None:
    """Show one import, with its notices.

    Example: `sealdrop imports show 20261122t081500-4f9c2a7be1d0`
    """
    with opened(context) as parts:
        report = _needed(parts, import_id)
        notices = parts.deliveries.of_import(import_id)
    if as_json:
        print_json(report.as_json() | {"notices": [notice.as_json() for notice in notices]})
        return
    print_report(report)
    print_deliveries(notices, empty="No notice yet.")


@app.command()
def watch(
    context: typer.Context,
    import_id: Annotated[str | None, typer.Argument(help="Only this import; ends when it does.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
) -> None:
    """Watch imports as they go; Ctrl-C ends it.

    With an import's ID it ends with that import, with exit code 0 only when it succeeded.

    Example: `sealdrop imports watch --account acme`
    """
    with opened(context) as parts, Live(refresh_per_second=5) as live:
        while True:
            reports = [_needed(parts, import_id)] if import_id else parts.imports.newest(account=account, limit=20)
            live.update(table_of(_COLUMNS, [_row(report) for report in reports]))
            if import_id and reports[0].state in ENDS:
                break
            time.sleep(_POLL_S)
    raise typer.Exit(0 if reports[0].state == State.SUCCEEDED else 1)


@app.command()
def retry(context: typer.Context, import_id: str) -> None:
    """Try an import again that failed or is held, once its cause is gone. A worker then takes it.

    Example: `sealdrop imports retry 20261122t081500-4f9c2a7be1d0`
    """
    with opened(context) as parts:
        report = _needed(parts, import_id)
        if not parts.spool.taken(import_id, "manifest").is_file():
            raise CommandFailed(f"The files of the import {import_id} are not kept any more: they must be sent again.")
        if not parts.imports.retry(import_id, parts.now()):
            raise CommandFailed(f"The import {import_id} is {report.state}: only one that is over is tried again.")
    out.print(f"import {import_id} is ready again", markup=False)
    hint(f"`sealdrop imports watch {import_id}` shows how it goes.")


def _receive(parts: App, account: str, manifest: Path) -> str:
    """Copy manifest and data file into the spool as a new import, and make it ready."""
    from manifests.parse import MAX_JSON_BYTES, parse_manifest

    try:
        with manifest.open("rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise CommandFailed(f"{manifest} cannot be read: {error.strerror}.") from None
    try:
        data_file: str | None = parse_manifest(content).file_name
    except ManifestInvalid:
        data_file = None  # the import itself says what is wrong with it
    source = None if data_file is None else manifest.parent / data_file
    if source is not None and not source.is_file():
        raise CommandFailed(f"The manifest names {data_file} (`fileName`), but there is no such file beside it.")
    parts.spool.prepare()
    parts.spool.open_account(account)
    now = parts.now()
    import_id = new_import_id(now)
    _copy(parts, manifest, import_id, "manifest")
    if source is not None:
        _copy(parts, source, import_id, "data")
    parts.imports.receive(import_id, account, manifest.name[:128], data_file, now, state=State.READY)
    return import_id


def _copy(parts: App, source: Path, import_id: str, which: Taken) -> None:
    target = parts.spool.taken(import_id, which)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with source.open("rb") as reading, target.open("xb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())


def _carried_out(parts: App, import_id: str) -> Report:
    """Carry the import out in this process, or wait for the worker that was quicker."""
    with err.status("importing ..."):
        while (report := _needed(parts, import_id)).state not in ENDS:
            lease = parts.queue.claim(parts.now(), only=import_id)
            if lease is not None:
                parts.carrier.carry_out(lease)
            else:
                time.sleep(_POLL_S)
    return report


def _needed(parts: App, import_id: str) -> Report:
    report = parts.imports.get(import_id)
    if report is None:
        raise CommandFailed(f"There is no import {import_id}: `sealdrop imports list` shows the newest.")
    return report


def _row(report: Report) -> tuple[object, ...]:
    manifest = Text(f"{report.account}/{visible(report.manifest)}")
    if report.code is not None:
        manifest.append(f"\n{report.code}", style="red")
    if report.dry_run:
        manifest.append("\ndry run", style="dim")
    return (
        report.id,
        styled_state(report.state),
        f"{report.rows_stored:,}",
        f"{report.rows_rejected:,}",
        manifest,
    )

"""``sealdrop import`` and ``sealdrop imports``: carry one out by hand, and look at all."""

from __future__ import annotations

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
from ingest.report import Report
from ingest.states import ENDS, STORED, State
from manifests.errors import ManifestInvalid

if TYPE_CHECKING:
    from ingest.app import App
    from ingest.ledger.timeline import Entry

run_app = typer.Typer(help="Carry out one import by hand.", no_args_is_help=True)
app = typer.Typer(help="Imports: list, show, watch, retry.", no_args_is_help=True)

_POLL_S = 0.2
_COLUMNS = ("import", "state", "stored", "rejected", "manifest")


@run_app.callback()
def import_commands() -> None:
    """Carry out one import by hand."""


@run_app.command()
def run(
    context: typer.Context,
    account: str,
    manifest: Annotated[Path | None, typer.Argument(help="The manifest; its data file lies beside it.")] = None,
    replay: Annotated[
        str | None, typer.Option(metavar="IMPORT", help="Import the kept files of this import again instead.")
    ] = None,
    other_manifest: Annotated[
        Path | None, typer.Option("--manifest", help="With --replay: the corrected manifest.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take a manifest and the data file beside it as if they had been uploaded, wait, and print the report.

    The files stay where they are. Exit code 0 only when the import succeeded, or was skipped because the account wants
    no duplicates and the same files were imported before.

    With --replay it takes the files of an import that is over, which are kept for `retention.archive_days`, as a new
    import. Rows that were stored from them before are never stored twice: only the others are.

    Example: `sealdrop import run acme users.manifest`

    Example: `sealdrop import run acme --replay 20261122t081500-4f9c2a7be1d0 --manifest corrected.manifest`
    """
    if (manifest is None) == (replay is None) or (other_manifest is not None and replay is None):
        raise typer.BadParameter("give either MANIFEST, or --replay and perhaps --manifest")
    with opened(context) as parts:
        needed_account(parts, account)
        parts.open_vault()  # before anything is recorded: without it the import could not be carried out
        if manifest is not None:
            import_id = _received(parts, account, manifest)
        else:
            from ingest.by_hand import replay as replayed

            content = None if other_manifest is None else _read(other_manifest)
            import_id = replayed(parts, account, replay or "", content)
        report = _carried_out(parts, import_id)
    if as_json:
        print_json(report.as_json())
    else:
        print_report(report)
    raise typer.Exit(0 if report.state in STORED else 1)


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
    """Show one import: what became of it, what happened when, its notices, and whether its files are kept.

    Example: `sealdrop imports show 20261122t081500-4f9c2a7be1d0`
    """
    with opened(context) as parts:
        report = _needed(parts, import_id)
        notices = parts.deliveries.of_import(import_id)
        timeline = parts.timeline.of_import(import_id)
        is_kept = parts.spool.taken(import_id, "manifest").is_file()
    if as_json:
        entries = [{"number": e.number, "at": e.at, "what": e.what, **e.detail} for e in timeline]
        deliveries = [notice.as_json() for notice in notices]
        print_json(report.as_json() | {"notices": deliveries, "timeline": entries, "files_kept": is_kept})
        return
    print_report(report)
    out.print()
    steps = [(entry.at, entry.what.replace("_", " "), _told(entry)) for entry in timeline]
    print_table(("at", "what happened", ""), steps, empty="Nothing is remembered of how it went.")
    out.print()
    print_deliveries(notices, empty="No notice yet.")


@app.command()
def watch(
    context: typer.Context,
    import_id: Annotated[str | None, typer.Argument(help="Only this import; ends when it does.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
) -> None:
    """Watch imports as they go; Ctrl-C ends it.

    With an import's ID it ends with that import, with exit code 0 only when it succeeded or was skipped.

    Example: `sealdrop imports watch --account acme`
    """
    with opened(context) as parts, Live(refresh_per_second=5) as live:
        while True:
            reports = [_needed(parts, import_id)] if import_id else parts.imports.newest(account=account, limit=20)
            live.update(table_of(_COLUMNS, [_row(report) for report in reports]))
            if import_id and reports[0].state in ENDS:
                break
            time.sleep(_POLL_S)
    raise typer.Exit(0 if reports[0].state in STORED else 1)


@app.command()
def retry(context: typer.Context, import_id: str) -> None:
    """Try an import again that failed or is held, once its cause is gone. A worker then takes it.

    Example: `sealdrop imports retry 20261122t081500-4f9c2a7be1d0`
    """
    with opened(context) as parts:
        report = _needed(parts, import_id)
        if report.state == State.SKIPPED:
            raise CommandFailed(
                f"The import {import_id} was skipped, as {report.duplicate_of} has stored its rows. `sealdrop import "
                f"run {report.account} --replay {import_id}` stores them again all the same."
            )
        if report.state not in (State.HELD, State.FAILED):
            raise CommandFailed(
                f"The import {import_id} is {report.state}: only one that is over, and not stored, is tried again."
            )
        if not parts.spool.taken(import_id, "manifest").is_file():
            raise CommandFailed(f"The files of the import {import_id} are not kept any more: they must be sent again.")
        if not parts.imports.retry(import_id, parts.now()):
            raise CommandFailed(f"The import {import_id} has changed meanwhile: look at it again.")
    out.print(f"import {import_id} is ready again", markup=False)
    hint(f"`sealdrop imports watch {import_id}` shows how it goes.")


def _received(parts: App, account: str, manifest: Path) -> str:
    """Manifest and data file in the spool as a new import that is ready; its ID."""
    from ingest.by_hand import receive
    from manifests.parse import parse_manifest

    content = _read(manifest)
    try:
        data_file: str | None = parse_manifest(content).file_name
    except ManifestInvalid:
        data_file = None  # the import itself says what is wrong with it
    source = None if data_file is None else manifest.parent / data_file
    if source is not None and not source.is_file():
        raise CommandFailed(f"The manifest names {data_file} (`fileName`), but there is no such file beside it.")
    return receive(parts, account, manifest.name, content, source)


def _read(manifest: Path) -> bytes:
    from manifests.parse import MAX_JSON_BYTES

    try:
        with manifest.open("rb") as file:
            return file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise CommandFailed(f"{manifest} cannot be read: {error.strerror}.") from None


def _carried_out(parts: App, import_id: str) -> Report:
    """Carry the import out in this process, or wait for the worker that was quicker."""
    from ingest.watched_leases import WatchedLeases  # the ledger behind it is slow to import

    leases = WatchedLeases(parts.settings.worker.lease_s)
    with err.status("importing ..."):
        while (report := _needed(parts, import_id)).state not in ENDS:
            unrenewed = leases.unrenewed(parts.queue.held())
            lease = parts.queue.claim(parts.now(), only=import_id, unrenewed=unrenewed)
            if lease is not None:
                parts.carrier.carry_out(lease)
                _tell_if_deferred(_needed(parts, import_id))
            else:
                time.sleep(_POLL_S)
    return report


def _tell_if_deferred(report: Report) -> None:
    """Why nothing seems to happen, and that whoever asked for it need not wait."""
    if report.state == State.DEFERRED:
        err.print(f"{report.code}: {report.message}", markup=False)
        hint(
            f"It is tried again by itself. Ctrl-C leaves it to the service: `sealdrop imports watch {report.id}` shows "
            "how it goes."
        )


def _needed(parts: App, import_id: str) -> Report:
    report = parts.imports.get(import_id)
    if report is None:
        raise CommandFailed(f"There is no import {import_id}: `sealdrop imports list` shows the newest.")
    return report


def _told(entry: Entry) -> str:
    """The detail of an entry in a line."""
    told = []
    for name, value in entry.detail.items():
        if isinstance(value, dict):
            told.append(", ".join(f"{key} {number:.3f} s" for key, number in value.items()))
        elif value is not None:
            told.append(str(value) if name in ("state", "code", "message") else f"{name.replace('_', ' ')} {value}")
    return "; ".join(filter(None, told))


def _row(report: Report) -> tuple[object, ...]:
    manifest = Text(f"{report.account}/{visible(report.manifest)}")
    if report.code is not None:
        manifest.append(f"\n{report.code}", style="red")
    if report.dry_run:
        manifest.append("\ndry run", style="dim")
    if report.duplicate_of is not None:
        manifest.append(f"\nsame as {report.duplicate_of}", style="dim")
    return (
        report.id,
        styled_state(report.state),
        f"{report.rows_stored:,}",
        f"{report.rows_rejected:,}",
        manifest,
    )

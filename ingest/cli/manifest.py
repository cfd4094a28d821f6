"""``sealdrop manifest``: look at a manifest before it is sent, or make one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len

from ingest.cli.session import CommandFailed
from ingest.cli.show import AsJson, err, hint, out, print_json, print_table, visible
from manifests.errors import ManifestError, ManifestInvalid, Problem
from manifests.types import ImportType

if TYPE_CHECKING:
    import polars as pl

    from manifests.model import Manifest

app = typer.Typer(help="Manifests: check one, draft one, print their schema.", no_args_is_help=True)

_CHUNK = 1 << 20
_REJECTS_SHOWN = 10
_EXCERPT_CHARS = 72


@app.callback()
def manifest_commands() -> None:
    """Manifests: check one, draft one, print their schema."""


@app.command()
def check(
    manifest: Path,
    data: Annotated[
        Path | None, typer.Argument(help="The data file, not encrypted: its rows are checked as well.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a manifest, and the rows of a data file against it. Needs no installation, stores nothing.

    Exit code 0 only when nothing is wrong.

    Example: `sealdrop manifest check users.manifest users.csv`
    """
    from manifests.parse import MAX_JSON_BYTES, manifest_remarks, parse_manifest

    try:
        with manifest.open("rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise CommandFailed(f"{manifest} cannot be read: {error.strerror}.") from None
    try:
        parsed = parse_manifest(content)
    except ManifestInvalid as invalid:
        if as_json:
            print_json({"ok": False, **_as_json(invalid.problems, invalid.remarks)})
        else:
            _show(manifest, content, invalid.problems)
            _show(manifest, content, invalid.remarks, kind="note: ")
            hint(f"{len(invalid.problems)} problem{'s' if len(invalid.problems) > 1 else ''}")
        raise typer.Exit(1) from None
    remarks = manifest_remarks(content)
    if not as_json:
        _show(manifest, content, remarks, kind="note: ")
    ok = data is None or _check_data(parsed, data, remarks, as_json=as_json)
    if data is None:
        if as_json:
            print_json({"ok": True, **_as_json((), remarks)})
        else:
            out.print(f"{manifest}: nothing is wrong with this manifest.", markup=False)
    raise typer.Exit(0 if ok else 1)


@app.command()
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of a manifest, for editors and programs.

    Example: `sealdrop manifest schema > manifest.schema.json`
    """
    from manifests.schema import schema_text

    sys.stdout.write(schema_text())


@app.command()
def init(
    data: Annotated[Path, typer.Argument(help="The data file, not encrypted.")],
    kind: Annotated[ImportType | None, typer.Option("--type", help="What the rows are; a guess when left out.")] = None,
    email: Annotated[str | None, typer.Option(help="Who is told how it went.")] = None,
    key_id: Annotated[str | None, typer.Option(help="The UUID of the key pair.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draft a manifest from a data file's header and first rows: types, date formats, what cannot be told for sure.

    Prints it; the data file's name gets the ending .asc, as gpg --armor gives it.

    Example: `sealdrop manifest init users.csv > users.manifest`
    """
    from manifests.infer import as_text, draft

    delimiter, frame = _first_rows(data)
    made = draft(f"{data.name}.asc", delimiter, frame, kind)
    text = as_text(made, client_email=email, key_id=key_id)
    if as_json:
        columns = [{"column": guess.column, **guess.keys, "note": guess.note} for guess in made.columns]
        print_json({"manifest": text, "type": made.type, "columns": columns, "notes": made.notes})
    else:
        sys.stdout.write(text)


def _first_rows(data: Path) -> tuple[str, pl.DataFrame]:
    """The delimiter, and the first rows as the parse step makes them."""
    import polars as pl

    from ingest.steps.csv_records import CsvRecords
    from manifests.header import check_names
    from manifests.infer import likely_delimiter

    first = next(_chunks(data), b"")
    delimiter = likely_delimiter(first.decode("utf-8-sig", errors="replace").lstrip("\r\n").partition("\n")[0])
    try:
        records = CsvRecords(_chunks(data), delimiter=delimiter, chunk_bytes=_CHUNK)
        check_names(records.header)
        frame = next(iter(records), None)
    except ManifestError as error:
        raise CommandFailed(f"{data}: {error.public}") from None
    return delimiter, frame if frame is not None else pl.DataFrame(schema=dict.fromkeys(records.header, pl.String()))


def _as_json(problems: tuple[Problem, ...], remarks: tuple[Problem, ...]) -> dict[str, Any]:
    return {"problems": [asdict(problem) for problem in problems], "remarks": [asdict(remark) for remark in remarks]}


def _show(file: Path, content: bytes, problems: tuple[Problem, ...], *, kind: str = "") -> None:
    """Print problems as a compiler would: the place, what is wrong, the line with a caret."""
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    for problem in problems:
        place = f"{file}:{problem.line}:{problem.column}" if problem.line is not None else str(file)
        key = f"{problem.path}: " if problem.path else ""
        err.print(f"{place}: {kind}{key}{problem.message}", markup=False)
        if problem.line is not None and 1 <= problem.line <= len(lines):
            for line in _pointed_at(lines[problem.line - 1], problem.column or 1):
                err.print(f"    {line}", markup=False)


def _pointed_at(line: str, column: int) -> tuple[str, str]:
    """The part of a line around a column, fit for a terminal, and a caret below that column."""
    start = max(0, column - 1 - _EXCERPT_CHARS // 2)
    part = visible(line.replace("\t", " ")[start : start + _EXCERPT_CHARS])
    return part, " " * cell_len(part[: column - 1 - start]) + "^"


def _check_data(manifest: Manifest, data: Path, remarks: tuple[Problem, ...], *, as_json: bool) -> bool:
    """Run the rows through the same steps as an import, and show what would be rejected."""
    from ingest.steps.bounds import Bounds
    from ingest.steps.map import Tally, mapped
    from ingest.steps.parse import records_of
    from ingest.steps.stopwatch import Stopwatch
    from manifests.event_names import EventNames
    from manifests.plan import build_plan

    tally = Tally(max_shown=_REJECTS_SHOWN, max_kept=0, max_kept_bytes=0)
    failure: ManifestError | None = None
    try:
        records = records_of(_chunks(data), manifest, Bounds())
        plan = build_plan(manifest, records.header, {})
        rows = mapped(
            iter(records),
            plan,
            received_at=datetime.now(UTC),
            tally=tally,
            manifest=manifest,
            watch=Stopwatch(),
            names=EventNames(),
        )
        for _ in rows:
            pass
    except ManifestError as error:
        failure = error
    ok = failure is None and tally.rows_rejected == 0
    if as_json:
        print_json(
            {
                "ok": ok,
                **_as_json((), remarks),
                "code": None if failure is None else failure.code,
                "message": None if failure is None else failure.public,
                "rows_read": tally.rows_read,
                "rows_rejected": tally.rows_rejected,
                "rejects": [asdict(reject) for reject in tally.shown],
            }
        )
        return ok
    out.print(f"{data}: {tally.rows_read:,} rows read, {tally.rows_rejected:,} would be rejected.", markup=False)
    if tally.shown:
        print_table(("row", "column", "code", "reason"), [tuple(asdict(r).values()) for r in tally.shown], empty="")
    if failure is not None:
        err.print(f"{failure.code}: {failure.public}", markup=False)
    return ok


def _chunks(data: Path) -> Iterator[bytes]:
    try:
        with data.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise CommandFailed(f"{data} cannot be read: {error.strerror}.") from None

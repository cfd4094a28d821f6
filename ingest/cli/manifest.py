"""``sealdrop manifest``: look at a manifest before it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len

from ingest.cli.session import CommandFailed
from ingest.cli.show import AsJson, err, hint, out, print_json, print_table, visible
from manifests.errors import ManifestError, ManifestInvalid, Problem

if TYPE_CHECKING:
    from manifests.model import Manifest

app = typer.Typer(help="Manifests: check one before it is sent.", no_args_is_help=True)

_CHUNK = 1 << 20
_REJECTS_SHOWN = 10
_EXCERPT_CHARS = 72


@app.callback()
def manifest_commands() -> None:
    """Manifests: check one before it is sent."""


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
    from manifests.parse import MAX_JSON_BYTES, parse_manifest

    try:
        with manifest.open("rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise CommandFailed(f"{manifest} cannot be read: {error.strerror}.") from None
    try:
        parsed = parse_manifest(content)
    except ManifestInvalid as invalid:
        if as_json:
            print_json({"ok": False, "problems": [asdict(problem) for problem in invalid.problems]})
        else:
            _show_problems(manifest, content, invalid.problems)
        raise typer.Exit(1) from None
    ok = data is None or _check_data(parsed, data, as_json=as_json)
    if data is None:
        if as_json:
            print_json({"ok": True, "problems": []})
        else:
            out.print(f"{manifest}: nothing is wrong with this manifest.", markup=False)
    raise typer.Exit(0 if ok else 1)


def _show_problems(file: Path, content: bytes, problems: tuple[Problem, ...]) -> None:
    """Print problems as a compiler would: the place, what is wrong, the line with a caret."""
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    for problem in problems:
        place = f"{file}:{problem.line}:{problem.column}" if problem.line is not None else str(file)
        key = f"{problem.path}: " if problem.path else ""
        err.print(f"{place}: {key}{problem.message}", markup=False)
        if problem.line is not None and 1 <= problem.line <= len(lines):
            for line in _pointed_at(lines[problem.line - 1], problem.column or 1):
                err.print(f"    {line}", markup=False)
    hint(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}")


def _pointed_at(line: str, column: int) -> tuple[str, str]:
    """The part of a line around a column, fit for a terminal, and a caret below that column."""
    start = max(0, column - 1 - _EXCERPT_CHARS // 2)
    part = visible(line.replace("\t", " ")[start : start + _EXCERPT_CHARS])
    return part, " " * cell_len(part[: column - 1 - start]) + "^"


def _check_data(manifest: Manifest, data: Path, *, as_json: bool) -> bool:
    """Run the rows through the same steps as an import, and show what would be rejected."""
    from ingest.steps.bounds import Bounds
    from ingest.steps.map import Tally, mapped
    from ingest.steps.parse import records_of
    from ingest.steps.stopwatch import Stopwatch
    from manifests.plan import build_plan

    tally = Tally(max_shown=_REJECTS_SHOWN, max_kept=0, max_kept_bytes=0)
    failure: ManifestError | None = None
    try:
        records = records_of(_chunks(data), manifest, Bounds())
        plan = build_plan(manifest, records.header, {})
        rows = mapped(
            iter(records), plan, received_at=datetime.now(UTC), tally=tally, manifest=manifest, watch=Stopwatch()
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
                "problems": [],
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

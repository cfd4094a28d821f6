"""``sealdrop audit``: who did what to which key or account, and whether that record is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.session import CommandFailed, opened
from ingest.cli.show import AsJson, complain, hint, out, print_json, print_table

if TYPE_CHECKING:
    from ingest.ledger.audit import Line
    from ingest.ledger.audit_verify import AuditFinding, Noted

app = typer.Typer(help="The audit: list, verify.", no_args_is_help=True)


@app.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest lines of the audit.

    Example: `sealdrop audit list --account acme`
    """
    from ingest.ledger.audit import lines

    with opened(context) as parts, parts.database.read() as connection:
        found = list(lines(connection, account=account, limit=limit, newest_first=True))
    if as_json:
        print_json([_facts(line) for line in found])
        return
    rows = [
        (line.number, line.at[:19].replace("T", " "), line.actor, line.action, line.account, line.outcome, line.subject)
        for line in found
    ]
    columns = ("line", "at (UTC)", "who", "action", "account", "outcome", "subject")
    print_table(columns, rows, empty="No line yet.")


@app.command()
def verify(
    context: typer.Context,
    noted: Annotated[
        str | None, typer.Option(metavar="LINE:HASH", help="A line that an earlier run told; it must still be there.")
    ] = None,
    chain_only: Annotated[
        bool, typer.Option("--chain-only", help="Without the master key: whoever wrote all anew goes unnoticed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify that no line of the audit was removed, changed, put in or moved. Exit code 1 names the first bad one.

    Note the last line that it tells in a place that nobody on this machine can change, and give it to the next run.

    Example: `sealdrop audit verify --noted 17:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef`
    """
    from ingest.ledger.audit_verify import verify_audit

    expected = None if noted is None else _noted(noted)
    with opened(context) as parts:
        found = verify_audit(parts.database, None if chain_only else parts.open_vault(), noted=expected)
    problem = found.problem
    if problem is None and not chain_only and not found.keyed:
        problem = "no line has a MAC yet, so the chain proves little: `sealdrop serve` starts that"
    if as_json:
        print_json(_verdict(found, problem))
    else:
        out.print(f"last good line  {found.tip.number}:{found.tip.hash}", markup=False)
        if found.cut:
            hint(f"Lines up to {found.cut} were cut off by the sweeper, as `retention.audit_days` says.")
        if found.keyed and found.keyed_from is not None and found.keyed_from > found.cut + 1:
            hint(f"Lines before {found.keyed_from} have no MAC: they are from before the audit had a key.")
        if problem is not None:
            complain(problem if found.first_bad is None else f"line {found.first_bad}: {problem}")
    raise typer.Exit(0 if problem is None else 1)


def _noted(text: str) -> Noted:
    from ingest.ledger.audit_verify import Noted

    number, separator, line_hash = text.partition(":")
    if not separator or not number.isdecimal() or len(line_hash) != 64:
        raise CommandFailed(f"{text!r} is no line that `sealdrop audit verify` told: a number, a colon, 64 digits.")
    return Noted(int(number), line_hash.lower())


def _verdict(found: AuditFinding, problem: str | None) -> dict[str, Any]:
    return {
        "ok": problem is None,
        "first_bad": found.first_bad,
        "problem": problem,
        "last_good": {"line": found.tip.number, "hash": found.tip.hash},
        "keyed": found.keyed,
        "keyed_from": found.keyed_from,
        "cut": found.cut,
    }


def _facts(line: Line) -> dict[str, Any]:
    return {
        "line": line.number,
        "at": line.at,
        "actor": line.actor,
        "action": line.action,
        "account": line.account,
        "subject": line.subject,
        "outcome": line.outcome,
        "hash": line.hash.hex(),
    }

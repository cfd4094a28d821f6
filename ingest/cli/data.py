"""``sealdrop profile``, ``sealdrop events`` and ``sealdrop lake``: look into the lake, and keep it fast to read."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from ingest.cli.session import CommandFailed, actor, needed_account, opened
from ingest.cli.show import AsJson, hint, out, print_facts, print_json, print_table
from manifests.names import MAX_EVENT_NAME_CHARS
from manifests.types import SYSTEM_COLUMNS

lake_app = typer.Typer(help="The lake's files.", no_args_is_help=True)
profile_app = typer.Typer(help="Profiles in the lake.", no_args_is_help=True)
events_app = typer.Typer(help="Events in the lake.", no_args_is_help=True)


@lake_app.callback()
def lake_commands() -> None:
    """The lake's files."""


@lake_app.command()
def compact(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(help="Only this customer; all without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put what was stored in order, so that profiles and events are found fast; no row changes.

    Imports, uploads and readers go on meanwhile, and it may be interrupted at any time. Let a timer run it each hour.

    Example: `sealdrop lake compact acme`
    """
    with opened(context) as parts:
        names = [each.id for each in parts.accounts.all()] if account is None else [account]
        if account is not None:
            needed_account(parts, account, also_removed=True)
        keep_s = parts.settings.lake.keep_replaced_s
        done = [(name, table) for name in names for table in parts.lake.compact(name, keep_s=keep_s)]
    if as_json:
        print_json([{"account": name, **asdict(table)} for name, table in done])
        return
    rows = [(name, f"{t.type}s", t.rows, t.files_before, t.files_after) for name, t in done]
    print_table(("account", "table", "rows", "files before", "after"), rows, empty="Everything is in order already.")


@profile_app.callback()
def profile_commands() -> None:
    """Profiles in the lake."""


@events_app.callback()
def event_commands() -> None:
    """Events in the lake."""


@profile_app.command("show")
def show_profile(
    context: typer.Context,
    account: str,
    identity: Annotated[str | None, typer.Option(help="The user's identity.")] = None,
    object_id: Annotated[str | None, typer.Option(help="The user's objectId.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one user's profile: all updates, folded.

    Example: `sealdrop profile show acme --identity 18121994201671`
    """
    if (identity is None) == (object_id is None):
        raise typer.BadParameter("give one of --identity and --object-id")
    column, value = ("identity", identity) if identity is not None else ("objectId", object_id)
    with opened(context) as parts:
        needed_account(parts, account, also_removed=True)
        profile = parts.lake.profile(account, column, value or "")
    if profile is None:
        raise CommandFailed(f"The account {account} has no profile with this {column}.")
    if as_json:
        print_json(profile)
    else:
        print_facts(profile)


@events_app.command("names")
def list_names(context: typer.Context, account: str, as_json: AsJson = False) -> None:
    """List the names of a customer's events; those that are discarded are marked.

    Example: `sealdrop events names acme`
    """
    with opened(context) as parts:
        needed_account(parts, account)
        names = parts.history.event_names(account)
    if as_json:
        print_json([asdict(name) for name in names])
        return
    rows = [(name.created_at, "discarded" if name.discarded else "", name.name) for name in names]
    print_table(("first sent", "", "event"), rows, empty="No event name yet.")


@events_app.command()
def discard(context: typer.Context, account: str, name: str) -> None:
    """Reject a customer's events of this name from now on (code 528). What is stored already stays.

    Example: `sealdrop events discard acme "Page scrolled"`
    """
    _set_discarded(context, account, name, discarded=True)
    out.print(f"events {name} are discarded from now on", markup=False)


@events_app.command()
def keep(context: typer.Context, account: str, name: str) -> None:
    """Store a customer's events of this name again.

    Example: `sealdrop events keep acme "Page scrolled"`
    """
    _set_discarded(context, account, name, discarded=False)
    out.print(f"events {name} are stored from now on", markup=False)


def _set_discarded(context: typer.Context, account: str, name: str, *, discarded: bool) -> None:
    if not 0 < len(name) <= MAX_EVENT_NAME_CHARS:
        raise typer.BadParameter(f"an event name has 1 to {MAX_EVENT_NAME_CHARS} characters")
    with opened(context) as parts:
        needed_account(parts, account)
        parts.history.set_discarded(account, name, discarded=discarded, now=parts.now(), actor=actor())


@events_app.command("list")
def list_events(
    context: typer.Context,
    account: str,
    name: Annotated[str | None, typer.Option(help="Only events of this name.")] = None,
    since: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d", "%Y%m%d"], help="First day, UTC.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d", "%Y%m%d"], help="Last day, UTC.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List a customer's events, newest first.

    Example: `sealdrop events list acme --name Charged --from 2026-01-01 --to 2026-01-31`
    """
    with opened(context) as parts:
        needed_account(parts, account, also_removed=True)
        events = parts.lake.events(
            account,
            name=name,
            since=None if since is None else since.replace(tzinfo=UTC),
            until=None if until is None else until.replace(tzinfo=UTC) + timedelta(days=1),
            limit=limit,
        )
    if as_json:
        print_json(events.to_dicts())
        return
    filled = [c for c in events.columns if c not in SYSTEM_COLUMNS and events[c].null_count() < events.height]
    print_table(filled, events.select(filled).rows(), empty="No event that fits.")
    if events.height == limit:
        hint(f"(the newest {limit}; --limit shows more)")

"""``sealdrop keyset``: HPKE keysets of customers, for requests and responses of the HTTP API."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.session import CommandFailed, actor, needed_account, opened, read_file
from ingest.cli.show import AsJson, hint, out, print_facts, print_json, print_table

if TYPE_CHECKING:
    from ingest.app import App
    from ingest.keyset_custody import Stored
    from ingest.ledger.keysets import Keyset

app = typer.Typer(
    help="HPKE keysets: the customers' own for responses (add), ours for requests (generate, export); list, show, "
    "remove.",
    no_args_is_help=True,
)

KeysetId = Annotated[str, typer.Argument(help="The keyset's ID, as `sealdrop keyset list` shows it.")]
FormerDays = Annotated[
    int,
    typer.Option("--days", min=0, max=366, help="How long the former keyset stays valid as the previous one."),
]


class KemName(StrEnum):
    """The kinds of keyset that can be made."""

    X25519 = "x25519"
    X_WING = "x-wing"


@app.command()
def add(
    context: typer.Context,
    account: str,
    file: Annotated[
        Path, typer.Argument(help="The public keyset, as `tinkey create-public-keyset` writes it: JSON or binary.")
    ],
    days: FormerDays = 30,
    as_json: AsJson = False,
) -> None:
    """Store a customer's public keyset: responses to the customer are encrypted to it from now on.

    When there is one already, this rotates it: the former one becomes the previous one.

    Example: `sealdrop keyset add acme acme-public.json`
    """
    from ingest.keyset_custody import add_response_keyset

    with opened(context) as parts:
        needed_account(parts, account)
        keep_former = timedelta(days=days)
        stored = add_response_keyset(parts, account, read_file(file), keep_former=keep_former, actor=actor())
        _show_stored(stored, parts.now(), as_json)
    hint(f"Encrypted responses to {account} are for this keyset from now on; only the customer can open them.")


@app.command()
def generate(
    context: typer.Context,
    account: str,
    kem: Annotated[
        KemName, typer.Option(help="x25519, or x-wing: post-quantum as well, when the customer's Tink knows it.")
    ] = KemName.X25519,
    rotate: Annotated[bool, typer.Option("--rotate", help="Put it in the place of the one that is there.")] = False,
    days: FormerDays = 30,
    as_json: AsJson = False,
) -> None:
    """Make our keyset for a customer's requests; its private half stays here, sealed.

    After a rotation requests for the former keyset still open for some days, so that the customer can change over.

    Example: `sealdrop keyset generate acme`
    """
    from ingest.keyset_custody import make_request_keyset
    from keystore.hpke import Kem

    with opened(context) as parts:
        needed_account(parts, account)
        stored = make_request_keyset(
            parts,
            account,
            kem=Kem(kem.value),
            rotate=rotate,
            keep_former=timedelta(days=days),
            actor=actor(),
        )
        _show_stored(stored, parts.now(), as_json)
    hint(f"Next: `sealdrop keyset export {account} --out FILE`, and give that file to the customer.")


@app.command()
def export(
    context: typer.Context,
    account: str,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="New file for it; without it, standard output.", show_default=False)
    ] = None,
) -> None:
    """Write the public half of our request keyset, in Tink's JSON: the customer encrypts requests to it.

    Example: `sealdrop keyset export acme --out sealdrop-public.json`
    """
    from ingest.keyset_custody import export_request_keyset

    with opened(context) as parts:
        needed_account(parts, account)
        if parts.keysets.primary(account, "request") is None:
            raise CommandFailed(
                f"The account {account} has no request keyset yet: `sealdrop keyset generate {account}` makes one."
            )
        public = export_request_keyset(parts, account, actor=actor()).as_json()
    if out_file is None:
        print_json(json.loads(public))
        return
    with out_file.open("xb") as file:
        file.write(public + b"\n")
    out.print(f"public request keyset of {account} written to {out_file}", markup=False)


@app.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(help="Only this customer's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the stored keysets: request keysets are ours, response keysets the customers'.

    Example: `sealdrop keyset list acme`
    """
    with opened(context) as parts:
        keysets = _every_keyset(parts) if account is None else _of_account(parts, account)
        facts = [_facts(keyset, parts.now()) for keyset in keysets]
    if as_json:
        print_json(facts)
        return
    rows = [tuple(_shown(one).values()) for one in facts]
    columns = ("keyset ID", "account", "direction", "state", "since", "until", "keys")
    print_table(columns, rows, empty="No keyset yet: `sealdrop keyset add` or `sealdrop keyset generate`.")


@app.command()
def show(context: typer.Context, keyset_id: KeysetId, as_json: AsJson = False) -> None:
    """Show one keyset; its public half in Tink's JSON with --json.

    Example: `sealdrop keyset show 5b0f2c1e-7d0e-4c7e-9a53-0f6a4c1f6f0e --json`
    """
    from keystore.tink_keyset import PublicKeyset

    with opened(context) as parts:
        keyset = _needed_keyset(parts, keyset_id)
        facts = _facts(keyset, parts.now())
    if as_json:
        print_json(facts | {"public_keyset": json.loads(PublicKeyset.read(keyset.public_keyset).as_json())})
    else:
        print_facts(_shown(facts))


@app.command()
def remove(context: typer.Context, keyset_id: KeysetId) -> None:
    """Remove a keyset for good: a customer's, or the previous one of ours before its end.

    Example: `sealdrop keyset remove 5b0f2c1e-7d0e-4c7e-9a53-0f6a4c1f6f0e`
    """
    from ingest.keyset_custody import remove_keyset

    with opened(context) as parts:
        keyset = _needed_keyset(parts, keyset_id)
        remove_keyset(parts, keyset, actor=actor())
    out.print(f"{keyset.slot} {keyset.direction} keyset {keyset.keyset_id} of {keyset.account} removed", markup=False)
    if (keyset.direction, keyset.slot) == ("response", "primary"):
        hint(f"Responses to {keyset.account} cannot be encrypted any more, until `sealdrop keyset add` stores another.")


def _of_account(parts: App, account: str) -> list[Keyset]:
    return parts.keysets.of_account(needed_account(parts, account).id)


def _every_keyset(parts: App) -> list[Keyset]:
    return [keyset for account in parts.accounts.all() for keyset in parts.keysets.of_account(account.id)]


def _needed_keyset(parts: App, keyset_id: str) -> Keyset:
    found = next((one for one in _every_keyset(parts) if one.keyset_id == keyset_id.lower()), None)
    if found is None:
        raise CommandFailed(f"There is no keyset {keyset_id}: `sealdrop keyset list` shows the keysets.")
    return found


def _show_stored(stored: Stored, now: datetime, as_json: bool) -> None:
    """The new keyset, and what becomes of the former one."""
    facts, former = _facts(stored.keyset, now), stored.former
    if as_json:
        print_json(facts | {"former": None if former is None else _facts(former, now)})
        return
    print_facts(_shown(facts))
    if former is None:
        hint(f"It is the first {stored.keyset.direction} keyset of {stored.keyset.account}.")
    elif former.has_ended(now):
        hint(f"It takes the place of {former.keyset_id}, which was removed.")
    else:
        end = f"{former.until:%Y-%m-%d %H:%M:%S UTC}"
        hint(f"It takes the place of {former.keyset_id}, which is the previous one until {end}.")


def _shown(facts: dict[str, Any]) -> dict[str, object]:
    return {
        "keyset ID": facts["keyset_id"],
        "account": facts["account"],
        "direction": facts["direction"],
        "state": facts["state"],
        "since": facts["created_at"],
        "until": facts["until"],
        "keys": _key_lines(facts["keys"]),
    }


def _facts(keyset: Keyset, now: datetime) -> dict[str, Any]:
    from keystore.tink_keyset import PublicKeyset

    return {
        "keyset_id": keyset.keyset_id,
        "account": keyset.account,
        "direction": keyset.direction,
        "state": "ended" if keyset.has_ended(now) else keyset.slot,
        "created_at": keyset.created_at,
        "until": keyset.until,
        "keys": [
            {"tink_key_id": key.tink_key_id, "kem": key.key.kem.value, "prefix": key.prefix.name}
            for key in PublicKeyset.read(keyset.public_keyset).keys
        ],
    }


def _key_lines(keys: list[dict[str, Any]]) -> str:
    """One key a line, the one that seals first."""
    return "\n".join(f"{key['tink_key_id']} {key['kem']} {key['prefix']}" for key in keys)

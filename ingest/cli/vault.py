"""``sealdrop vault``: the master key that everything is sealed under."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.session import CommandFailed, actor, opened
from ingest.cli.show import AsJson, complain, hint, print_facts, print_json

if TYPE_CHECKING:
    from ingest.rotation import Rotated

app = typer.Typer(help="The master key: show, rotate.", no_args_is_help=True)


@app.command()
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show which master key seals, where it comes from, and how many secrets each key has sealed; never a key.

    Exit code 1 when the master key at hand is not the right one.

    Example: `sealdrop vault show`
    """
    from ingest.vault_state import vault_state

    with opened(context) as parts:
        state = vault_state(parts)
    if as_json:
        print_json(asdict(state) | {"old_key_files": [str(file) for file in state.old_key_files]})
    else:
        print_facts(
            {
                "master key": state.master_key,
                "since": state.since,
                "source": state.source,
                "secrets": "\n".join(f"{count:,} under {key_id}" for key_id, count in state.secrets.items()),
                "rotation": "unfinished" if state.rotation_unfinished else None,
                "old keys": "\n".join(map(str, state.old_key_files)),
                "to do": state.to_do,
            }
        )
        if state.problem is not None:
            complain(state.problem)
    raise typer.Exit(0 if state.problem is None else 1)


@app.command()
def rotate(
    context: typer.Context,
    new_key_file: Annotated[
        Path | None,
        typer.Option(help="File with the new master key, 64 hexadecimal digits, mode 0600; default is a random one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go over to a new master key while the service runs; run it again when it was interrupted.

    No key is removed: the old one is kept in a file, for backups of the ledger from before.

    Example: `sealdrop vault rotate`
    """
    from ingest.rotation import rotate as carry_out
    from ingest.vault_state import vault_state
    from keystore.master_key import read_master_key

    with opened(context) as parts:
        new_key = None
        if new_key_file is not None and (new_key := read_master_key(new_key_file, "file")) is None:
            raise CommandFailed(f"{new_key_file}: there is no such file.")
        rotated = carry_out(parts, new_key=new_key, actor=actor())
        to_do = vault_state(parts).to_do
    _show(rotated, to_do, as_json)
    if new_key_file is not None:
        hint(f"Remove {new_key_file}: the installation has a copy of its own.")
    raise typer.Exit(1 if rotated.damaged else 0)


def _show(rotated: Rotated, to_do: str | None, as_json: bool) -> None:
    facts = {
        "master_key": rotated.new_id,
        "old_master_key": rotated.old_id,
        "secrets": rotated.secrets,
        "damaged": [asdict(record) for record in rotated.damaged],
        "old_key_file": None if rotated.old_key_file is None else str(rotated.old_key_file),
        "to_do": to_do,
    }
    if as_json:
        print_json(facts)
    else:
        shown = {name.replace("_", " "): value for name, value in facts.items() if name not in ("damaged", "to_do")}
        print_facts(shown)
    for record in rotated.damaged:
        hint(f"Damaged: {record.kind} {record.record} of the account {record.account or 'of nobody'}.")
    if rotated.damaged:
        hint("These secrets do not open and still name the old key. Remove what they belong to, then run this again.")
    else:
        hint("Every secret is sealed under the new key. Keep a copy of it in a safe place.")
        hint("The old key opens only backups of the ledger from before: destroy it when none of them is needed.")
        hint("A service that is running has both keys in its memory until it is restarted.")
    if to_do is not None:
        hint(to_do)

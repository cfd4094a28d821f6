"""``sealdrop signer``: whose signatures on files count for a customer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.session import CommandFailed, actor, needed_account, opened, read_file
from ingest.cli.show import AsJson, hint, out, print_facts, print_json, print_table

if TYPE_CHECKING:
    from ingest.ledger.signers import RegisteredSigner

app = typer.Typer(help="Signers, whose signatures on files count: add, list, remove.", no_args_is_help=True)

_SHORTEST_ID = 8  # hexadecimal digits


@app.command()
def add(
    context: typer.Context,
    account: str,
    file: Annotated[Path, typer.Argument(help="The signer's public key, as `gpg --armor --export` writes it.")],
    as_json: AsJson = False,
) -> None:
    """Register the public key of somebody who signs a customer's files; the same key again takes the old one's place.

    What a file without a good signature means is said for each pair: `sealdrop key change KEY_ID --signatures require`.

    Example: `sealdrop signer add acme signer.asc`
    """
    from ingest.custody import register_signer

    with opened(context) as parts:
        needed_account(parts, account)
        signer, replaced = register_signer(parts, account, read_file(file), actor=actor())
    if as_json:
        print_json(_facts(signer))
        return
    print_facts(
        {
            "signer": signer.fingerprint,
            "algorithm": signer.algorithm,
            "user IDs": "\n".join(signer.user_ids),
            "expires": signer.expires_at or "never",
        }
    )
    if replaced:
        hint("It takes the place of the certificate that was registered for this key before.")
    hint("Compare the fingerprint with the one that the signer tells you by another way.")


@app.command("list")
def list_(context: typer.Context, account: str, as_json: AsJson = False) -> None:
    """List a customer's signers.

    Example: `sealdrop signer list acme`
    """
    with opened(context) as parts:
        needed_account(parts, account)
        signers = parts.signers.of_account(account)
    if as_json:
        print_json([_facts(signer) for signer in signers])
        return
    rows = [(s.fingerprint, s.algorithm, s.expires_at or "never", ", ".join(s.user_ids)) for s in signers]
    columns = ("fingerprint", "algorithm", "expires", "user IDs")
    print_table(columns, rows, empty="No signer yet: `sealdrop signer add` registers one.")


@app.command()
def remove(
    context: typer.Context,
    account: str,
    fingerprint: Annotated[str, typer.Argument(help="Fingerprint, or its last digits: 8 or more.")],
) -> None:
    """Let a signer's signatures count no more.

    Example: `sealdrop signer remove acme 7DA4B1E2F0C35A96`
    """
    wanted = fingerprint.replace(" ", "").upper().removeprefix("0X")
    with opened(context) as parts:
        needed_account(parts, account)
        found = [signer for signer in parts.signers.of_account(account) if signer.fingerprint.endswith(wanted)]
        if len(wanted) < _SHORTEST_ID or len(found) != 1:
            raise CommandFailed(
                f"{fingerprint!r} names no single signer of {account}: `sealdrop signer list {account}` shows them."
            )
        parts.signers.remove(account, found[0].fingerprint, actor=actor(), now=parts.now())
    out.print(f"signer {found[0].fingerprint} of {account} removed", markup=False)


def _facts(signer: RegisteredSigner) -> dict[str, Any]:
    facts = asdict(signer)
    del facts["certificate"]
    return facts

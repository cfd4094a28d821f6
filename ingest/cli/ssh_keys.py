"""``sealdrop ssh-key``: the SSH keys by which a customer's clients log in."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.session import CommandFailed, actor, needed_account, opened, read_file
from ingest.cli.show import AsJson, hint, out, print_json, print_table

if TYPE_CHECKING:
    from ingest.ledger.ssh_keys import SshKey

app = typer.Typer(help="SSH keys, by which a customer's clients log in: add, list, remove.", no_args_is_help=True)

_SHORTEST_FINGERPRINT = 8  # characters after SHA256:


@app.command()
def add(
    context: typer.Context,
    account: str,
    file: Annotated[Path, typer.Argument(help="SSH public keys, one a line, as in an authorized_keys file.")],
    expires: Annotated[
        str | None, typer.Option(help="Date (its beginning, UTC) or time from which the keys open nothing.")
    ] = None,
    sources: Annotated[
        str | None, typer.Option("--from", help="Addresses, patterns and networks from which they do, with commas.")
    ] = None,
    cert_authority: Annotated[
        bool, typer.Option("--cert-authority", help="Accept user certificates signed by the keys, not the keys.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a customer log in with further SSH keys: all of the file, or none when one cannot be used.

    Options in the file are honoured (from, expiry-time, cert-authority) or refused by name; those given here win.

    Example: `sealdrop ssh-key add acme acme.pub --expires 2027-12-31 --from 192.0.2.0/24`
    """
    with opened(context) as parts:
        needed_account(parts, account)
        keys = keys_in(file, expires=expires, sources=sources, cert_authority=cert_authority)
        parts.ssh_keys.add(account, keys, now=parts.now(), actor=actor())
        access = parts.ssh_keys.access(account)
    added = {key.fingerprint for key in keys}
    stored = [key for key in (access.keys if access is not None else ()) if key.fingerprint in added]
    if as_json:
        print_json([asdict(key) for key in stored])
        return
    for key in keys:
        out.print(f"SSH key {key.fingerprint} of {account} added", markup=False)
    if any(key.cert_authority for key in keys):
        hint(f"Certificates must name the account among their principals: ssh-keygen -s CA -n {account} -I ID KEY.pub")


@app.command("list")
def list_(context: typer.Context, account: str, as_json: AsJson = False) -> None:
    """List a customer's SSH keys.

    Example: `sealdrop ssh-key list acme`
    """
    with opened(context) as parts:
        keys = needed_account(parts, account).ssh_keys
        now = parts.now()
    if as_json:
        print_json([asdict(key) for key in keys])
        return
    rows = [
        (
            key.fingerprint,
            key.public_key.split()[0] + (" (authority)" if key.cert_authority else ""),
            "never" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M}{_ago(key.expires_at <= now)}",
            key.sources or "anywhere",
            key.created_at,
        )
        for key in keys
    ]
    columns = ("fingerprint", "type", "expires", "from", "since")
    print_table(columns, rows, empty="No SSH key yet: `sealdrop ssh-key add` adds one.")


@app.command()
def remove(
    context: typer.Context,
    account: str,
    fingerprint: Annotated[str, typer.Argument(help="Fingerprint as `list` shows it, or its first 8 characters.")],
) -> None:
    """Let an SSH key open nothing from now on; sessions that it has opened go on.

    Example: `sealdrop ssh-key remove acme SHA256:Yk3bN0pq`
    """
    wanted = fingerprint.strip().removeprefix("SHA256:")
    with opened(context) as parts:
        keys = needed_account(parts, account).ssh_keys
        found = [key for key in keys if key.fingerprint.removeprefix("SHA256:").startswith(wanted)]
        if len(wanted) < _SHORTEST_FINGERPRINT or len(found) != 1:
            raise CommandFailed(
                f"{fingerprint!r} names no single SSH key of {account}: `sealdrop ssh-key list {account}` shows them."
            )
        parts.ssh_keys.remove(account, found[0].fingerprint, now=parts.now(), actor=actor())
    out.print(f"SSH key {found[0].fingerprint} of {account} removed", markup=False)
    if len(keys) == 1:
        hint(f"It was the last one: nobody can log in as {account} now.")


def keys_in(
    file: Path, *, expires: str | None = None, sources: str | None = None, cert_authority: bool = False
) -> list[SshKey]:
    """The keys of a file, with what the command line says of them. Raises `CommandFailed`."""
    from ingest.ssh_keys import SshKeyRejected, checked_sources, read_expiry, read_ssh_keys

    given: dict[str, Any] = {}
    try:
        if expires is not None:
            given["expires_at"] = read_expiry(expires)
        if sources is not None:
            given["sources"] = checked_sources(sources)
        if cert_authority:
            given["cert_authority"] = True
    except SshKeyRejected as rejected:
        raise CommandFailed(f"{rejected}.") from None
    try:
        return [replace(key, **given) for key in read_ssh_keys(read_file(file).decode())]
    except UnicodeDecodeError:
        raise CommandFailed(f"{file}: this file cannot be read as text.") from None
    except SshKeyRejected as rejected:
        raise CommandFailed(f"{file}: {rejected}.") from None


def _ago(expired: bool) -> str:
    return " (expired)" if expired else ""

"""``sealdrop account``: customers and how they log in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.session import CommandFailed, actor, needed_account, opened
from ingest.cli.show import AsJson, hint, out, print_facts, print_json, print_table
from ingest.cli.ssh_keys import keys_in
from ingest.states import PairState

if TYPE_CHECKING:
    from ingest.ledger.accounts import Account

app = typer.Typer(help="Customers: add, change, disable, remove, look at them.", no_args_is_help=True)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DOMAIN = re.compile(r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Account ID; also the SFTP user name.")],
    ssh_key: Annotated[
        list[Path] | None, typer.Option("--ssh-key", help="File with SSH public keys; repeatable.")
    ] = None,
    contact: Annotated[list[str] | None, typer.Option(help="Mail address that may get notices; repeatable.")] = None,
    allow_domain: Annotated[
        list[str] | None, typer.Option(help="Domain whose addresses may get notices by clientEmail; repeatable.")
    ] = None,
    allow_plain: Annotated[
        bool, typer.Option("--allow-plain", help="Accept files that are not encrypted, when the manifest has no keyId.")
    ] = False,
    allow_legacy_ciphers: Annotated[
        bool, typer.Option("--allow-legacy-ciphers", help="Let gpg read IDEA, 3DES, CAST5 and Blowfish.")
    ] = False,
    no_gnupg: Annotated[
        bool, typer.Option("--no-gnupg", help="Refuse files that only gpg could read, also where it is installed.")
    ] = False,
    skip_duplicates: Annotated[
        bool, typer.Option("--skip-duplicates", help="Store an upload once that comes again, byte for byte the same.")
    ] = False,
) -> None:
    """Add a customer.

    Example: `sealdrop account add acme --ssh-key acme.pub --contact data@acme.example`
    """
    from ingest.notices.recipients import is_plain_address

    if not _NAME.fullmatch(name):
        raise CommandFailed(
            f"{name!r} is no account ID: 1 to 64 letters, digits, - and _, starting with a letter or digit."
        )
    keys = [key for file in ssh_key or () for key in keys_in(file)]
    for address in contact or ():
        if not is_plain_address(address):
            raise CommandFailed(f"{address!r} is no plain mail address: give one address for each --contact.")
    for domain in allow_domain or ():
        if not _DOMAIN.fullmatch(domain):
            raise CommandFailed(f"{domain!r} is no domain name: for example acme.example.")
    with opened(context) as parts:
        parts.accounts.add(
            name,
            now=parts.now(),
            actor=actor(),
            contact_addresses=contact or (),
            allowed_domains=allow_domain or (),
            ssh_public_keys=keys,
            require_encryption=not allow_plain,
            allow_legacy_ciphers=allow_legacy_ciphers,
            allow_gnupg=not no_gnupg,
            skip_duplicates=skip_duplicates,
        )
        parts.spool.prepare()
        parts.spool.open_account(name)
    out.print(f"account {name} added", markup=False)
    if not keys:
        hint("It has no SSH key yet, so nobody can log in as it.")
    if not contact and not allow_domain:
        hint("It has no contact and no allowed domain yet, so its notices go nowhere.")
    hint(f"Next: `sealdrop key generate {name}` or `sealdrop key import {name} private.asc`.")


@app.command()
def change(
    context: typer.Context,
    name: str,
    allow_legacy_ciphers: Annotated[
        bool | None,
        typer.Option(
            "--allow-legacy-ciphers/--no-legacy-ciphers",
            help="Whether gpg may read IDEA, 3DES, CAST5 and Blowfish.",
        ),
    ] = None,
    allow_gnupg: Annotated[
        bool | None,
        typer.Option("--allow-gnupg/--no-gnupg", help="Whether gpg may read what our own reader cannot."),
    ] = None,
    allow_reserved_events: Annotated[
        bool | None,
        typer.Option(
            "--allow-reserved-events/--no-reserved-events",
            help="Whether it may send events such as App Launched, to move its history here.",
        ),
    ] = None,
    skip_duplicates: Annotated[
        bool | None,
        typer.Option(
            "--skip-duplicates/--no-skip-duplicates",
            help="Whether an upload is stored once that comes again: data file and manifest byte for byte the same.",
        ),
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option("--from", help='Addresses, patterns and networks from which it may log in; "" for everywhere.'),
    ] = None,
) -> None:
    """Change what a customer may send and from where, for logins and imports that begin after it.

    Example: `sealdrop account change acme --allow-legacy-ciphers --from 192.0.2.0/24,2001:db8::/32`

    Example: `sealdrop account change acme --skip-duplicates`
    """
    from ingest.ssh_keys import SshKeyRejected, checked_sources

    changes = (allow_legacy_ciphers, allow_gnupg, allow_reserved_events, skip_duplicates, sources)
    if all(given is None for given in changes):
        raise CommandFailed("Nothing to change was named: `sealdrop account change --help` shows what can be.")
    try:
        checked = checked_sources(sources) if sources else sources
    except SshKeyRejected as rejected:
        raise CommandFailed(f"{rejected}.") from None
    with opened(context) as parts:
        needed_account(parts, name)
        parts.accounts.change(
            name,
            now=parts.now(),
            actor=actor(),
            allow_legacy_ciphers=allow_legacy_ciphers,
            allow_gnupg=allow_gnupg,
            allow_reserved_events=allow_reserved_events,
            skip_duplicates=skip_duplicates,
            sources=checked,
        )
    out.print(f"account {name} changed", markup=False)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the customers.

    Example: `sealdrop account list --json`
    """
    with opened(context) as parts:
        accounts = parts.accounts.all()
    if as_json:
        print_json([_facts(account) for account in accounts])
        return
    rows = [(a.id, a.state, len(a.ssh_keys), ", ".join(a.contacts), a.created_at) for a in accounts]
    print_table(
        ("account", "state", "SSH keys", "contacts", "since"),
        rows,
        empty="No account yet: `sealdrop account add` adds one.",
    )


@app.command()
def show(context: typer.Context, name: str, as_json: AsJson = False) -> None:
    """Show one customer.

    Example: `sealdrop account show acme`
    """
    with opened(context) as parts:
        account = needed_account(parts, name, also_removed=True)
        keys, signers = parts.pgp_keys.of_account(name), parts.signers.of_account(name)
    key_ids = list(dict.fromkeys(key.key_id for key in keys if key.state is not PairState.DESTROYED))
    facts = _facts(account) | {
        "pgp_keys": key_ids,
        "signers": [signer.fingerprint for signer in signers],
    }
    if as_json:
        print_json(facts)
        return
    print_facts(
        {
            "account": account.id,
            "state": account.state,
            "since": account.created_at,
            "encryption": "required" if account.require_encryption else "optional",
            "old ciphers": "allowed" if account.allow_legacy_ciphers else None,
            "GnuPG": None if account.allow_gnupg else "not used",
            "reserved events": "allowed" if account.allow_reserved_events else None,
            "duplicates": "skipped" if account.skip_duplicates else None,
            "signers": "\n".join(signer.fingerprint for signer in signers),
            "contacts": "\n".join(account.contacts),
            "allowed domains": "\n".join(account.allowed_domains),
            "webhook": account.webhook,
            "logs in from": account.sources,
            "SSH keys": "\n".join(key.fingerprint for key in account.ssh_keys) or "none: nobody can log in",
            "key IDs": "\n".join(key_ids) or "none: no encrypted file can be read",
        }
    )


def _facts(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "state": account.state,
        "created_at": account.created_at,
        "require_encryption": account.require_encryption,
        "allow_legacy_ciphers": account.allow_legacy_ciphers,
        "allow_gnupg": account.allow_gnupg,
        "allow_reserved_events": account.allow_reserved_events,
        "skip_duplicates": account.skip_duplicates,
        "contacts": list(account.contacts),
        "allowed_domains": list(account.allowed_domains),
        "webhook": account.webhook,
        "sources": account.sources,
        "ssh_keys": [key.fingerprint for key in account.ssh_keys],
    }

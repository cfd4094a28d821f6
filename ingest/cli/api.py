"""``sealdrop api``: who may use the HTTP API of an account, and how."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.session import CommandFailed, actor, needed_account, opened, read_file
from ingest.cli.show import AsJson, hint, out, print_facts, print_json, print_table

if TYPE_CHECKING:
    from ingest.ledger.api_access import ClientAuthority, Credential, HpkeRules

app = typer.Typer(help="The HTTP API: credentials, HPKE, client certificates.", no_args_is_help=True)
credential_app = typer.Typer(help="Credentials: what a customer's programs log in with.", no_args_is_help=True)
ca_app = typer.Typer(help="CAs that issue an account's client certificates (mutual TLS).", no_args_is_help=True)
app.add_typer(credential_app, name="credential")
app.add_typer(ca_app, name="ca")


class ScopeName(StrEnum):
    """What a credential can be allowed to do."""

    UPLOAD = "upload"
    EVENTS_READ = "events:read"
    PROFILES_READ = "profiles:read"
    KEYS = "keys"


@credential_app.command("add")
def add_credential(
    context: typer.Context,
    account: str,
    scope: Annotated[list[ScopeName], typer.Option(help="What it may do; repeatable.")],
    as_json: AsJson = False,
) -> None:
    """Make a credential; its passcode is shown once, and stored only as a hash.

    An account may have several: add a new one, change the customer's programs over, then retire the old one.

    Example: `sealdrop api credential add acme --scope upload --scope keys`
    """
    from ingest.ledger.api_access import Credential
    from keystore.passcode import make_passcode, verifier_of

    passcode = make_passcode()
    scopes = tuple(dict.fromkeys(one.value for one in scope))
    with opened(context) as parts:
        needed_account(parts, account)
        credential = Credential(passcode.credential_id, account, scopes, verifier_of(passcode.text), parts.now())
        parts.api_accesses.add_credential(credential, actor=actor())
    facts = _credential_facts(credential) | {"passcode": passcode.text}
    if as_json:
        print_json(facts)
    else:
        print_facts(_shown(credential) | {"passcode": passcode.text})
    hint("This is the only time that the passcode is shown. It is also the client secret for OAuth.")


@credential_app.command("list")
def list_credentials(context: typer.Context, account: str, as_json: AsJson = False) -> None:
    """List an account's credentials.

    Example: `sealdrop api credential list acme`
    """
    with opened(context) as parts:
        credentials = parts.api_accesses.credentials(needed_account(parts, account).id)
    if as_json:
        print_json([_credential_facts(one) for one in credentials])
        return
    rows = [tuple(_shown(one).values()) for one in credentials]
    empty = f"No credential yet: `sealdrop api credential add {account} --scope upload` makes one."
    print_table(("credential", "account", "scopes", "since"), rows, empty=empty)


@credential_app.command("retire")
def retire_credential(context: typer.Context, account: str, credential: str) -> None:
    """Let a credential open nothing more, nor the tokens that it got.

    Example: `sealdrop api credential retire acme k3v9mzq2hd`
    """
    with opened(context) as parts:
        needed_account(parts, account)
        if not parts.api_accesses.retire_credential(account, credential, now=parts.now(), actor=actor()):
            raise CommandFailed(
                f"{account} has no credential {credential}: `sealdrop api credential list {account}` shows them."
            )
        seconds = parts.settings.http.refresh_s
    out.print(f"credential {credential} of {account} retired", markup=False)
    hint(f"A running service refuses it after {seconds:g} seconds at the latest.")


@app.command()
def hpke(
    context: typer.Context,
    account: str,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="The feature: bodies may be encrypted with HPKE.")
    ] = None,
    entitle: Annotated[
        bool | None, typer.Option("--entitle/--no-entitle", help="Whether the customer has paid for it.")
    ] = None,
    enforce: Annotated[
        bool | None, typer.Option("--enforce/--no-enforce", help="Refuse requests that are not encrypted.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show whether an account encrypts with HPKE, or change it. It works when it is enabled and entitled.

    The first time, this makes our keyset for its requests as well.

    Example: `sealdrop api hpke acme --enable --entitle`
    """
    from ingest.ledger.api_access import HpkeRules

    with opened(context) as parts:
        needed_account(parts, account)
        rules = parts.api_accesses.hpke(account)
        if (enable, entitle, enforce) != (None, None, None):
            rules = HpkeRules(
                enabled=rules.enabled if enable is None else enable,
                entitled=rules.entitled if entitle is None else entitle,
                enforced=rules.enforced if enforce is None else enforce,
            )
            parts.api_accesses.set_hpke(account, rules, now=parts.now(), actor=actor())
        keyset = parts.keysets.primary(account, "request")
        if rules.works and keyset is None:
            from datetime import timedelta

            from ingest.keyset_custody import make_request_keyset

            make_request_keyset(parts, account, rotate=False, keep_former=timedelta(), actor=actor())
            hint(f"Made our keyset for requests of {account}: `sealdrop keyset export {account}`.")
    facts = _hpke_facts(account, rules)
    print_json(facts) if as_json else print_facts(facts)


@ca_app.command("add")
def add_authority(context: typer.Context, account: str, file: Path) -> None:
    """Let a CA issue client certificates for an account; from then on the account needs one.

    Example: `sealdrop api ca add acme acme-ca.pem`
    """
    from ingest.client_authorities import AuthorityRejected, read_authority

    with opened(context) as parts:
        needed_account(parts, account)
        try:
            authority = read_authority(read_file(file), parts.now())
        except AuthorityRejected as rejected:
            raise CommandFailed(f"{file}: {rejected}.") from None
        parts.api_accesses.add_authority(account, authority, now=parts.now(), actor=actor())
        mutual_tls = parts.settings.http.client_certificates != "off"
    out.print(f"CA {authority.fingerprint} added to {account}", markup=False)
    if not mutual_tls:
        hint("Nobody is asked for a certificate yet, so the account is shut out: set `client_certificates` in [http].")


@ca_app.command("list")
def list_authorities(context: typer.Context, account: str, as_json: AsJson = False) -> None:
    """List the CAs of an account.

    Example: `sealdrop api ca list acme`
    """
    with opened(context) as parts:
        found = [one for _, one in parts.api_accesses.authorities(needed_account(parts, account).id)]
    if as_json:
        print_json([_authority_facts(one) for one in found])
        return
    rows = [tuple(_authority_facts(one).values()) for one in found]
    empty = f"No CA: {account} needs no client certificate."
    print_table(("fingerprint", "subject", "expires"), rows, empty=empty)


@ca_app.command("remove")
def remove_authority(context: typer.Context, account: str, fingerprint: str) -> None:
    """Let the certificates of a CA open nothing more.

    Example: `sealdrop api ca remove acme 0f3a...`
    """
    with opened(context) as parts:
        needed_account(parts, account)
        if not parts.api_accesses.remove_authority(account, fingerprint, now=parts.now(), actor=actor()):
            raise CommandFailed(f"{account} has no CA {fingerprint}: `sealdrop api ca list {account}` shows them.")
    out.print(f"CA {fingerprint} of {account} removed", markup=False)


def _credential_facts(credential: Credential) -> dict[str, Any]:
    return {
        "credential_id": credential.credential_id,
        "account": credential.account,
        "scopes": list(credential.scopes),
        "created_at": credential.created_at,
    }


def _shown(credential: Credential) -> dict[str, object]:
    facts = _credential_facts(credential)
    return {
        "credential": facts["credential_id"],
        "account": facts["account"],
        "scopes": " ".join(facts["scopes"]),
        "since": facts["created_at"],
    }


def _hpke_facts(account: str, rules: HpkeRules) -> dict[str, Any]:
    return {
        "account": account,
        "enabled": rules.enabled,
        "entitled": rules.entitled,
        "enforced": rules.enforced,
        "works": rules.works,
    }


def _authority_facts(authority: ClientAuthority) -> dict[str, Any]:
    return {
        "fingerprint": authority.fingerprint,
        "subject": authority.subject,
        "expires_at": authority.expires_at,
    }

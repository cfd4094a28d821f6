"""``sealdrop account webhook``: where an account's notices are posted to."""

from __future__ import annotations

import asyncio
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.session import CommandFailed, actor, needed_account, opened
from ingest.cli.show import AsJson, hint, out, print_facts, print_json

if TYPE_CHECKING:
    from ingest.app import App
    from ingest.ledger.webhooks import Webhook
    from keystore.secret import Secret

app = typer.Typer(help="A customer's webhook: set, show, rotate its secret, test, remove.", no_args_is_help=True)


@app.command("set")
def set_(
    context: typer.Context,
    account: str,
    url: Annotated[str, typer.Argument(help="https URL to which notices are posted.")],
    as_json: AsJson = False,
) -> None:
    """Post a customer's notices to a URL. Prints the secret that signs them, this once; a new URL keeps the secret.

    Example: `sealdrop account webhook set acme https://hooks.acme.example/sealdrop`
    """
    from ingest.webhook_custody import set_webhook

    with opened(context) as parts:
        needed_account(parts, account)
        secret = set_webhook(parts, account, url, actor=actor())
    _show_secret(account, secret, as_json=as_json)
    if secret is None:
        hint("It is signed with the secret that it had.")
    hint(f"`sealdrop account webhook test {account}` posts a trial event.")


@app.command()
def show(context: typer.Context, account: str, as_json: AsJson = False) -> None:
    """Show a customer's webhook; never its secret.

    Example: `sealdrop account webhook show acme`
    """
    with opened(context) as parts:
        webhook = _needed(parts, account)
        previous = webhook.previous_until(parts.now())
    if as_json:
        facts: dict[str, Any] = {
            "account": account,
            "url": webhook.url,
            "created_at": webhook.created_at,
            "secret_created_at": webhook.secrets[0].created_at,
            "previous_secret_until": previous,
        }
        print_json(facts)
        return
    print_facts(
        {
            "account": account,
            "URL": webhook.url,
            "since": webhook.created_at,
            "secret since": webhook.secrets[0].created_at,
            "previous one": None if previous is None else f"signs until {previous:%Y-%m-%d %H:%M:%S UTC}",
        }
    )


@app.command()
def rotate(
    context: typer.Context,
    account: str,
    hours: Annotated[int, typer.Option(min=0, max=24 * 365, help="How long the former secret signs as well.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Sign with a new secret, printed this once; for some hours deliveries are signed with the former one as well.

    Example: `sealdrop account webhook rotate acme --hours 48`
    """
    from ingest.webhook_custody import rotate_secret

    with opened(context) as parts:
        _needed(parts, account)
        secret = rotate_secret(parts, account, keep_former=timedelta(hours=hours), actor=actor())
    _show_secret(account, secret, as_json=as_json)
    if hours:
        hint(f"The former secret signs as well for {hours} hours: let the receiver know the new one until then.")


@app.command()
def test(context: typer.Context, account: str) -> None:
    """Post an event `webhook.test` to a customer's webhook now, and say what it answers. Exit code 0 only for success.

    Example: `sealdrop account webhook test acme`
    """
    from ingest.notices.errors import NoticeError
    from ingest.notices.webhook import Event, post
    from ingest.webhook_custody import target_of

    with opened(context) as parts:
        _needed(parts, account)
        target = target_of(parts, account)
        if target is None:
            raise CommandFailed(f"The webhook of {account} was removed just now.")
        event = Event(f"msg_{secrets.token_hex(16)}", "webhook.test", parts.now(), {"account": account})
        try:
            status = asyncio.run(post(parts.settings.webhook, event, target, event.at))
        except NoticeError as error:
            raise CommandFailed(f"It was not delivered: {error.public}." + _detail(error)) from None
    out.print(f"delivered, status {status}, ID {event.id}", markup=False)


@app.command()
def remove(context: typer.Context, account: str) -> None:
    """Post nothing more for a customer, and forget the secret. Notices that wait for the webhook are given up.

    Example: `sealdrop account webhook remove acme`
    """
    with opened(context) as parts:
        _needed(parts, account)
        parts.webhooks.remove(account, now=parts.now(), actor=actor())
    out.print(f"webhook of {account} removed", markup=False)


def _detail(error: Any) -> str:
    return f"\n({error.detail})" if error.detail else ""


def _needed(parts: App, account: str) -> Webhook:
    needed_account(parts, account)
    webhook = parts.webhooks.get(account)
    if webhook is None:
        raise CommandFailed(f"The account {account} has no webhook: `sealdrop account webhook set` gives it one.")
    return webhook


def _show_secret(account: str, secret: Secret | None, *, as_json: bool) -> None:
    text = None if secret is None else secret.expose().decode()
    if as_json:
        print_json({"account": account, "secret": text})
        return
    out.print(f"webhook of {account} set", markup=False)
    if text is not None:
        out.print(f"secret  {text}", markup=False)
        hint("Give it to whoever runs the receiver, by a safe way: it is not shown again.")

"""``sealdrop notices``: the delivery log of mails and webhooks."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ingest.cli.session import CommandFailed, opened
from ingest.cli.show import AsJson, hint, out, print_deliveries, print_facts, print_json

app = typer.Typer(help="Notices by mail and webhook: list, show, retry.", no_args_is_help=True)


class DeliveryState(StrEnum):
    """How a notice can stand."""

    PENDING = "pending"
    SENT = "sent"
    GIVEN_UP = "given_up"
    FOLDED = "folded"
    WITHDRAWN = "withdrawn"


class By(StrEnum):
    """How a notice is delivered."""

    MAIL = "mail"
    WEBHOOK = "webhook"


@app.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
    state: Annotated[list[DeliveryState] | None, typer.Option(help="Only those that stand so; repeatable.")] = None,
    channel: Annotated[By | None, typer.Option(help="Only those by mail or by webhook.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest notices with their tries, and what the last one came to.

    Example: `sealdrop notices list --account acme --state pending --state given_up`
    """
    with opened(context) as parts:
        found = parts.deliveries.newest(account=account, channel=channel, states=state or (), limit=limit)
    if as_json:
        print_json([delivery.as_json() for delivery in found])
        return
    print_deliveries(found, empty="No notice of this kind.")


@app.command()
def show(context: typer.Context, notice_id: int, as_json: AsJson = False) -> None:
    """Show one notice; with --json also the facts that it tells.

    Example: `sealdrop notices show 12`
    """
    with opened(context) as parts:
        found = parts.deliveries.get(notice_id)
    if found is None:
        raise CommandFailed(f"There is no notice {notice_id}: `sealdrop notices list` shows the newest.")
    delivery, facts = found
    if as_json:
        print_json(delivery.as_json() | {"facts": facts})
        return
    print_facts(
        {
            "notice": delivery.id,
            "account": delivery.account,
            "import": delivery.import_id,
            "stage": delivery.stage.replace("_", " "),
            "to": f"{delivery.channel} {delivery.recipient}",
            "state": delivery.state,
            "told by": None if delivery.digest_id is None else f"notice {delivery.digest_id}",
            "ID": delivery.message_id,
            "written": delivery.created_at,
            "tries": delivery.attempts,
            "last try": delivery.last_attempt_at,
            "last status": delivery.last_status,
            "last error": delivery.error,
            "perhaps": "arrived, though no try ended well" if delivery.perhaps_taken and not delivery.sent_at else None,
            "next try": delivery.next_attempt_at,
            "sent": delivery.sent_at,
        }
    )


@app.command()
def retry(context: typer.Context, notice_id: int) -> None:
    """Try a notice again that was given up, once its cause is gone.

    Example: `sealdrop notices retry 12`
    """
    with opened(context) as parts:
        found = parts.deliveries.get(notice_id)
        if found is None:
            raise CommandFailed(f"There is no notice {notice_id}: `sealdrop notices list` shows the newest.")
        if not parts.outbox.retry(notice_id, parts.now()):
            raise CommandFailed(f"The notice {notice_id} is {found[0].state}: only one that was given up is retried.")
    out.print(f"notice {notice_id} waits again", markup=False)
    hint("The running service sends it within seconds.")

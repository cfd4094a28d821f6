"""An account's webhook: its secrets in the vault, what signs, and what is posted of an import, over real HTTPS."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook

from ingest.ledger.audit import lines
from ingest.ledger.tables import webhook_secrets
from ingest.notices.deliver import deliver_due
from ingest.notices.notice import Channel
from ingest.notices.settings import WebhookSettings
from ingest.notices.webhook import WebhookCourier
from ingest.webhook_custody import rotate_secret, set_webhook, target_of
from ingest.webhook_url import WebhookUrlInvalid
from keystore.errors import RecordTampered
from tests.notices.certificates import Authority
from tests.notices.receiver import Receiver, receiving
from tests.support.workshop import ACCOUNT, Workshop

URL = "https://hooks.acme.example/sealdrop"


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.app.close()


def made(workshop: Workshop, url: str = URL) -> str:
    """The secret of a new webhook, in words."""
    secret = set_webhook(workshop.app, ACCOUNT, url, actor="test")
    assert secret is not None
    return secret.expose().decode()


def rotated(workshop: Workshop, hours: int) -> str:
    secret = rotate_secret(workshop.app, ACCOUNT, keep_former=timedelta(hours=hours), actor="test")
    assert secret is not None
    return secret.expose().decode()


def signing(workshop: Workshop) -> list[str]:
    """The secrets that sign now, in words."""
    target = target_of(workshop.app, ACCOUNT)
    assert target is not None
    return [f"whsec_{base64.b64encode(secret.expose()).decode()}" for secret in target.secrets]


def test_secret_is_shown_once_and_stays_when_the_url_changes(workshop: Workshop) -> None:
    secret = made(workshop)
    assert secret.startswith("whsec_")
    assert set_webhook(workshop.app, ACCOUNT, "https://other.acme.example/", actor="test") is None
    target = target_of(workshop.app, ACCOUNT)
    assert target is not None
    assert target.url == "https://other.acme.example/"
    assert signing(workshop) == [secret]


def test_former_secret_signs_until_its_end(workshop: Workshop) -> None:
    first = made(workshop)
    second = rotated(workshop, 24)
    assert signing(workshop) == [second, first]
    workshop.pass_time(hours=25)
    assert signing(workshop) == [second]
    third = rotated(workshop, 1)
    assert signing(workshop) == [third, second]
    assert signing(workshop)[0] != rotated(workshop, 0)
    assert len(signing(workshop)) == 1


def test_secret_rests_sealed_and_opens_for_its_account_only(workshop: Workshop) -> None:
    """FAULTS K1."""
    secret = made(workshop)
    workshop.app.accounts.add("other", now=workshop.now, actor="test")
    set_webhook(workshop.app, "other", URL, actor="test")
    with workshop.app.database.read() as connection:
        rows = {row.account: row.sealed_secret for row in connection.execute(select(webhook_secrets))}
    assert secret.encode() not in b"".join(rows.values())
    with workshop.app.database.write() as connection:
        of_other = webhook_secrets.c.account == "other"
        connection.execute(update(webhook_secrets).where(of_other).values(sealed_secret=rows[ACCOUNT]))
    with pytest.raises(RecordTampered):
        target_of(workshop.app, "other")


def test_webhook_goes_with_its_account_and_the_audit_knows(workshop: Workshop) -> None:
    made(workshop)
    rotated(workshop, 1)
    set_webhook(workshop.app, ACCOUNT, URL, actor="test")
    assert workshop.app.webhooks.remove(ACCOUNT, now=workshop.now, actor="test")
    assert not workshop.app.webhooks.remove(ACCOUNT, now=workshop.now, actor="test")
    assert target_of(workshop.app, ACCOUNT) is None
    assert rotate_secret(workshop.app, ACCOUNT, keep_former=timedelta(0), actor="test") is None
    made(workshop)
    workshop.app.accounts.remove(ACCOUNT, now=workshop.now, actor="test")
    assert workshop.app.webhooks.get(ACCOUNT) is None
    with workshop.app.database.read() as connection:
        actions = [line.action for line in lines(connection) if line.action.startswith("webhook.")]
    assert actions == ["webhook.add", "webhook.rotate", "webhook.move", "webhook.remove", "webhook.add"]


def test_url_that_no_webhook_may_have_changes_nothing(workshop: Workshop) -> None:
    with pytest.raises(WebhookUrlInvalid):
        set_webhook(workshop.app, ACCOUNT, "http://acme.example/", actor="test")
    assert workshop.app.webhooks.get(ACCOUNT) is None


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[Receiver, Path]]:
    authority = Authority(tmp_path / "ca")
    with receiving(authority.server("localhost")) as receiver:
        yield receiver, authority.file


def delivered(workshop: Workshop, ca_file: Path) -> int:
    """A round of deliveries to webhooks; how many were taken."""
    app = workshop.app
    settings = WebhookSettings(ca_file=ca_file, allow_networks="127.0.0.1,::1")
    courier = WebhookCourier(settings, lambda account: asyncio.to_thread(target_of, app, account))
    return asyncio.run(deliver_due(app.outbox, {Channel.WEBHOOK: courier}, app.settings, lambda: workshop.now))


def events(receiver: Receiver, secret: str) -> list[dict[str, Any]]:
    """What came, in the order of the stages; each verified but for the age of its timestamp, whose clock is ours."""
    webhook = Webhook(secret)
    found = []
    for posted in receiver.posted:
        seconds = int(posted.headers["webhook-timestamp"])
        signed = webhook.sign(posted.headers["webhook-id"], datetime.fromtimestamp(seconds, UTC), posted.body.decode())
        assert signed in posted.headers["webhook-signature"].split()
        found.append(json.loads(posted.body))
    return found


def test_stages_of_an_import_are_posted_with_its_report(workshop: Workshop, receiver: tuple[Receiver, Path]) -> None:
    """CONTRACT 6: the same stages, signed; no value of a row."""
    server, ca_file = receiver
    secret = made(workshop, f"https://localhost:{server.port}/hook")
    workshop.received("identity,price\ncanary-1,1\ncanary-2,canary-x\n", columns={"price": {"dataType": "Integer"}})
    report = workshop.carried_out()
    assert delivered(workshop, ca_file) == 2
    picked_up, succeeded = events(server, secret)
    assert (picked_up["type"], succeeded["type"]) == ("import.picked_up", "import.succeeded")
    assert succeeded["data"] == json.loads(json.dumps(report.as_json()))
    assert succeeded["data"]["rejects"][0]["code"] == 600
    assert b"canary" not in b"".join(posted.body for posted in server.posted)
    assert len({posted.headers["webhook-id"] for posted in server.posted}) == 2


def test_delivery_that_fails_is_tried_again_under_its_id_and_stands_in_the_log(
    workshop: Workshop, receiver: tuple[Receiver, Path]
) -> None:
    server, ca_file = receiver
    secret = made(workshop, f"https://localhost:{server.port}/hook")
    server.status = 503
    workshop.received("identity\nu1\n", clientEmail="nobody")
    workshop.carried_out()
    assert delivered(workshop, ca_file) == 0
    (waiting,) = workshop.app.deliveries.newest(channel="webhook")
    assert (waiting.state, waiting.attempts, waiting.last_status) == ("pending", 1, 503)
    assert waiting.recipient == f"https://localhost:{server.port}"
    server.status = 200
    assert delivered(workshop, ca_file) == 0
    workshop.pass_time(minutes=1)
    assert delivered(workshop, ca_file) == 1
    (sent,) = workshop.app.deliveries.newest(channel="webhook")
    assert (sent.state, sent.attempts, sent.last_status, sent.error) == ("sent", 2, 200, None)
    first, second = server.posted
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == sent.message_id
    assert first.body == second.body
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert len(events(server, secret)) == 2


def test_notice_whose_webhook_was_removed_is_given_up(workshop: Workshop, receiver: tuple[Receiver, Path]) -> None:
    server, ca_file = receiver
    made(workshop, f"https://localhost:{server.port}/hook")
    workshop.received("identity\nu1\n", clientEmail="nobody")
    workshop.carried_out()
    workshop.app.webhooks.remove(ACCOUNT, now=workshop.now, actor="test")
    assert delivered(workshop, ca_file) == 0
    assert [one.state for one in workshop.app.deliveries.newest(channel="webhook")] == ["given_up"]


def test_webhook_that_is_down_holds_up_no_import_and_no_mail(
    workshop: Workshop, receiver: tuple[Receiver, Path]
) -> None:
    """FAULTS W7."""
    server, ca_file = receiver
    made(workshop, f"https://localhost:{server.port + 1 if server.port < 65535 else 1}/hook")
    for _ in range(3):
        workshop.received("identity\nu1\n")
        assert workshop.carried_out().state == "succeeded"
    assert delivered(workshop, ca_file) == 0
    mails = workshop.app.deliveries.newest(channel="mail")
    assert {(one.state, one.attempts) for one in mails} == {("pending", 0)}

"""Delivery of one notice to a webhook, as Standard Webhooks has it (docs/notices.md; docs/adr/0017).

    webhook-id         the delivery's ID, the same at every try
    webhook-timestamp  seconds since 1970 of this try
    webhook-signature  ``v1,`` and Base64 of HMAC-SHA256 over ``id.timestamp.body``, once for each secret, with blanks
                       between

TLS is checked against the host's name and the system's authorities, or those of ``ca_file``. Redirects are not
followed, no proxy is asked, and of the answer nothing but the status is read.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from ipaddress import IPv6Address
from typing import Any

import httpx

from ingest.addresses import Address, read_addresses
from ingest.notices.errors import DeliveryDeferred, DeliveryRefused
from ingest.notices.notice import FileStage, KeyStage, Notice, Stage
from ingest.notices.reach import addresses_of
from ingest.notices.settings import WebhookSettings
from ingest.webhook_url import WebhookUrlInvalid, check_webhook_url
from keystore.secret import Secret

_GONE = 410
_MOST_DETAIL_CHARACTERS = 300


@dataclass(frozen=True)
class Target:
    """Where an account's notices are posted to, and the secrets that sign them, the primary one first."""

    url: str = field(repr=False)
    secrets: tuple[Secret, ...]


@dataclass(frozen=True)
class Event:
    """What is posted: an ID, the same at each try, a type such as ``import.succeeded``, when it was, and the facts."""

    id: str
    type: str
    at: datetime
    data: dict[str, Any] = field(repr=False)

    def body(self) -> bytes:
        """The body, the same bytes at each try."""
        moment = self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps({"type": self.type, "timestamp": moment, "data": self.data}, ensure_ascii=False).encode()


def event_of(notice: Notice) -> Event:
    """The event that a notice is."""
    if isinstance(notice.stage, Stage):
        kind = f"import.{notice.stage}"
    elif isinstance(notice.stage, KeyStage):
        kind = "key.ending"
    elif isinstance(notice.stage, FileStage):
        kind = "file.waiting"
    else:
        raise DeliveryRefused("a digest is for people: a webhook has had each of its notices")
    return Event(notice.message_id, kind, notice.created_at, notice.report)


def signature(event_id: str, seconds: int, body: bytes, secrets: Sequence[Secret]) -> str:
    """The value of ``webhook-signature``."""
    content = b"%s.%d.%s" % (event_id.encode(), seconds, body)
    macs = [hmac.new(secret.expose(), content, hashlib.sha256).digest() for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in macs)


class WebhookCourier:
    """Posts notices to the webhooks of their accounts; holds no connection, and may post several at once."""

    def __init__(self, settings: WebhookSettings, target_of: Callable[[str], Awaitable[Target | None]]) -> None:
        self._settings = settings
        self._target_of = target_of

    async def deliver(self, notice: Notice, now: datetime) -> int:
        """Post a notice to where its account's webhook is now; raises as `post`."""
        event = event_of(notice)
        target = await self._target_of(notice.account)
        if target is None:
            raise DeliveryRefused("the account has no webhook any more")
        return await post(self._settings, event, target, now)


async def post(settings: WebhookSettings, event: Event, target: Target, now: datetime) -> int:
    """Return the status, of success, with which the receiver has taken the event.

    Raises `DeliveryRefused` for 410 Gone, `DeliveryDeferred` for any other answer and for none: no address that may be
    reached, no connection, TLS, no answer in time.
    """
    body, seconds = event.body(), int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Sealdrop/{version('sealdrop')}",
        "webhook-id": event.id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature(event.id, seconds, body, target.secrets),
    }
    try:
        async with asyncio.timeout(settings.timeout_s):
            status = await _status(settings, target.url, body, headers)
    except TimeoutError as error:
        raise DeliveryDeferred("the webhook did not answer in time") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:  # `ssl.SSLError` is an OSError
        what = "webhook's certificate does not pass" if _is_certificate(error) else "webhook cannot be reached"
        raise DeliveryDeferred(f"the {what}", detail=str(error)[:_MOST_DETAIL_CHARACTERS]) from error
    if 200 <= status < 300:
        return status
    if status == _GONE:
        raise DeliveryRefused("the webhook says that it is gone (410)", status=status)
    what = "redirects elsewhere, which is not followed" if 300 <= status < 400 else "did not take it"
    raise DeliveryDeferred(f"the webhook {what} ({status})", status=status)


async def _status(settings: WebhookSettings, url: str, body: bytes, headers: dict[str, str]) -> int:
    """Post to the first address that can be connected to."""
    try:
        parts = check_webhook_url(url, allow_http_to_localhost=settings.allow_http_to_localhost)
    except WebhookUrlInvalid as invalid:  # the settings have changed
        raise DeliveryDeferred("the webhook's URL is not allowed", detail=str(invalid)) from None
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    *others, last = await addresses_of(host, port, read_addresses(settings.allow_networks))
    context = await asyncio.to_thread(ssl.create_default_context, cafile=settings.ca_file)
    async with httpx.AsyncClient(verify=context, trust_env=False, timeout=settings.timeout_s) as client:
        for address in others:
            try:
                return await _posted(client, url, address, body, headers, host)
            except httpx.ConnectError:
                continue
        return await _posted(client, url, last, body, headers, host)


async def _posted(
    client: httpx.AsyncClient, url: str, address: Address, body: bytes, headers: dict[str, str], host: str
) -> int:
    """The status of the answer from this address, asked and checked by the name of its host."""
    named = httpx.URL(url)
    there = named.copy_with(host=f"[{address}]" if isinstance(address, IPv6Address) else str(address))
    request = client.build_request(
        "POST",
        there,
        content=body,
        headers={"Host": named.netloc.decode("ascii"), **headers},
        extensions={"sni_hostname": host},
    )
    answer = await client.send(request, stream=True, follow_redirects=False)
    await answer.aclose()  # the rest of the answer stays unread
    return answer.status_code


def _is_certificate(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False

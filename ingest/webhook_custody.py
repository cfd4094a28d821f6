"""Custody of webhooks' secrets: made, sealed, shown once, opened to sign.

A secret is 32 random bytes, written as receivers' libraries know it: ``whsec_`` and Base64 (docs/adr/0017).
"""

from __future__ import annotations

import base64
import secrets
import uuid
from datetime import timedelta

from ingest.app import App
from ingest.ledger.sealed import WEBHOOK_SECRET
from ingest.ledger.webhooks import SealedSecret
from ingest.notices.webhook import Target
from ingest.webhook_url import check_webhook_url
from keystore.secret import Secret

_SECRET_BYTES = 32


def set_webhook(app: App, account: str, url: str, *, actor: str) -> Secret | None:
    """Let the account's notices be posted to ``url``; its secret in words when it is new, to be shown once.

    A webhook that is there goes to the new URL and keeps its secret: then ``None``. Raises `WebhookUrlInvalid`, and
    what the vault raises.
    """
    check_webhook_url(url, allow_http_to_localhost=app.settings.webhook.allow_http_to_localhost)
    if app.webhooks.move(account, url, now=app.now(), actor=actor):
        return None
    secret, sealed = _made(app, account)
    app.webhooks.add(account, url, sealed, actor=actor)
    return _in_words(secret)


def rotate_secret(app: App, account: str, *, keep_former: timedelta, actor: str) -> Secret | None:
    """Sign with a new secret from now on, and with the former one for ``keep_former`` as well; the new one in words.

    ``None`` when the account has no webhook. Raises what the vault raises.
    """
    secret, sealed = _made(app, account)
    until = sealed.created_at + keep_former
    rotated = app.webhooks.rotate(account, sealed, former_until=until, actor=actor)
    return _in_words(secret) if rotated else None


def target_of(app: App, account: str) -> Target | None:
    """Where the account's notices go now, with the secrets that sign them; ``None`` when it has no webhook.

    Raises what the vault raises.
    """
    webhook = app.webhooks.get(account)
    if webhook is None:
        return None
    now, vault = app.now(), app.open_vault()
    signing = [one for one in webhook.secrets if one.until is None or one.until > now]
    opened = [vault.open(one.sealed, WEBHOOK_SECRET.record_id(account, one.secret_id)) for one in signing]
    return Target(webhook.url, tuple(opened))


def _made(app: App, account: str) -> tuple[Secret, SealedSecret]:
    secret, secret_id = Secret(secrets.token_bytes(_SECRET_BYTES)), str(uuid.uuid4())
    sealed = app.open_vault().seal(secret.expose(), WEBHOOK_SECRET.record_id(account, secret_id))
    return secret, SealedSecret(secret_id, sealed, app.now(), None)


def _in_words(secret: Secret) -> Secret:
    return Secret(b"whsec_" + base64.b64encode(secret.expose()))

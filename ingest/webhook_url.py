"""URLs that webhooks may have: https, a host, no login; and what of one may be shown and logged."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

MAX_URL_CHARACTERS = 2000

_LOCALHOST = ("localhost", "127.0.0.1", "::1")
_PRINTABLE = re.compile(r"[!-~]+")
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$)(?:{_LABEL}\.)*(?=[a-z]){_LABEL}")


class WebhookUrlInvalid(Exception):
    """A URL that no webhook may have; the text says why and what to do."""


def check_webhook_url(url: str, *, allow_http_to_localhost: bool) -> SplitResult:
    """The parts of a URL that may be posted to. Raises `WebhookUrlInvalid`.

    Whether its host may be reached is known only when its address is (`ingest.notices.reach`).
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise WebhookUrlInvalid(f"A webhook's URL has at most {MAX_URL_CHARACTERS} characters.")
    if not _PRINTABLE.fullmatch(url):
        raise WebhookUrlInvalid("A webhook's URL has no blanks and only ASCII characters: percent-encode the others.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise WebhookUrlInvalid(f"This is no URL: {error}.") from None
    if not host or port == 0 or not _is_host(host):
        raise WebhookUrlInvalid("A webhook's URL names a host, such as https://hooks.acme.example/sealdrop.")
    if parts.username is not None or parts.password is not None:
        raise WebhookUrlInvalid("A webhook's URL holds no user name and no password: the signature says who posts.")
    if parts.fragment:
        raise WebhookUrlInvalid("A webhook's URL has no fragment (`#...`): it would not be sent.")
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_http_to_localhost and host in _LOCALHOST):
        raise WebhookUrlInvalid(
            "A webhook's URL begins with https://. Only a receiver on this machine can do without, as http://localhost "
            "with `webhook.allow_http_to_localhost`."
        )
    return parts


def origin_of(url: str) -> str:
    """Scheme, host and port: what a log may hold. The path can be a secret."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{parts.port}" if parts.port is not None else "")


def _is_host(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return _HOST_NAME.fullmatch(host) is not None  # `hostname` is in lower case
    return True

"""Deliveries to webhooks: a real HTTPS server with a certificate of its own authority, and a receiver's library."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from ingest.addresses import read_addresses
from ingest.notices.errors import DeliveryDeferred, DeliveryRefused
from ingest.notices.reach import addresses_of, is_public
from ingest.notices.settings import WebhookSettings
from ingest.notices.webhook import Event, Target, post
from ingest.webhook_url import WebhookUrlInvalid, check_webhook_url, origin_of
from keystore.secret import Secret
from tests.notices.certificates import Authority
from tests.notices.receiver import Receiver, receiving

SECRET, FORMER = Secret(b"s" * 32), Secret(b"f" * 32)
EVENT = Event("msg_0123456789abcdef", "import.succeeded", datetime(2026, 11, 22, 8, 4, 11, tzinfo=UTC), {"id": "x"})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def receiver(authority: Authority) -> Iterator[Receiver]:
    with receiving(authority.server("localhost")) as receiver:
        yield receiver


def target(receiver: Receiver, *, host: str = "localhost", path: str = "/hook?token=t") -> Target:
    return Target(f"https://{host}:{receiver.port}{path}", (SECRET,))


def settings(authority: Authority, **changed: Any) -> WebhookSettings:
    base = {"ca_file": authority.file, "allow_networks": "127.0.0.0/8,::1", "timeout_s": 10}
    return WebhookSettings(**base | changed)


def in_words(secret: Secret) -> str:
    return f"whsec_{base64.b64encode(secret.expose()).decode()}"


async def test_receiver_s_library_accepts_what_is_posted(authority: Authority, receiver: Receiver) -> None:
    """Standard Webhooks, checked by its own library."""
    now = datetime.now(UTC)
    assert await post(settings(authority), EVENT, target(receiver), now) == 204
    (posted,) = receiver.posted
    assert posted.path == "/hook?token=t"
    assert posted.headers["Host"] == f"localhost:{receiver.port}"
    assert posted.headers["Content-Type"] == "application/json"
    assert posted.headers["webhook-id"] == EVENT.id
    assert posted.headers["webhook-timestamp"] == str(int(now.timestamp()))
    told = Webhook(in_words(SECRET)).verify(posted.body, dict(posted.headers.items()))
    assert told == {"type": "import.succeeded", "timestamp": "2026-11-22T08:04:11.000Z", "data": {"id": "x"}}


async def test_signature_covers_body_time_and_id(authority: Authority, receiver: Receiver) -> None:
    await post(settings(authority), EVENT, target(receiver), datetime.now(UTC))
    (posted,) = receiver.posted
    headers = dict(posted.headers.items())
    for changed in (
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)},
    ):
        with pytest.raises(Exception, match="signature"):
            Webhook(in_words(SECRET)).verify(posted.body, headers | changed)
    with pytest.raises(Exception, match="signature"):
        Webhook(in_words(SECRET)).verify(posted.body + b" ", headers)
    with pytest.raises(Exception, match="signature"):
        Webhook(in_words(FORMER)).verify(posted.body, headers)


async def test_both_secrets_sign_while_one_is_being_rotated(authority: Authority, receiver: Receiver) -> None:
    both = Target(target(receiver).url, (SECRET, FORMER))
    await post(settings(authority), EVENT, both, datetime.now(UTC))
    (posted,) = receiver.posted
    for secret in (SECRET, FORMER):
        assert Webhook(in_words(secret)).verify(posted.body, dict(posted.headers.items()))


@pytest.mark.parametrize("status", [300, 301, 307, 308, 400, 401, 404, 429, 500, 503])
async def test_answer_that_is_no_success_is_tried_again(authority: Authority, receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(DeliveryDeferred, match=str(status)) as caught:
        await post(settings(authority), EVENT, target(receiver), datetime.now(UTC))
    assert caught.value.status == status


async def test_receiver_that_is_gone_is_not_tried_again(authority: Authority, receiver: Receiver) -> None:
    receiver.status = 410
    with pytest.raises(DeliveryRefused, match="410"):
        await post(settings(authority), EVENT, target(receiver), datetime.now(UTC))


async def test_redirect_is_not_followed(authority: Authority, receiver: Receiver) -> None:
    with receiving() as elsewhere:
        receiver.status, receiver.headers = 307, {"Location": f"http://127.0.0.1:{elsewhere.port}/"}
        with pytest.raises(DeliveryDeferred, match="not followed"):
            await post(settings(authority), EVENT, target(receiver), datetime.now(UTC))
        assert elsewhere.posted == []


async def test_answer_without_end_is_not_read(authority: Authority, receiver: Receiver) -> None:
    receiver.status, receiver.how = 200, "endless"
    assert await post(settings(authority), EVENT, target(receiver), datetime.now(UTC)) == 200


@pytest.mark.parametrize("how", ["hang", "drip"])
async def test_receiver_that_does_not_come_to_an_end_is_left(
    authority: Authority, receiver: Receiver, how: str
) -> None:
    receiver.how = how
    with pytest.raises(DeliveryDeferred, match="in time"):
        await post(settings(authority, timeout_s=0.5), EVENT, target(receiver), datetime.now(UTC))


async def test_answer_that_is_no_http_is_tried_again(authority: Authority, receiver: Receiver) -> None:
    receiver.how = "garbage"
    with pytest.raises(DeliveryDeferred, match="cannot be reached"):
        await post(settings(authority), EVENT, target(receiver), datetime.now(UTC))


@pytest.mark.parametrize(
    ("host", "days", "trusted"), [("localhost", -1, True), ("hooks.test", 1, True), ("localhost", 1, False)]
)
async def test_certificate_must_be_for_the_host_current_and_known(
    authority: Authority, tmp_path: Path, host: str, days: int, trusted: bool
) -> None:
    ca_file = authority.file if trusted else Authority(tmp_path).file
    with receiving(authority.server(host, days=days)) as receiver:
        with pytest.raises(DeliveryDeferred, match="certificate"):
            await post(settings(authority, ca_file=ca_file), EVENT, target(receiver), datetime.now(UTC))
        assert receiver.posted == []


async def test_proxy_of_the_environment_is_not_asked(
    authority: Authority, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would connect to addresses that nobody checked."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await post(settings(authority), EVENT, target(receiver), datetime.now(UTC)) == 204


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"])
async def test_internal_address_is_not_reached_unless_it_is_allowed(
    authority: Authority, receiver: Receiver, host: str
) -> None:
    with pytest.raises(DeliveryDeferred, match="internal"):
        await post(settings(authority, allow_networks=""), EVENT, target(receiver, host=host), datetime.now(UTC))
    assert receiver.posted == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254",
        "ff02::1", "2001:db8::1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1",
        "2002:7f00:1::", "2002:a9fe:a9fe::1",
    ],
)  # fmt: skip
def test_address_that_is_not_public(address: str) -> None:
    """Private, loopback, link-local, shared, multicast, reserved, and IPv6 that leads to such IPv4."""
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"]
)
def test_address_that_is_public(address: str) -> None:
    assert is_public(ip_address(address))


async def test_other_ways_of_writing_an_address_lead_to_the_same_check() -> None:
    """What the resolver makes of it is checked, not the text."""
    for host in ("127.1", "2130706433", "0x7f000001"):
        with pytest.raises(DeliveryDeferred):
            await addresses_of(host, 443, read_addresses(""))


@pytest.mark.parametrize(
    "url",
    [
        "", "acme.example", "ftp://acme.example/", "http://acme.example/", "http://localhost/", "https://",
        "https:///path", "https://a:b@acme.example/", "https://@acme.example/", "https://acme.example/#part",
        "https://acme.example:0/", "https://acme.example:99999/", "https://acme.example/a b", "https://acme.example/\n",
        "https://[::1", "https://acme..example/", "https://-acme.example/", "https://münchen.example/",
        "https://" + "a" * 2000, "javascript:alert(1)",
    ],
)  # fmt: skip
def test_url_that_no_webhook_may_have(url: str) -> None:
    with pytest.raises(WebhookUrlInvalid):
        check_webhook_url(url, allow_http_to_localhost=False)


def test_url_that_a_webhook_may_have() -> None:
    for url in ("https://acme.example", "https://hooks.acme.example:8443/a/b?c=d", "https://[2606:4700::1111]/x"):
        check_webhook_url(url, allow_http_to_localhost=False)
    check_webhook_url("http://localhost:8080/hook", allow_http_to_localhost=True)
    with pytest.raises(WebhookUrlInvalid):
        check_webhook_url("http://acme.example/", allow_http_to_localhost=True)
    assert origin_of("https://Hooks.acme.example:8443/secret?c=d") == "https://hooks.acme.example:8443"


async def test_plain_http_reaches_this_machine_where_both_settings_allow_it(authority: Authority) -> None:
    with receiving() as receiver:
        plain = Target(f"http://127.0.0.1:{receiver.port}/", (SECRET,))
        allowed = settings(authority, allow_http_to_localhost=True)
        assert await post(allowed, EVENT, plain, datetime.now(UTC)) == 204
        with pytest.raises(DeliveryDeferred, match="not allowed"):
            await post(settings(authority), EVENT, plain, datetime.now(UTC))
        assert len(receiver.posted) == 1


def test_body_is_the_same_at_each_try() -> None:
    """So that a receiver can compare what came twice."""
    assert EVENT.body() == EVENT.body()
    assert json.loads(EVENT.body())["type"] == "import.succeeded"


async def test_logs_hold_neither_the_path_nor_a_secret(authority: Authority, receiver: Receiver) -> None:
    """FAULTS M4: credentials are never logged, and a path may be one."""
    receiver.status = 500
    with capture_logs() as logs, pytest.raises(DeliveryDeferred) as caught:
        await post(settings(authority), EVENT, target(receiver, path="/canary"), datetime.now(UTC))
    told = repr(logs) + repr(caught.value) + caught.value.detail + repr(target(receiver, path="/canary"))
    assert "canary" not in told
    assert base64.b64encode(SECRET.expose()).decode() not in told

"""``sealdrop notices`` and ``sealdrop account webhook``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Desk
from tests.notices.certificates import Authority
from tests.notices.receiver import receiving

URL = "https://hooks.acme.example/canary-path"


@pytest.fixture
def acme(desk: Desk) -> Desk:
    desk.run("account", "add", "acme", "--contact", "data@acme.example")
    return desk


@pytest.fixture
def imported(acme: Desk) -> Desk:
    """An import that failed, with its notices."""
    acme.run("import", "run", "acme", acme.write("bad.manifest", "{"), code=1)
    return acme


def test_notices_are_listed_with_how_they_stand(imported: Desk) -> None:
    (notice,) = imported.json("notices", "list", "--account", "acme")
    assert (notice["stage"], notice["channel"], notice["state"], notice["attempts"]) == ("failed", "mail", "pending", 0)
    assert notice["next_attempt_at"] is not None
    table = imported.run("notices", "list").out
    for part in ("failed", "mail data@acme.example", "pending"):
        assert part in table
    for nothing in (("--state", "sent"), ("--channel", "webhook"), ("--account", "other")):
        assert imported.json("notices", "list", *nothing) == []
    assert len(imported.json("notices", "list", "--state", "sent", "--state", "pending")) == 1


def test_one_notice_is_shown_with_what_it_tells(imported: Desk) -> None:
    notice = imported.json("notices", "show", "1")
    assert notice["facts"]["code"] == "manifest.invalid"
    assert notice["message_id"] in imported.run("notices", "show", "1").out


def test_only_a_notice_that_was_given_up_is_retried(imported: Desk) -> None:
    assert "only one that was given up" in imported.fails("notices", "retry", "1")
    for command in ("show", "retry"):
        assert "no notice 7" in imported.fails("notices", command, "7")


def test_secret_is_printed_once(acme: Desk) -> None:
    made = acme.json("account", "webhook", "set", "acme", URL)
    assert made["secret"].startswith("whsec_")
    again = acme.run("account", "webhook", "set", "acme", f"{URL}/2")
    assert "whsec_" not in again.out + again.err
    shown = acme.json("account", "webhook", "show", "acme")
    assert shown["url"] == f"{URL}/2"
    assert shown["previous_secret_until"] is None
    told = acme.run("account", "webhook", "show", "acme").out + str(shown) + acme.run("account", "show", "acme").out
    assert "whsec_" not in told
    assert acme.json("account", "show", "acme")["webhook"] == "https://hooks.acme.example"
    rotated = acme.json("account", "webhook", "rotate", "acme", "--hours", "2")
    assert rotated["secret"] not in (None, made["secret"])
    assert acme.json("account", "webhook", "show", "acme")["previous_secret_until"] is not None


def test_account_without_a_webhook_is_told_how_to_get_one(acme: Desk) -> None:
    for command in ("show", "rotate", "test", "remove"):
        assert "account webhook set" in acme.fails("account", "webhook", command, "acme")
    acme.run("account", "webhook", "set", "acme", URL)
    acme.run("account", "webhook", "remove", "acme")
    assert "no webhook" in acme.fails("account", "webhook", "remove", "acme")


@pytest.mark.parametrize("url", ["http://acme.example/", "https://a:b@acme.example/", "acme.example"])
def test_url_that_is_not_allowed_is_refused_with_the_reason(acme: Desk, url: str) -> None:
    assert "webhook's URL" in acme.fails("account", "webhook", "set", "acme", url)
    assert acme.json("account", "show", "acme")["webhook"] is None


def test_trial_event_says_what_the_receiver_answers(acme: Desk, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with receiving(authority.server("localhost")) as receiver:
        acme.run("account", "webhook", "set", "acme", f"https://localhost:{receiver.port}/")
        said = acme.fails("account", "webhook", "test", "acme")
        assert "internal address" in said
        assert "webhook.allow_networks" in said
        with acme.config.open("a") as settings:
            settings.write(f'\n[webhook]\nallow_networks = "127.0.0.1,::1"\nca_file = "{authority.file}"\n')
        assert "delivered, status 204" in acme.run("account", "webhook", "test", "acme").out
        receiver.status = 500
        assert "(500)" in acme.fails("account", "webhook", "test", "acme")
    assert [b'"type": "webhook.test"' in posted.body for posted in receiver.posted] == [True, True]


def test_account_with_a_webhook_alone_is_complete(desk: Desk) -> None:
    desk.run("account", "add", "acme")
    desk.run("account", "webhook", "set", "acme", URL)
    texts = {finding["check"]: finding["text"] for finding in desk.run("check", "--json", code=0).json}
    assert "no address for notices" not in texts["account acme"]

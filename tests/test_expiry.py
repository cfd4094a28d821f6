"""The look at key pairs: who is told how often that a pair ends, and what is retired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.app import App
from ingest.custody import Rotation, make_pair
from ingest.expiry import due_stage, endings, look_at_keys
from ingest.installation import Choices, initialise
from ingest.ledger.outbox import NewNotice
from ingest.ledger.pgp_keys import PgpKey
from ingest.notices.notice import KeyStage, Notice
from ingest.states import PairState

CONTACTS = ["a@acme.example", "b@acme.example"]
EVERYTHING = timedelta(days=400)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App(initialise(tmp_path / "sealdrop", Choices(host="127.0.0.1", port=2222, mail_host="", mail_port=587)))
    app.accounts.add("acme", now=app.now(), actor="test", contact_addresses=CONTACTS)
    yield app
    app.close()


def made(app: App, days: int | None = 100) -> PgpKey:
    lasts = None if days is None else timedelta(days=days)
    return make_pair(app, "acme", "cv25519", lasts=lasts, actor="test")


def look(app: App, now: datetime) -> int:
    return look_at_keys(app.accounts, app.pgp_keys, app.outbox, now)


def told(app: App) -> list[Notice]:
    """All that was enqueued, oldest first."""
    return app.outbox.due(app.now() + EVERYTHING, 1000)


def end_of(key: PgpKey) -> datetime:
    assert key.expires_at is not None
    return key.expires_at


def test_each_contact_is_told_30_7_and_1_days_before_and_once_each(app: App) -> None:
    ends = end_of(made(app))
    for hour in range(40 * 24, -48, -1):  # every hour, from 40 days before to 2 days after
        if hour % 6 == 0 or hour in (720, 721, 168, 169, 24, 25, 0):
            look(app, ends - timedelta(hours=hour))
    notices = told(app)
    assert sorted({notice.recipient for notice in notices}) == CONTACTS
    for contact in CONTACTS:
        mine = [notice for notice in notices if notice.recipient == contact]
        left = [(notice.stage, ends - notice.created_at) for notice in mine]
        assert left == [
            (KeyStage.DAYS_30, timedelta(days=30)),
            (KeyStage.DAYS_7, timedelta(days=7)),
            (KeyStage.DAY_1, timedelta(days=1)),
        ]
    assert len({notice.message_id for notice in notices}) == 6


def test_look_that_was_missed_is_made_good_by_the_latest_notice_only(app: App) -> None:
    ends = end_of(made(app))
    assert look(app, ends - timedelta(days=5)) == 2
    assert {notice.stage for notice in told(app)} == {KeyStage.DAYS_7}
    assert look(app, ends) == look(app, ends + timedelta(days=1)) == 0


def test_new_contact_is_told_as_well_and_the_old_ones_not_again(app: App) -> None:
    ends = end_of(made(app))
    ((stage, news),) = endings(app.pgp_keys.of_account("acme"), ends - timedelta(days=3))
    old = [NewNotice(stage, CONTACTS[0], None)]
    assert app.outbox.tell("acme", news.subject, news.key_id, news.as_json(), old, app.now()) == 1
    assert look(app, ends - timedelta(days=3)) == 1


def test_nobody_is_told_of_what_does_not_end_or_is_over(app: App) -> None:
    made(app, None)
    retired, destroyed = made(app), made(app)
    app.pgp_keys.move([retired], PairState.RETIRED, actor="test", now=app.now())
    app.pgp_keys.move([destroyed], PairState.DESTROYED, actor="test", now=app.now())
    assert look(app, end_of(retired) - timedelta(days=1)) == 0


def test_key_that_retires_is_told_of_and_retired_on_its_day(app: App) -> None:
    key, other = made(app, None), made(app, None)
    day = app.now() + timedelta(days=20)
    app.pgp_keys.move([key], PairState.RETIRING, actor="test", now=app.now(), retires_at=day)
    assert look(app, app.now()) == 2
    facts = told(app)[0].report
    assert (facts["why"], facts["others"], facts["successor"]) == ("retires", [other.key_id], None)
    assert look(app, day - timedelta(hours=12)) == 2
    look(app, day)
    assert [each.state for each in app.pgp_keys.of_account("acme")] == ["retired", "active"]


def test_other_day_is_told_anew(app: App) -> None:
    key = made(app, None)
    for days in (20, 25):
        day = app.now() + timedelta(days=days)
        app.pgp_keys.move([key], PairState.RETIRING, actor="test", now=app.now(), retires_at=day)
        assert look(app, app.now()) == 2


def test_previous_pair_is_told_of_with_the_one_that_took_its_place(app: App) -> None:
    key = made(app)
    until = app.now() + timedelta(days=30)
    new = make_pair(app, "acme", "cv25519", rotation=Rotation(key, until), actor="test")
    look(app, app.now() + timedelta(days=1))
    (facts,) = {str(notice.report) for notice in told(app)}
    assert new.fingerprint in facts
    assert key.fingerprint in facts
    assert "retires" in facts


def test_notice_waits_in_the_ledger_until_it_is_sent(app: App) -> None:
    """Durable: another process delivers what this one has enqueued."""
    look(app, end_of(made(app)) - timedelta(days=1))
    later = App(app.settings)
    assert len(told(later)) == 2
    later.close()


@pytest.mark.parametrize(
    ("left", "stage"),
    [
        (timedelta(days=31), None),
        (timedelta(days=30, microseconds=1), None),
        (timedelta(days=30), KeyStage.DAYS_30),
        (timedelta(days=7, microseconds=1), KeyStage.DAYS_30),
        (timedelta(days=7), KeyStage.DAYS_7),
        (timedelta(days=1), KeyStage.DAY_1),
        (timedelta(microseconds=1), KeyStage.DAY_1),
        (timedelta(0), None),
    ],
    ids=str,
)
def test_stages_and_their_borders(left: timedelta, stage: KeyStage | None) -> None:
    now = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
    assert due_stage(now + left, now) == stage

"""Accounts that are disabled or removed while their files are on the way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from ingest import account_life
from ingest.carry import Carrier
from ingest.errors import AlreadyThere, MoveRefused
from ingest.keyset_custody import make_request_keyset
from ingest.ledger.imports import new_import_id
from ingest.ledger.tables import audit
from ingest.states import PairState, State
from manifests.types import ImportType
from tests.support.workshop import ACCOUNT, EMAIL, Workshop

CSV = "identity,score\nu1,1\nu2,2\n"


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.app.close()


def disabled(workshop: Workshop) -> account_life.Ended:
    return account_life.disable(workshop.app, ACCOUNT, actor="test")


def removed(workshop: Workshop) -> account_life.Ended:
    return account_life.remove(workshop.app, ACCOUNT, actor="test")


def assert_ended_by_it(workshop: Workshop, import_id: str) -> None:
    report = workshop.report(import_id)
    assert (report.state, report.code, report.rows_stored) == (State.FAILED, "account.disabled", 0)
    assert ACCOUNT in (report.message or "")
    assert report.remedy
    assert report.client_email == EMAIL
    assert "failed" in workshop.stages(import_id)


def deferred(workshop: Workshop) -> str:
    """An import that waits for its next try, which is not due."""
    lake = workshop.settings.lake_dir
    lake.rmdir()
    lake.write_text("not a folder")
    import_id = workshop.received(CSV)
    assert workshop.carried_out().state == State.DEFERRED
    lake.unlink()
    lake.mkdir()
    return import_id


def test_waiting_imports_of_a_disabled_account_end_with_a_notice(workshop: Workshop) -> None:
    """FAULTS K8: ready, and deferred though not due."""
    late = deferred(workshop)
    ready = workshop.received(CSV)
    assert disabled(workshop) == account_life.Ended(2, 0)
    for import_id in (late, ready):
        assert_ended_by_it(workshop, import_id)
    assert workshop.stages(ready) == ["failed"]
    assert workshop.app.queue.claim(workshop.now) is None
    assert disabled(workshop) == account_life.Ended(0, 0)


def test_what_arrives_at_a_disabled_account_ends_as_well_and_can_be_tried_again(workshop: Workshop) -> None:
    """FAULTS K8: a file that was in the drop already; nothing of it is lost."""
    disabled(workshop)
    import_id = workshop.received(CSV)
    workshop.carried_out()
    assert_ended_by_it(workshop, import_id)
    account_life.enable(workshop.app, ACCOUNT, actor="test")
    assert workshop.app.imports.retry(import_id, workshop.now)
    assert workshop.carried_out().state == State.SUCCEEDED


def test_import_that_a_worker_holds_is_finished_by_the_worker(workshop: Workshop) -> None:
    workshop.received(CSV)
    lease = workshop.claimed()
    assert disabled(workshop) == account_life.Ended(0, 1)
    assert workshop.report(lease.report.id).state == State.RUNNING
    with pytest.raises(MoveRefused, match="not over yet"):
        removed(workshop)
    workshop.app.carrier.carry_out(lease)
    assert_ended_by_it(workshop, lease.report.id)
    removed(workshop)


def test_import_that_is_in_the_lake_already_is_a_success(workshop: Workshop) -> None:
    """The verdict follows the lake: its worker died between the commit and the settling."""
    workshop.received(CSV)
    lease = workshop.claimed()

    class Dying(Carrier):
        def _settle(self, *_: object) -> None:
            raise MemoryError

    workshop.app.carrier.__class__ = Dying
    workshop.app.carrier.carry_out(lease)
    workshop.app.carrier.__class__ = Carrier
    assert workshop.report(lease.report.id).state == State.RUNNING
    workshop.pass_time(seconds=61)
    disabled(workshop)
    report = workshop.report(lease.report.id)
    assert (report.state, report.rows_stored) == (State.SUCCEEDED, 2)


def test_removed_account_loses_everything_but_its_data_and_its_history(workshop: Workshop) -> None:
    """FAULTS K8: also what is held, and what is only half taken."""
    app = workshop.app
    workshop.received(CSV)
    stored = workshop.carried_out()
    held = workshop.received(CSV)
    for _ in range(3):
        workshop.claimed()
        workshop.pass_time(seconds=61)
    assert workshop.carried_out().state == State.HELD
    waiting = workshop.received(CSV)
    half_taken = new_import_id(workshop.now)
    app.imports.receive(half_taken, ACCOUNT, "b.manifest", "b.csv.asc", workshop.now)
    (app.spool.drop(ACCOUNT) / "left.csv.asc").write_bytes(b"cipher text")
    make_request_keyset(app, ACCOUNT, rotate=False, keep_former=timedelta(days=30), actor="test")

    assert removed(workshop).unfinished == 0
    assert_ended_by_it(workshop, waiting)
    assert workshop.report(half_taken).code == "manifest.file_missing"
    assert workshop.stages(half_taken) == ["failed"]
    assert workshop.report(held).state == State.FAILED
    assert workshop.stages(held) == ["failed"]
    account = app.accounts.get(ACCOUNT)
    assert account is not None
    assert (account.state, account.contacts, account.ssh_keys) == ("removed", (), ())
    assert app.accounts.all() == []
    (key,) = app.pgp_keys.of_account(ACCOUNT)
    assert key.state is PairState.DESTROYED
    assert app.keysets.of_account(ACCOUNT) == []
    assert not app.spool.drop(ACCOUNT).exists()
    assert [path for path in app.spool.root.rglob("*") if path.is_file() and not path.name.endswith(".lock")] == []
    assert app.lake.stored(ACCOUNT, ImportType.PROFILE, stored.id) == 2
    with app.database.read() as connection:
        actions = list(connection.scalars(select(audit.c.action).order_by(audit.c.id)))
    assert actions[-2:] == ["key.destroyed", "account.remove"]


def test_name_of_a_removed_account_is_not_given_again(workshop: Workshop) -> None:
    """Its data is still in the lake under this name."""
    removed(workshop)
    with pytest.raises(AlreadyThere):
        workshop.app.accounts.add(ACCOUNT, now=workshop.now, actor="test")
    with pytest.raises(MoveRefused):
        removed(workshop)
    with pytest.raises(MoveRefused):
        account_life.enable(workshop.app, ACCOUNT, actor="test")


def test_removal_that_was_interrupted_is_finished_by_the_next(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = workshop.received(CSV)

    def full(_account: str) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(workshop.app.spool, "remove_account", full)
        with pytest.raises(OSError, match="disk"):
            removed(workshop)
    assert [account.state for account in workshop.app.accounts.all()] == ["disabled"]
    removed(workshop)
    assert_ended_by_it(workshop, import_id)
    assert workshop.app.accounts.all() == []

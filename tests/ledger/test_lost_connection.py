"""Every write of the ledger whose connection is cut at its COMMIT, or at any statement of it, and then done again.

Between the writer and a real PostgreSQL is `tests.support.cut_postgres`. Nobody who writes can tell whether a commit
was made whose answer was lost: so what is seen afterwards must be the same when it was, and when it was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from ingest.errors import AlreadyThere, LeaseLost, LedgerUnavailable
from ingest.ledger.accounts import Accounts
from ingest.ledger.database import Database
from ingest.ledger.deliveries import Deliveries
from ingest.ledger.imports import Imports, new_import_id
from ingest.ledger.master_keys import MasterKeys
from ingest.ledger.outbox import NewNotice, Outbox
from ingest.ledger.queue import Lease, Queue
from ingest.ledger.tables import audit, imports, notices
from ingest.ledger.timeline import Timeline, What
from ingest.ledger.uploads import Remembered, Uploads
from ingest.notices.notice import Stage
from ingest.states import State
from tests.ledger.conftest import NOW, VAULT
from tests.support.cut_postgres import Cut, CutPostgres
from tests.support.postgres import Postgres

LEASE = timedelta(seconds=60)
LATER = NOW + timedelta(seconds=1)
NOTICE = NewNotice(Stage.SUCCEEDED, "data@acme.example", None)
AT_COMMIT = [Cut.BEFORE_COMMIT, Cut.AFTER_COMMIT]


@dataclass
class Ground:
    """A ledger that is reached through the proxy, and what uses it."""

    proxy: CutPostgres
    database: Database

    def __post_init__(self) -> None:
        self.imports = Imports(self.database)
        self.queue = Queue(self.database, lease=LEASE)
        self.outbox = Outbox(self.database)

    def received(self) -> str:
        import_id = new_import_id(NOW)
        self.imports.receive(import_id, "acme", "users.manifest", "users.csv.asc", NOW, state=State.READY)
        return import_id

    def claimed(self) -> Lease:
        lease = self.queue.claim(NOW)
        assert lease is not None
        return lease

    def settled(self) -> str:
        """An import that is over, with a notice that is due."""
        self.received()
        lease = self.claimed()
        self.queue.settle(lease, replace(lease.report, state=State.SUCCEEDED), [NOTICE], NOW)
        return lease.report.id

    def row(self, import_id: str) -> tuple[State, int, int, int]:
        """State, tries, lost workers and fence of an import."""
        wanted = select(imports.c.state, imports.c.attempts, imports.c.lost, imports.c.fence)
        with self.database.read() as connection:
            state, *numbers = connection.execute(wanted.where(imports.c.id == import_id)).one()
        return State(state), *numbers

    def claims(self, import_id: str) -> int:
        entries = Timeline(self.database).of_import(import_id)
        return sum(entry.what is What.CLAIMED for entry in entries)

    def notices(self) -> list[tuple[str, int]]:
        """State and tries of each."""
        with self.database.read() as connection:
            rows = connection.execute(select(notices.c.state, notices.c.attempts).order_by(notices.c.id))
            return [(row.state, row.attempts) for row in rows]

    def cut(self, cut: Cut, write: Callable[[], object], number: int = 1) -> None:
        """Do it with a connection that is cut there."""
        before = self.proxy.cuts
        with self.proxy.cutting(cut, number), pytest.raises(LedgerUnavailable) as refused:
            write()
        assert self.proxy.cuts == before + 1
        assert ("look whether it is done" in str(refused.value)) == (cut in AT_COMMIT)


@pytest.fixture
def ground(postgres: Postgres, migrated: str) -> Iterator[Ground]:
    proxy = CutPostgres(postgres, postgres.new(migrated))
    try:
        with closing(Database(proxy.url)) as database:
            MasterKeys(database).begin(VAULT, at=NOW, actor="test")
            Accounts(database).add("acme", now=NOW, actor="test", contact_addresses=["data@acme.example"])
            yield Ground(proxy, database)
    finally:
        proxy.close()


@pytest.mark.parametrize("cut", AT_COMMIT)
def test_claim_is_one_try_and_loses_no_worker(ground: Ground, cut: Cut) -> None:
    """FAULTS.md W6: the worker looks the import up, and goes on with its claim if it was made."""
    import_id = ground.received()
    ground.cut(cut, lambda: ground.queue.claim(NOW))
    lease = ground.queue.claim(LATER)
    assert lease is not None
    assert (lease.report.id, lease.report.attempts, lease.lost) == (import_id, 1, 0)
    assert ground.row(import_id) == (State.RUNNING, 1, 0, 1)
    assert ground.claims(import_id) == 1
    assert ground.queue.claim(NOW + LEASE) is None, "the lease counts from when the claim was found"
    ground.queue.settle(lease, replace(lease.report, state=State.SUCCEEDED), [NOTICE], LATER)
    assert ground.notices() == [("pending", 0)]


def test_claim_that_was_not_made_and_went_to_another_worker_is_not_taken_for_ones_own(ground: Ground) -> None:
    """FAULTS.md W2, W6: the other's claim has the same fence."""
    import_id = ground.received()
    ground.cut(Cut.BEFORE_COMMIT, lambda: ground.queue.claim(NOW))
    other = Queue(ground.database, lease=LEASE)
    assert other.claim(LATER) is not None
    assert ground.queue.claim(LATER) is None
    assert ground.row(import_id) == (State.RUNNING, 1, 0, 1)


def test_claim_that_another_worker_took_over_is_gone(ground: Ground) -> None:
    """FAULTS.md W2, W6: nobody heard of the claim until its lease was over."""
    import_id = ground.received()
    ground.cut(Cut.AFTER_COMMIT, lambda: ground.queue.claim(NOW))
    assert Queue(ground.database, lease=LEASE).claim(NOW + LEASE * 2) is not None
    assert ground.queue.claim(NOW + LEASE * 2) is None
    assert ground.row(import_id) == (State.RUNNING, 2, 1, 2)


@pytest.mark.parametrize("cut", AT_COMMIT)
def test_receipt_and_readiness_are_repeated_by_their_id(ground: Ground, cut: Cut) -> None:
    """FAULTS.md W6: what is received is looked up before a drop is looked into; to be ready twice is to be ready."""
    import_id = new_import_id(NOW)
    facts = (import_id, "acme", "users.manifest", "users.csv.asc", NOW)
    ground.cut(cut, lambda: ground.imports.receive(*facts))
    known = [one.id for one in ground.imports.received("acme")]
    assert known == ([import_id] if cut is Cut.AFTER_COMMIT else [])
    if not known:
        ground.imports.receive(*facts)
    ground.cut(cut, lambda: ground.imports.ready(import_id, NOW))
    ground.imports.ready(import_id, NOW)
    assert ground.row(import_id) == (State.READY, 0, 0, 0)
    told = [entry.what for entry in Timeline(ground.database).of_import(import_id)]
    assert told == [What.RECEIVED, What.TAKEN]


@pytest.mark.parametrize("cut", AT_COMMIT)
def test_what_a_worker_writes_is_written_once(ground: Ground, cut: Cut) -> None:
    """FAULTS.md W6: heartbeat and pick-up are repeated; an end is not, its fence says that it was made."""
    import_id = ground.received()
    lease = ground.claimed()
    ground.cut(cut, lambda: ground.queue.heartbeat(lease, NOW))
    ground.queue.heartbeat(lease, NOW)
    picked_up = [NewNotice(Stage.PICKED_UP, "data@acme.example", None)]
    ground.cut(cut, lambda: ground.queue.picked_up(lease, lease.report, picked_up, NOW))
    ground.queue.picked_up(lease, lease.report, picked_up, NOW)
    done = replace(lease.report, state=State.SUCCEEDED, rows_stored=7)
    ground.cut(cut, lambda: ground.queue.settle(lease, done, [NOTICE], NOW))
    if cut is Cut.AFTER_COMMIT:
        with pytest.raises(LeaseLost):
            ground.queue.give_back(lease, NOW)
    else:
        ground.queue.settle(lease, done, [NOTICE], NOW)
    assert ground.row(import_id) == (State.SUCCEEDED, 1, 0, 1)
    assert [delivery.stage for delivery in Deliveries(ground.database).of_import(import_id)] == [
        "picked_up",
        "succeeded",
    ]


@pytest.mark.parametrize("cut", AT_COMMIT)
def test_deferral_and_giving_back_leave_the_import_to_be_tried_again(ground: Ground, cut: Cut) -> None:
    """FAULTS.md W6."""
    import_id = ground.received()
    lease = ground.claimed()
    later = {"code": "x", "message": "y", "next_attempt_at": LATER, "give_up_at": LATER}
    ground.cut(cut, lambda: ground.queue.defer(lease, NOW, **later))  # type: ignore[arg-type]
    if cut is Cut.BEFORE_COMMIT:
        ground.cut(cut, lambda: ground.queue.give_back(lease, NOW))
        ground.queue.give_back(lease, NOW)
    with pytest.raises(LeaseLost):
        ground.queue.give_back(lease, NOW)
    again = ground.queue.claim(LATER)
    assert again is not None
    assert (again.report.id, again.report.attempts, again.lost) == (import_id, 2, 0)


@pytest.mark.parametrize("cut", AT_COMMIT)
def test_notices_that_were_claimed_without_a_word_are_due_at_once(ground: Ground, cut: Cut) -> None:
    """FAULTS.md W6: nobody waits for a claim that nobody knows of; and nobody takes them for perhaps sent."""
    ground.settled()
    ground.cut(cut, lambda: ground.outbox.due(NOW, 10))
    (notice,) = ground.outbox.due(LATER, 10)
    assert not notice.perhaps_taken
    assert Outbox(ground.database).due(LATER, 10) == []


@pytest.mark.parametrize("cut", AT_COMMIT)
@pytest.mark.parametrize("end", ["sent", "deferred", "given_up"])
def test_notice_is_marked_once(ground: Ground, cut: Cut, end: str) -> None:
    """FAULTS.md W6: a try counts once, however often it is marked."""
    ground.settled()
    (notice,) = ground.outbox.due(NOW, 10)
    marks: dict[str, Callable[[], None]] = {
        "sent": lambda: ground.outbox.sent(notice.id, NOW),
        "deferred": lambda: ground.outbox.deferred(notice.id, "no", LATER, at=NOW),
        "given_up": lambda: ground.outbox.given_up(notice.id, "no", at=NOW),
    }
    ground.cut(cut, marks[end])
    marks[end]()
    assert ground.notices() == [("pending" if end == "deferred" else end, 1)]


@pytest.mark.parametrize("cut", AT_COMMIT)
def test_notices_about_no_import_are_told_once(ground: Ground, cut: Cut) -> None:
    """FAULTS.md W6."""

    def tell() -> int:
        return ground.outbox.tell("acme", "file x", "acme", {}, [NOTICE], NOW)

    ground.cut(cut, tell)
    assert tell() == (cut is Cut.BEFORE_COMMIT)
    assert ground.notices() == [("pending", 0)]


@pytest.mark.parametrize("cut", AT_COMMIT)
def test_change_of_an_account_is_there_whole_or_not_at_all(ground: Ground, cut: Cut) -> None:
    """FAULTS.md W6: with its line in the audit; who repeats it is told that it is done."""

    def add() -> None:
        Accounts(ground.database).add("other", now=NOW, actor="test", contact_addresses=["data@other.example"])

    ground.cut(cut, add)
    if cut is Cut.AFTER_COMMIT:
        with pytest.raises(AlreadyThere):
            add()
    else:
        add()
    account = Accounts(ground.database).get("other")
    assert account is not None
    assert account.contacts == ("data@other.example",)
    with ground.database.read() as connection:
        lines = (
            select(func.count()).select_from(audit).where(audit.c.action == "account.add", audit.c.account == "other")
        )
        assert connection.scalar(lines) == 1


@pytest.mark.parametrize("cut", AT_COMMIT)
def test_upload_that_is_sent_again_under_its_key_is_remembered_once(ground: Ground, cut: Cut) -> None:
    """FAULTS.md W6, H3."""
    uploads = Uploads(ground.database)
    request = Remembered(b"k" * 32, b"b" * 32, "upload-1", 1, [], [])
    again = replace(request, writer="upload-2")
    ground.cut(cut, lambda: uploads.begin("acme", "upload-1-1", [request], now=NOW, since=NOW))
    uploads.begin("acme", "upload-2-1", [again], now=LATER, since=NOW)
    assert uploads.remembered("acme", [request.key_hash], since=NOW) == {request.key_hash: again}
    assert ground.imports.newest() == []


def test_reset_at_any_statement_leaves_nothing_half_done(ground: Ground) -> None:
    """FAULTS.md W5: a settling is cut at its first statement, its second, ... until one goes through."""
    import_id = ground.received()
    lease = ground.claimed()
    done = replace(lease.report, state=State.SUCCEEDED)
    cuts = ground.proxy.cuts
    for number in range(1, 100):
        ground.database.close()  # a connection that was used before is tried first, and replaced
        try:
            with ground.proxy.cutting(Cut.STATEMENT, number):
                ground.queue.settle(lease, done, [NOTICE], NOW)
            break
        except LedgerUnavailable:
            assert ground.row(import_id) == (State.RUNNING, 1, 0, 1)
            assert ground.notices() == []
    assert ground.proxy.cuts - cuts >= 7, "version, import, timeline, notices, and the commit"
    assert ground.row(import_id) == (State.SUCCEEDED, 1, 0, 1)
    assert ground.notices() == [("pending", 0)]

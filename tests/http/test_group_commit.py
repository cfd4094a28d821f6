"""Many uploads in one commit: all rows once, each request its own answer, and a bound on what may wait."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ingest.errors import UploadsBusy
from ingest.http.settings import UploadSettings
from ingest.ledger.uploads import Uploads
from ingest.uploads.batch import Batches, Upload
from ingest.uploads.body import read_body
from ingest.uploads.intake import Intake
from manifests.types import DataType, ImportType
from stores.lake import Lake
from tests.http.data_desk import DataDesk, data_desk, event, profile
from tests.support.data_api import client
from tests.support.workshop import ACCOUNT, Workshop


def commits(lake: Lake, account: str, kind: ImportType = ImportType.EVENT) -> int:
    return len(list(lake.folder(account, kind).glob("*.parquet")))


def test_fifty_uploads_at_once_share_few_commits_and_each_is_answered_for_itself(desk: DataDesk) -> None:
    """One bad request, one with bad records only, and one with a name that may not be, fail nobody else."""

    def send(number: int) -> httpx.Response:
        records: list[object] = [event(Number=10 * number + row) for row in range(number % 3 + 1)]
        if number == 20:
            records = [profile(Email="nobody"), 5]
        with client(desk.port, desk.account) as sender:
            content = b"no" if number == 30 else None
            return sender.post("/1/upload", json=None if content else {"d": records}, content=content)

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(send, range(50)))
    assert answers[30].status_code == 400
    assert answers[20].json()["status"] == "fail"
    for number, answer in enumerate(answers):
        if number not in (20, 30):
            assert answer.json() == {"status": "success", "processed": number % 3 + 1, "unprocessed": []}
    expected = [10 * number + row for number in range(50) if number not in (20, 30) for row in range(number % 3 + 1)]
    assert sorted(desk.lake.events(desk.account)["Number"]) == expected
    assert commits(desk.lake, desk.account) <= 25


def test_the_first_of_a_batch_decides_the_type_and_later_ones_must_fit(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    bodies = [
        b'{"d": [{"identity": "a", "type": "event", "evtName": "E", "evtData": {"New": 5}}]}',
        b'{"d": [{"identity": "b", "type": "event", "evtName": "E", "evtData": {"New": "x"}}, {}]}',
        b'{"d": [{"identity": "c", "type": "event", "evtName": "E", "evtData": {"New": "7"}}]}',
    ]
    uploads = [Upload(read_body(body, max_records=10, max_properties=10)) for body in bodies]
    workshop.app.batches.carry_out(ACCOUNT, uploads)
    assert [{n: fault.code for n, fault in upload.faults.items()} for upload in uploads] == [{}, {0: 600, 1: 524}, {}]
    assert workshop.app.lake.registry(ACCOUNT, ImportType.EVENT) == {"New": DataType.INTEGER}
    assert commits(workshop.app.lake, ACCOUNT) == 1
    workshop.app.close()


def test_an_import_that_adds_the_same_column_at_the_same_moment_is_judged_with(tmp_path: Path) -> None:
    """The lake says that the column has another type by now: the batch is judged again, and nothing stored twice."""
    workshop = Workshop(tmp_path)
    app = workshop.app
    body = (
        b'{"d": [{"identity": "a", "type": "event", "evtName": "E", "evtData": {"Price": 1}},'
        b'{"identity": "a", "type": "profile", "profileData": {"Score": 5}},'
        b'{"identity": "a", "type": "profile", "profileData": {"Other": 5}}]}'
    )
    started = threading.Event()

    class Interfering(Uploads):
        """Lets an import in between the judgement and the commit, once."""

        def begin(self, *given: object, **named: object) -> int:
            if not started.is_set():
                started.set()
                workshop.received("identity,Score\nb,many\n", columns={"Score": {"dataType": "String"}})
                assert workshop.carried_out().rows_stored == 1
            return super().begin(*given, **named)  # type: ignore[arg-type]

    batches = Batches(
        workshop.settings,
        accounts=app.accounts,
        history=app.history,
        uploads=Interfering(app.database),
        sweeps=app.sweeps,
        lake=app.lake,
        now=app.now,
    )
    upload = Upload(read_body(body, max_records=10, max_properties=10), key_hash=b"k" * 32, body_hash=b"b" * 32)
    batches.carry_out(ACCOUNT, [upload])
    assert (upload.error, upload.faults) == (None, {})
    assert len(app.lake.events(ACCOUNT)) == 1
    assert app.lake.profile(ACCOUNT, "identity", "a") == {"identity": "a", "Score": "5", "Other": 5}
    app.close()


class Held(Batches):
    """Batches that wait until they may go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.sizes: list[int] = []

    def carry_out(self, account: str, requests: object) -> None:
        assert isinstance(requests, list)
        self.sizes.append(len(requests))
        assert self.go_on.wait(60)


async def test_what_may_wait_is_bounded_and_batches_have_at_most_so_many_records() -> None:
    held = Held()
    settings = UploadSettings(max_waiting=6, max_waiting_bytes=1000, gather_ms=0, max_batch_records=4)
    intake = Intake(settings, held)
    body = read_body(b'{"d": [1, 2]}', max_records=10, max_properties=10)
    waiting = [asyncio.create_task(intake.carried_out("acme", Upload(body), 10)) for _ in range(6)]
    await asyncio.sleep(0)
    with pytest.raises(UploadsBusy):
        await intake.carried_out("acme", Upload(body), 10)
    held.go_on.set()
    await asyncio.gather(*waiting)
    assert held.sizes == [2, 2, 2]
    with pytest.raises(UploadsBusy):
        await intake.carried_out("acme", Upload(body), 1001)
    await intake.close()


async def test_an_upload_whose_client_has_gone_is_carried_out_all_the_same() -> None:
    held = Held()
    intake = Intake(UploadSettings(gather_ms=0), held)
    body = read_body(b'{"d": []}', max_records=10, max_properties=10)
    gone = asyncio.create_task(intake.carried_out("acme", Upload(body), 10))
    await asyncio.sleep(0)
    gone.cancel()
    stays = asyncio.create_task(intake.carried_out("acme", Upload(body), 10))
    held.go_on.set()
    await stays
    await intake.close()
    assert sum(held.sizes) == 2


def test_an_overfull_service_says_when_to_come_again(tmp_path: Path) -> None:
    with data_desk(tmp_path, UploadSettings(max_waiting_bytes=100)) as desk:
        answer = desk.post([event(Note="n" * 100)])
    assert (answer.status_code, answer.json()["code"]) == (503, "uploads.busy")
    assert answer.headers["Retry-After"] == "1"


def test_a_fault_of_ours_is_told_without_what_caused_it(tmp_path: Path) -> None:
    with data_desk(tmp_path) as desk:
        desk.stored(event(Price=1))
        (log,) = desk.lake.folder(ACCOUNT, ImportType.EVENT).glob("_delta_log/*1.json")
        log.write_text("torn")
        answer = desk.post([event(Price=1)])
        assert (answer.status_code, answer.json()["code"]) == (500, 555)
        assert "torn" not in answer.text

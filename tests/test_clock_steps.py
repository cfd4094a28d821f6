"""The clock is set while the real service works: each import once, no worker robbed, nothing waits for years (W8)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest.ledger.timeline import What
from ingest.states import State
from tests.support.shims import compiler
from tests.support.soon import soon
from tests.support.stepped_service import ACCOUNT, SteppedService, stepped_service

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler, which the shim is built with")

HOUR, YEARS = timedelta(hours=1), timedelta(days=3650)
ROWS = 60_000
MANY = "identity,score\n" + "".join(f"u{n},{n}\n" for n in range(ROWS))
FEW = "identity,score\nu1,1\n"
SETTINGS = {
    "SEALDROP_HTTP__ALLOW_PLAIN": "true",
    "SEALDROP_HTTP__PORT": "0",
    "SEALDROP_MAIL__POLL_S": "0.1",
    "SEALDROP_WATCH__RESCAN_S": "0.3",
    "SEALDROP_WORKER__CHUNK_BYTES": "20000",  # load takes long enough for the other worker to come in between
    "SEALDROP_WORKER__LEASE_S": "60",
    "SEALDROP_WORKER__POLL_S": "0.05",
    "SEALDROP_WORKER__PROCESSES": "2",
    "TZ": "Europe/Berlin",
}
# what failed once waits for longer than any test does
FAR = {
    f"SEALDROP_{section}__RETRY_{bound}_S": "600" for section in ("MAIL", "WORKER") for bound in ("FLOOR", "CEILING")
}


def until(moment: datetime) -> timedelta:
    """How far ahead a clock is that shows this now."""
    return moment - datetime.now(UTC)


async def under_way(service: SteppedService, count: int) -> str:
    """The ID of the newest of so many imports, once its worker reads rows."""
    await soon(lambda: len(service.imports()) == count)
    import_id = service.imports()[-1].id
    await soon(lambda: service.app.timeline.of_import(import_id)[-1].what == What.PICKED_UP)
    return import_id


async def test_clock_that_is_set_takes_no_import_from_a_living_worker(tmp_path: Path) -> None:
    """FAULTS.md W8: set during an upload, and back while a lease runs; at both ends of summer time; and run fast."""
    async with stepped_service(tmp_path / "site", **SETTINGS) as service:
        message = service.encrypted(MANY)
        summer_time = [until(datetime(2026, month, day, 0, 59, 59, tzinfo=UTC)) for month, day in ((3, 29), (10, 25))]
        steps = (HOUR, -HOUR, YEARS, -YEARS, *summer_time, None)
        for count, ahead in enumerate(steps, start=1):
            async with service.sftp() as sftp, sftp.open("users.csv.asc", "wb") as file:
                await file.write(message[:1000])
                if ahead is None:
                    service.clock.slew(1.1)
                else:
                    service.clock.step(ahead)
                await file.write(message[1000:])
            await service.put(f"{count}.manifest", service.manifest("users.csv.asc"))
            import_id = await under_way(service, count)
            service.clock.step()
            await soon(lambda: service.imports()[-1].state != State.RUNNING)
            told = [entry.what for entry in service.app.timeline.of_import(import_id)]
            assert told.count(What.CLAIMED) == told.count(What.SETTLED) == 1, f"{ahead}: {told}"
        reports = service.imports()
        assert [(report.state, report.rows_stored) for report in reports] == [(State.SUCCEEDED, ROWS)] * len(steps)
        await soon(lambda: len(service.mails("Imported")) == len(steps))
        ids = [mail["Message-ID"] for mail in service.mails("")]
        assert len(set(ids)) == len(ids), "no mail came twice"


async def test_nothing_waits_for_years_when_the_clock_is_mended(tmp_path: Path) -> None:
    """FAULTS.md W8: a dead worker, an import that failed, notices, a lonely file: by a clock far ahead."""
    failing = {"SEALDROP_FAILPOINT": "lake.file_closed:1:eio", "SEALDROP_FAILPOINT_PASSED": str(tmp_path / "passed")}
    quick = {"SEALDROP_NOTICES__WAITING_FILE_S": "2", "SEALDROP_WORKER__LEASE_S": "3"}
    async with stepped_service(tmp_path / "site", **{**SETTINGS, **FAR, **failing, **quick}) as service:
        service.mailbox.later = True
        service.clock.step(YEARS)
        await service.put("few.csv.asc", service.encrypted(FEW))
        await service.put("few.manifest", service.manifest("few.csv.asc"))
        await soon(lambda: [report.state for report in service.imports()] == [State.DEFERRED])
        await soon(lambda: service.records("notice_deferred"))
        await service.put("many.csv.asc", service.encrypted(MANY))
        await service.put("many.manifest", service.manifest("many.csv.asc"))
        service.worker_of(await under_way(service, 2)).kill()
        service.mailbox.later = False
        service.clock.step(-YEARS)
        await service.put("lonely.csv.asc", service.encrypted(FEW))
        await soon(lambda: [report.state for report in service.imports()] == [State.SUCCEEDED] * 2)
        await soon(lambda: service.mails("Waiting"))
        await soon(lambda: len(service.mails("Imported")) == 2)
        assert [report.rows_stored for report in service.imports()] == [1, ROWS]

        kept = sorted((service.folder / "data" / "spool").rglob("*"))
        await service.stop()
        service.clock.step(YEARS)
        await service.start()
        await soon(lambda: service.records("clock_distrusted"))
        assert sorted((service.folder / "data" / "spool").rglob("*")) == kept
        assert len(list(service.app.spool.results(ACCOUNT).glob("*.json"))) == 2


CHARGED = {"d": [{"identity": "u1", "type": "event", "evtName": "Charged"}] * 2}
READ = json.dumps({"event_name": "Charged", "from": 20000101, "to": 20991231})


async def test_token_cursor_and_repeat_of_a_request_over_a_clock_that_was_wrong(tmp_path: Path) -> None:
    """FAULTS.md W8: what a clock far ahead gave out is good no longer than usual; nothing is stored twice."""
    async with stepped_service(tmp_path / "site", **SETTINGS) as service, service.http() as client:

        async def cursor(token: dict[str, str]) -> str:
            answer = await client.post("/1/events.json?batch_size=1", content=READ, headers=token)
            return str(answer.raise_for_status().json()["cursor"])

        async def page(token: dict[str, str], which: str) -> int:
            return (await client.get("/1/events.json", params={"cursor": which}, headers=token)).status_code

        async def upload(token: dict[str, str]) -> Any:
            key = {**token, "Idempotency-Key": "one"}
            return (await client.post("/1/upload", json=CHARGED, headers=key)).raise_for_status().json()

        right = await service.token(client)
        first = await upload(right)
        service.clock.step(YEARS)
        assert (await client.post("/1/upload", json=CHARGED, headers=right)).status_code == 401
        wrong = await service.token(client)
        assert await upload(wrong) == first
        far_away = await cursor(wrong)
        assert await page(wrong, far_away) == 200
        service.clock.step()
        assert (await client.post("/1/upload", json=CHARGED, headers=wrong)).status_code == 401
        right = await service.token(client)
        assert await upload(right) == first
        assert await page(right, far_away) == 400
        assert await page(right, await cursor(right)) == 200
        assert service.app.lake.events(ACCOUNT).height == 2

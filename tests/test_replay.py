"""Replays: the kept files of an import once more, with a corrected manifest, and no row twice."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import failpoints
from ingest.by_hand import replay
from ingest.errors import MoveRefused, ReplayRefused
from ingest.ledger.queue import Queue
from ingest.report import Report
from ingest.states import State
from ingest.steps.collect import Collector
from tests.support.workshop import ACCOUNT, EMAIL, Workshop
from tests.test_carry import ForgetfulQueue

CSV = "identity,when,score\n" + "".join(f"u{n},{n % 12 + 1:02}/2{n % 9}/2026,{n}\n" for n in range(50))
DATE = {"when": {"dataType": "Date", "format": "dd/MM/yyyy"}}  # wrong for every row: the file has MM/dd
MENDED = {"when": {"dataType": "Date", "format": "MM/dd/yyyy"}}


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path, chunk_bytes=200)
    yield workshop
    workshop.app.close()


def manifest(workshop: Workshop, **keys: Any) -> bytes:
    base = {"fileName": "users.csv.asc", "type": "profile", "clientEmail": EMAIL, "keyId": workshop.key.key_id}
    return json.dumps({**base, **keys}).encode()


def replayed(workshop: Workshop, import_id: str, **keys: Any) -> Report:
    new = replay(workshop.app, ACCOUNT, import_id, manifest(workshop, **keys))
    assert workshop.carried_out().id == new
    return workshop.report(new)


def score(workshop: Workshop, user: str) -> object:
    return (workshop.app.lake.profile(ACCOUNT, "identity", user) or {}).get("score")


def test_failed_import_is_replayed_with_a_corrected_manifest(workshop: Workshop) -> None:
    failed = workshop.received("identity,score\nu1,1\n", columns={"scoer": {"dataType": "Integer"}})
    assert workshop.carried_out().code == "data.header"
    report = replayed(workshop, failed, columns={"score": {"dataType": "Integer"}})
    assert (report.state, report.rows_stored, report.replay_of) == (State.SUCCEEDED, 1, failed)
    assert report.id != failed
    assert score(workshop, "u1") == 1
    assert workshop.result(report.id)["replay_of"] == failed
    (entry,) = [e for e in workshop.app.timeline.of_import(failed) if e.what == "replayed"]
    assert entry.detail == {"replay": report.id}


def test_replay_stores_only_the_rows_that_were_rejected(workshop: Workshop) -> None:
    """An import that succeeded with rejected rows must not double the accepted ones, across many chunks."""
    rows = [f"u{n},{n if n % 7 else 'none'}" for n in range(1, 101)]
    first = workshop.received("identity,score\n" + "\n".join(rows) + "\n", columns={"score": {"dataType": "Integer"}})
    report = workshop.carried_out()
    assert (report.rows_stored, report.rows_rejected) == (86, 14)
    again = replayed(
        workshop, first, columns={"score": {"dataType": "Integer", "ctName": "score"}}, nullValues=["none"]
    )
    assert (again.state, again.rows_read, again.rows_stored, again.rows_rejected) == (State.SUCCEEDED, 14, 14, 0)
    assert score(workshop, "u8") == 8
    with pytest.raises(ReplayRefused, match="stored already"):
        replay(workshop.app, ACCOUNT, first, None)
    with pytest.raises(ReplayRefused, match="stored already"):
        replay(workshop.app, ACCOUNT, again.id, None)


def test_replayed_events_are_there_once_and_keep_their_time_of_receipt(workshop: Workshop) -> None:
    data = "identity,score\n" + "".join(f"u{n},{'none' if n % 3 else n}\n" for n in range(30))
    event: dict[str, Any] = {"type": "event", "eventName": "Scored", "columns": {"score": {"dataType": "Integer"}}}
    first = workshop.received(data, **event)
    assert workshop.carried_out().rows_stored == 10
    received_at = workshop.now
    workshop.pass_time(days=2)
    assert replayed(workshop, first, **event, nullValues=["none"]).rows_stored == 20
    events = workshop.app.lake.events(ACCOUNT)
    assert sorted(events["_row"].to_list()) == list(range(1, 31))
    assert set(events["ts"].to_list()) == {received_at}
    assert events["_sequence"].n_unique() == 1


def test_replay_takes_effect_where_the_file_belongs(workshop: Workshop) -> None:
    """CONTRACT.md 1: imports of one account take effect in the order in which they were received."""
    old = workshop.received("identity,score\nu1,1\n", keyId="ec491319-9823-48cd-b6a1-6bb0bc666d75")
    assert workshop.carried_out().state == State.FAILED
    workshop.received("identity,score\nu1,2\n")
    workshop.carried_out()
    assert replayed(workshop, old).rows_stored == 1
    assert score(workshop, "u1") == "2"


def test_replay_whose_command_dies_takes_nothing_out_of_the_drop(workshop: Workshop) -> None:
    """FAULTS.md W1, W3: the customer's next files have the same names, and are an import of their own."""
    failed = workshop.received(CSV, columns={"scoer": {"dataType": "Integer"}})
    workshop.carried_out()
    failpoints.arm({failpoints.VARIABLE: "by_hand.received:1:eio"})
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        replay(workshop.app, ACCOUNT, failed, manifest(workshop))
    failpoints.arm({})
    spool, ready = workshop.app.spool, list[str]()
    for name, content in (("users.csv.asc", b"new"), ("users.manifest", manifest(workshop))):
        (spool.drop(ACCOUNT) / name).write_bytes(content)
    collector = Collector(
        spool, workshop.app.imports, now=lambda: workshop.now, on_ready=ready.append, settle_s=0, monotonic=lambda: 0
    )
    collector.scan(ACCOUNT)
    replayed, uploaded = ready
    report = workshop.report(replayed)
    assert (report.state, report.replay_of) == (State.READY, failed)
    assert spool.taken(replayed, "data").read_bytes() == spool.taken(failed, "data").read_bytes()
    assert spool.replayed(replayed) == failed
    assert workshop.report(uploaded).replay_of is None
    assert spool.taken(uploaded, "data").read_bytes() == b"new"


def test_files_that_are_removed_in_part_are_not_kept(workshop: Workshop) -> None:
    """FAULTS.md W1: a sweeper died over them."""
    failed = workshop.received(CSV, columns={"scoer": {"dataType": "Integer"}})
    workshop.carried_out()
    failpoints.arm({failpoints.VARIABLE: "discard.begun:1:eio"})
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        workshop.app.spool.discard_taken(failed)
    failpoints.arm({})
    assert workshop.app.spool.taken(failed, "data").exists()
    assert not workshop.app.spool.taken(failed, "manifest").exists()
    with pytest.raises(ReplayRefused, match="not kept"):
        replay(workshop.app, ACCOUNT, failed, None)


def test_taken_over_replay_tells_the_same(workshop: Workshop) -> None:
    """FAULTS.md W1: its worker is lost after the commit."""
    rows = "identity,score\nu1,1\nu2,none\nu3,none\n"
    first = workshop.received(rows, columns={"score": {"dataType": "Integer"}})
    assert workshop.carried_out().rows_stored == 1
    columns = {"score": {"dataType": "Integer"}}
    new = replay(workshop.app, ACCOUNT, first, manifest(workshop, columns=columns, nullValues=["none"]))
    workshop.carrier_with(ForgetfulQueue(workshop.app.database, lease=timedelta(seconds=60))).carry_out(
        workshop.claimed()
    )
    workshop.pass_time(seconds=61)
    report = workshop.carried_out()
    assert (report.id, report.state, report.rows_read, report.rows_stored) == (new, State.SUCCEEDED, 2, 2)


@pytest.mark.parametrize(
    "keys", [{"delimiter": ";"}, {"header": False, "columns": {"a": {}, "b": {}}}, {"type": "event"}], ids=str
)
def test_manifest_that_would_number_the_rows_differently_is_refused(workshop: Workshop, keys: dict[str, Any]) -> None:
    first = workshop.received("identity,score\nu1,1\nu2,none\n", columns={"score": {"dataType": "Integer"}})
    workshop.carried_out()
    with pytest.raises(ReplayRefused, match="by their numbers"):
        replay(workshop.app, ACCOUNT, first, manifest(workshop, **keys))


def test_what_cannot_be_replayed_is_refused_with_the_reason(workshop: Workshop) -> None:
    failed = workshop.received(CSV, keyId="ec491319-9823-48cd-b6a1-6bb0bc666d75")
    with pytest.raises(MoveRefused, match="is ready"):
        replay(workshop.app, ACCOUNT, failed, manifest(workshop))
    workshop.carried_out()
    for content, reason in (
        (b"{", "manifest cannot be used"),
        (manifest(workshop, fileName="other.csv.asc"), "names other.csv.asc"),
    ):
        with pytest.raises(ReplayRefused, match=reason):
            replay(workshop.app, ACCOUNT, failed, content)
    for account, import_id in (("other", failed), (ACCOUNT, "nothing")):
        with pytest.raises(ReplayRefused, match="has no import"):
            replay(workshop.app, account, import_id, None)
    new = replay(workshop.app, ACCOUNT, failed, manifest(workshop, columns=DATE))
    with pytest.raises(MoveRefused, match=f"{new} is ready"):
        replay(workshop.app, ACCOUNT, failed, None)
    workshop.carried_out()
    with pytest.raises(MoveRefused, match=f"was replayed as {new}"):
        workshop.app.imports.retry(failed, workshop.now)
    workshop.app.spool.discard_taken(failed)
    with pytest.raises(ReplayRefused, match="not kept any more"):
        replay(workshop.app, ACCOUNT, failed, None)
    assert replayed(workshop, new, columns=MENDED).rows_stored == 50, "the replay's own files are still there"
    assert len(workshop.app.imports.newest()) == 3


def test_held_import_that_is_replayed_waits_for_nobody_any_more(workshop: Workshop) -> None:
    held = workshop.received(CSV)
    for _ in range(3):
        workshop.claimed()
        workshop.pass_time(seconds=61)
    assert workshop.carried_out().state == State.HELD
    assert replayed(workshop, held, columns=MENDED).state == State.SUCCEEDED
    assert workshop.report(held).state == State.FAILED
    assert Queue(workshop.app.database, lease=timedelta(seconds=60)).claim(workshop.now) is None

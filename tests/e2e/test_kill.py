"""SIGKILL in the middle of load: after a restart the rows are there exactly once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.demo.files import EVENT_COLUMNS
from tests.e2e.conftest import NewCustomer
from tests.support.customer import Customer
from tests.support.served import Instance, serving, wait_for

ROWS = 400_000
# one worker, a short lease, and many small chunks: load takes long enough to be hit
SLOW = {"SEALDROP_WORKER__PROCESSES": "1", "SEALDROP_WORKER__LEASE_S": "2", "SEALDROP_WORKER__CHUNK_BYTES": "50000"}


@pytest.fixture
def slow_instance(tmp_path: Path) -> Iterator[Instance]:
    with serving(tmp_path / "installation", **SLOW) as served:
        yield served


def many_events() -> str:
    rng = random.Random(3)
    rows = (f"Charged,{1735689600 + row},u{rng.randrange(9999)},item,{row},2025-01-04\n" for row in range(ROWS))
    return "event_name,time_stamp,identity,item_name,item_price,item_delivery_date\n" + "".join(rows)


def parquet_files(instance: Instance, customer: Customer) -> list[Path]:
    return list((instance.folder / "data" / "lake" / customer.name).rglob("*.parquet"))


def send_and_wait_until_load_writes(instance: Instance, customer: Customer) -> None:
    data = customer.encrypted("events.csv", many_events())
    manifest = customer.manifest("events.manifest", fileName=data.name, type="event", columns=EVENT_COLUMNS)
    customer.put(data, manifest)
    wait_for(lambda: next((f for f in parquet_files(instance, customer) if f.stat().st_size > 0), None))


def assert_stored_once(instance: Instance, customer: Customer) -> None:
    (report,) = instance.wait_for_imports(customer.name, 1)
    assert (report["state"], report["rows_stored"], report["attempts"]) == ("succeeded", ROWS, 2)
    events = instance.lake_events(customer.name)
    assert events.height == ROWS
    assert events["item_price"].n_unique() == ROWS
    instance.post.about(report["id"], "Imported")
    assert instance.post.count(report["id"]) == 2  # picked up and imported, each once


def test_killed_worker_is_replaced_and_its_import_stored_once(
    slow_instance: Instance, new_customer: NewCustomer
) -> None:
    """FAULTS W1: kill -9 of the worker in the middle of load."""
    customer = new_customer(served=slow_instance)
    send_and_wait_until_load_writes(slow_instance, customer)
    (worker,) = slow_instance.workers()
    worker.kill()
    assert slow_instance.lake_events(customer.name).height == 0
    assert_stored_once(slow_instance, customer)


def test_killed_service_ends_its_workers_and_stores_once_after_restart(
    slow_instance: Instance, new_customer: NewCustomer
) -> None:
    """FAULTS W1, W15: kill -9 of the whole service; its workers end with it."""
    customer = new_customer(served=slow_instance)
    send_and_wait_until_load_writes(slow_instance, customer)
    workers = slow_instance.workers()
    slow_instance.kill()
    wait_for(lambda: None if any(worker.is_running() and worker.status() != "zombie" for worker in workers) else True)
    assert slow_instance.lake_events(customer.name).height == 0
    slow_instance.start()
    assert_stored_once(slow_instance, customer)


def test_sigterm_ends_the_service_cleanly(slow_instance: Instance) -> None:
    """FAULTS W14."""
    workers = slow_instance.workers()
    assert len(workers) == 1
    assert slow_instance.stop() == 0
    assert not any(worker.is_running() for worker in workers)

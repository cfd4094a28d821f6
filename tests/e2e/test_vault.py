"""The master key of a running service: rotated beside it, taken from the environment, and kept out of sight."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import NewCustomer
from tests.e2e.test_import import EVENTS, event_manifest
from tests.support.customer import Customer
from tests.support.served import Instance


@pytest.fixture
def from_environment(tmp_path: Path) -> Iterator[tuple[Instance, str]]:
    """An installation whose master key is in the environment only, and the key."""
    instance = Instance(tmp_path / "installation", SEALDROP_WORKER__PROCESSES="1")
    try:
        file = instance.folder / "master.key"
        digits = file.read_text().strip()
        file.unlink()
        instance.environment |= {"SEALDROP_VAULT__ALLOW_ENVIRONMENT": "true", "SEALDROP_MASTER_KEY": digits}
        yield instance, digits
    finally:
        instance.close()


def state_of_import(customer: Customer, number: int = 1) -> str:
    """What becomes of the customer's import of this number, which is sent now."""
    data = customer.encrypted("events.csv", EVENTS)
    customer.put(data, event_manifest(customer, data.name))
    return str(customer.instance.wait_for_imports(customer.name, number)[-1]["state"])


def test_master_key_is_rotated_while_the_service_runs(instance: Instance, new_customer: NewCustomer) -> None:
    """FAULTS K3: a worker that has only the old key opens what was wrapped anew, and what is sealed later."""
    before = new_customer()
    rotated = instance.json("vault", "rotate")
    assert rotated["secrets"] >= 3
    assert state_of_import(before) == "succeeded"
    Path(rotated["old_key_file"]).unlink()
    for worker in instance.workers():
        worker.kill()
    assert state_of_import(before, 2) == "succeeded"
    assert state_of_import(new_customer()) == "succeeded"
    assert instance.json("audit", "verify")["ok"]


def test_key_from_the_environment_reaches_the_workers_and_is_seen_nowhere(
    from_environment: tuple[Instance, str], new_customer: NewCustomer
) -> None:
    """FAULTS K2, K5: not in /proc, argv, logs or on disk, in no process; a worker that is replaced has it as well."""
    instance, digits = from_environment
    instance.start()
    customer = new_customer(served=instance)
    assert state_of_import(customer) == "succeeded"
    (worker,) = instance.workers()
    worker.kill()
    assert state_of_import(customer, 2) == "succeeded"
    assert instance.process is not None
    service = psutil.Process(instance.process.pid)
    processes = [service, *service.children(recursive=True)]
    assert len(processes) > 1
    for process in processes:
        folder = Path(f"/proc/{process.pid}")
        shown = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        assert b"SEALDROP_VAULT__ALLOW_ENVIRONMENT" in shown  # what is looked at is what the process was given
        assert digits[:8].encode() not in shown
    assert digits not in instance.log.read_text()
    files = [path for path in instance.folder.rglob("*") if path.is_file()]
    assert [path.name for path in files if digits.encode() in path.read_bytes()] == []


def test_no_process_of_the_service_may_leave_a_core_file(instance: Instance) -> None:
    """FAULTS K5."""
    assert instance.process is not None
    for pid in (instance.process.pid, *(worker.pid for worker in instance.workers())):
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        (core,) = [line.split() for line in limits if line.startswith("Max core file size")]
        assert core[4:6] == ["0", "0"]

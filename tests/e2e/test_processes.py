"""The processes of a service: bounded, stopped in good order in the middle of an import, ended with their parent."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ingest.demo.files import EVENT_COLUMNS
from tests.e2e.conftest import NewCustomer
from tests.e2e.test_kill import ROWS, SLOW, many_events, send_and_wait_until_load_writes
from tests.support.served import Instance, serving, wait_for

GNUPG = {"SEALDROP_OPENPGP__ENGINE": "gnupg"}


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Instance]:
    with serving(tmp_path / "installation", **SLOW, SEALDROP_WORKER__DRAIN_S="0.5") as served:
        yield served


def is_gone(process: psutil.Process) -> bool | None:
    return True if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE else None


def test_signals_in_the_middle_of_an_import(slow: Instance, new_customer: NewCustomer) -> None:
    """FAULTS.md W14: SIGHUP changes nothing; SIGTERM gives it back in time, at the cost of no lost worker."""
    customer = new_customer(served=slow)
    send_and_wait_until_load_writes(slow, customer)
    assert slow.process is not None
    slow.process.send_signal(signal.SIGHUP)
    wait_for(lambda: True if "door_reloaded" in slow.log.read_text() else None)
    (running,) = slow.imports(customer.name)
    assert (running["state"], running["attempts"]) == ("running", 1)
    slow.process.send_signal(signal.SIGTERM)
    assert slow.process.wait(45) == 0
    (waiting,) = slow.imports(customer.name)
    assert waiting["state"] == "ready"
    assert slow.lake_events(customer.name).height == 0
    slow.start()
    (report,) = slow.wait_for_imports(customer.name, 1)
    assert (report["state"], report["rows_stored"], report["attempts"]) == ("succeeded", ROWS, 2)
    assert slow.lake_events(customer.name)["item_price"].n_unique() == ROWS
    whats = [entry["what"] for entry in slow.json("imports", "show", report["id"])["timeline"]]
    assert "worker_lost" not in whats
    assert whats.index("given_back") < whats.index("settled")


def test_worker_has_a_group_of_its_own_limits_and_no_descriptor_of_the_door(
    instance: Instance, new_customer: NewCustomer
) -> None:
    """FAULTS.md W15."""
    customer = new_customer()
    data = customer.encrypted("users.csv", "identity\nu1\n")
    customer.put(data, customer.manifest("users.manifest", fileName=data.name, type="profile"))
    instance.wait_for_imports(customer.name, 1)
    assert instance.process is not None
    service = psutil.Process(instance.process.pid)
    listening = {link for link in links_of(service.pid) if link.startswith("socket:")}
    for worker in instance.workers():
        assert os.getpgid(worker.pid) == worker.pid
        assert worker.rlimit(resource.RLIMIT_CORE) == (0, 0)
        assert worker.rlimit(resource.RLIMIT_DATA) == (8_000_000_000, 8_000_000_000)
        assert not listening & {link for link in links_of(worker.pid) if link.startswith("socket:")}


def links_of(process_id: int) -> set[str]:
    """What the descriptors of a process lead to."""
    return {str(entry.readlink()) for entry in Path(f"/proc/{process_id}/fd").iterdir()}


def test_gpg_is_bounded_and_ends_with_its_worker(tmp_path: Path, new_customer: NewCustomer) -> None:
    """FAULTS.md W15: SIGKILL of the worker, then of the whole service."""
    with serving(tmp_path / "installation", **SLOW, **GNUPG) as served:
        customer = new_customer(served=served)
        data = customer.encrypted("events.csv", many_events())
        manifest = customer.manifest("events.manifest", fileName=data.name, type="event", columns=EVENT_COLUMNS)
        customer.put(data, manifest)
        worker, gpg = wait_for(lambda: running_gpg(served))
        wait_for(lambda: True if gpg.rlimit(resource.RLIMIT_NOFILE) == (64, 64) else None)
        assert gpg.rlimit(resource.RLIMIT_CORE) == (0, 0)
        assert gpg.rlimit(resource.RLIMIT_FSIZE) == (64 << 20, 64 << 20)
        assert os.getpgid(gpg.pid) == worker.pid
        assert not [link for link in links_of(gpg.pid) if "installation" in link]
        worker.kill()
        wait_for(lambda: is_gone(gpg))
        _, gpg = wait_for(lambda: running_gpg(served))
        served.kill()
        wait_for(lambda: is_gone(gpg))


def running_gpg(served: Instance) -> tuple[psutil.Process, psutil.Process] | None:
    """A worker and the gpg that decrypts for it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for worker in served.workers():
            for child in worker.children():
                if "--decrypt" in child.cmdline():
                    return worker, child
    return None


def test_file_that_takes_too_much_memory_is_held_and_the_service_goes_on(
    tmp_path: Path, new_customer: NewCustomer
) -> None:
    """FAULTS.md W4, W15: each worker that takes it is ended by its limit; with more memory it comes in."""
    bound = "SEALDROP_WORKER__MAX_MEMORY_BYTES"
    one_worker = {"SEALDROP_WORKER__PROCESSES": "1", "SEALDROP_WORKER__LEASE_S": "2"}
    with serving(tmp_path / "installation", **one_worker, **{bound: "400000000"}) as served:
        customer = new_customer(served=served)
        data = customer.encrypted("events.csv", many_events())
        manifest = customer.manifest("events.manifest", fileName=data.name, type="event", columns=EVENT_COLUMNS)
        customer.put(data, manifest)
        (report,) = served.wait_for_imports(customer.name, 1)
        assert (report["state"], report["code"]) == ("held", "worker.lost")
        assert served.lake_events(customer.name).height == 0
        assert served.stop() == 0
        served.environment[bound] = "0"
        served.start()
        served.run("imports", "retry", report["id"])
        (report,) = served.wait_for_imports(customer.name, 1)
        assert (report["state"], report["rows_stored"]) == ("succeeded", ROWS)

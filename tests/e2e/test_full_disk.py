"""A disk that fills while customers send: the door says so, what is there comes in, and all goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.demo.sender import SenderFailed
from tests.e2e.conftest import NewCustomer
from tests.support.customer import Customer
from tests.support.served import Instance, serving, wait_for
from tests.support.small_disk import SmallDisk, mounted

MB = 1_000_000
CSV = "identity,score\nuser-1,1\n"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "installation" / "data", megabytes=64) as disk:
        yield disk


@pytest.fixture
def served(small: SmallDisk) -> Iterator[Instance]:
    marks = {
        "SEALDROP_DISK__MIN_FREE_BYTES": str(20 * MB),
        "SEALDROP_DISK__MIN_FREE_INODES": "100",
        "SEALDROP_WATCH__INOTIFY": "false",  # FAULTS.md W9: what is not told is found by looking
    }
    with serving(small.folder.parent, **marks) as instance:
        yield instance


def send(customer: Customer, number: int) -> None:
    data = customer.encrypted(f"users{number}.csv", CSV)
    customer.put(data, customer.manifest(f"users{number}.manifest", fileName=data.name, type="profile"))


def refusal(customer: Customer, file: Path) -> str | None:
    """What the client is told about a `put`; ``None`` when it worked."""
    try:
        customer.put(file)
    except SenderFailed as failed:
        return str(failed)
    return None


def test_uploads_are_refused_with_a_clear_text_until_there_is_room(
    served: Instance, small: SmallDisk, new_customer: NewCustomer
) -> None:
    """FAULTS.md W12, S3."""
    customer = new_customer(served=served)
    send(customer, 1)
    served.wait_for_imports(customer.name, 1)
    small.fill(free=15 * MB)
    said = wait_for(lambda: refusal(customer, customer.folder / "users1.manifest"))
    assert "The server has no room for more files" in said
    assert "new uploads are refused" in served.run("check", code=1)
    small.release()
    wait_for(lambda: True if served.run("check") else None)
    send(customer, 2)
    assert [one["state"] for one in served.wait_for_imports(customer.name, 2)] == ["succeeded"] * 2


def test_what_was_uploaded_before_the_disk_was_full_comes_in_afterwards(
    served: Instance, small: SmallDisk, new_customer: NewCustomer
) -> None:
    """FAULTS.md W12, W5, W9: with not a byte free no import is started, none fails, and the service lives on."""
    customer = new_customer(served=served)
    small.fill()
    for name in ("users.csv", "users.manifest"):  # as another program would, with a rename into the drop
        content = customer.encrypted("plain.csv", CSV) if name == "users.csv" else None
        file = content or customer.manifest("users.manifest", fileName="users.csv", type="profile")
        small.release()
        (small.folder / "spool" / "drops" / customer.name / name).write_bytes(file.read_bytes())
        small.fill()
    wait_for(lambda: True if "disk_low" in served.log.read_text() else None)
    assert all(one["state"] in ("received", "ready") for one in served.imports(customer.name))
    small.release()
    (report,) = served.wait_for_imports(customer.name, 1)
    assert (report["state"], report["rows_stored"]) == ("succeeded", 1)

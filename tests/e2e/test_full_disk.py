"""A disk that fills while customers send: the door says so, what is there comes in, and all goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import asyncssh
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
    wait_for(lambda: True if refusal(customer, data) is None else None)  # the door looks once a second
    customer.put(customer.manifest(f"users{number}.manifest", fileName=data.name, type="profile"))


def refusal(customer: Customer, file: Path) -> str | None:
    """What the client is told about a `put`; ``None`` when it worked."""
    try:
        customer.put(file)
    except SenderFailed as failed:
        return str(failed)
    return None


async def refusal_of_a_running_upload(customer: Customer, small: SmallDisk) -> str:
    """What a client is told in the middle of an upload, when the disk has less than half of what is to be free."""
    connecting = asyncssh.connect(
        "127.0.0.1",
        customer.instance.port,
        username=customer.name,
        client_keys=[str(customer.folder / "id_ed25519")],
        known_hosts=None,
        config=None,
    )
    async with connecting as connection, connection.start_sftp_client() as client:
        file = await until_opened(client)
        await file.write(b"x" * MB)
        small.fill(free=9 * MB)
        said = await until_refused(file)
        with contextlib.suppress(asyncssh.SFTPError):
            await file.close()
    return said


async def until_refused(file: asyncssh.SFTPClientFile) -> str:
    for _ in range(100):
        try:
            await file.write(b"x" * 1000)
        except asyncssh.SFTPError as refused:
            return refused.reason
        await asyncio.sleep(0.1)
    raise AssertionError("the door takes everything")


async def until_opened(client: asyncssh.SFTPClient) -> asyncssh.SFTPClientFile:
    """A new file, once the door has seen that there is room again."""
    for _ in range(100):
        with contextlib.suppress(asyncssh.SFTPError):
            return await client.open("large.csv.asc", "wb")
        await asyncio.sleep(0.1)
    raise AssertionError("the door takes no upload")


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
    assert "no room" in asyncio.run(refusal_of_a_running_upload(customer, small))
    assert "large" not in customer.sftp("ls"), "nothing of it was kept"
    small.release()
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

"""Sessions that are open when the operator takes the access away, in the real service."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest

from tests.e2e.conftest import NewCustomer
from tests.support.served import WAIT_S


@pytest.mark.parametrize("taken_away", ["account", "key"])
async def test_session_ends_when_the_operator_takes_the_access_away(new_customer: NewCustomer, taken_away: str) -> None:
    """FAULTS.md S8: within seconds; what has come of an upload stays, for the day on which they may come back."""
    customer = await asyncio.to_thread(new_customer)
    instance, name = customer.instance, customer.name
    async with asyncssh.connect(
        "127.0.0.1", instance.port, username=name, client_keys=[str(customer.folder / "id_ed25519")],
        known_hosts=None, config=None, agent_path=None,
    ) as connection:  # fmt: skip
        file = await (await connection.start_sftp_client()).open("users.csv", "wb")
        await file.write(b"half of it")
        if taken_away == "account":
            await asyncio.to_thread(instance.run, "account", "disable", name)
        else:
            (key,) = await asyncio.to_thread(instance.json, "ssh-key", "list", name)
            await asyncio.to_thread(instance.run, "ssh-key", "remove", name, key["fingerprint"])
        await asyncio.wait_for(connection.wait_closed(), WAIT_S)
    kept = instance.folder / "data" / "spool" / "parts" / name / "users.csv"
    assert kept.read_bytes() == b"half of it"

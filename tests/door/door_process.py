"""A door in a process of its own, which may be killed or watched; it knows the account ``acme``.

    python -m tests.door.door_process FOLDER SETTINGS

FOLDER holds ``acme.pub``, ``host_key`` and ``spool``; SETTINGS is JSON. Prints its port, and logs as the service does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Collection
from pathlib import Path

from ingest.door import Door
from ingest.ledger.ssh_keys import Access
from ingest.logs import set_up_logs
from ingest.settings import DoorSettings
from ingest.spool import Spool
from ingest.ssh_keys import read_ssh_key


async def _serve(folder: Path, settings: dict[str, object]) -> None:
    access = Access((read_ssh_key((folder / "acme.pub").read_text()),))

    async def accesses(_accounts: Collection[str]) -> dict[str, Access]:
        return {"acme": access}

    async def published(account: str, name: str) -> None:
        """Nothing is recorded."""

    wanted = DoorSettings.model_validate({"port": 0, "host_key_file": folder / "host_key", **settings})
    door = Door(wanted, Spool(folder / "spool"), accesses=accesses, published=published)
    await door.start()
    sys.stdout.write(f"port {door.port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    set_up_logs("debug")
    asyncio.run(_serve(Path(sys.argv[1]), json.loads(sys.argv[2])))

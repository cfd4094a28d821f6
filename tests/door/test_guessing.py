"""Whether tries to log in tell which accounts there are; the accounts lie in a real ledger.

`make long` makes ten thousand tries and compares their times; `make test` some, and compares no times.
"""

from __future__ import annotations

import asyncio
import math
import os
import statistics
from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from sqlalchemy import event

from ingest.door import Door, make_host_key
from ingest.door.handshake import _padding_s
from ingest.ledger.accounts import Accounts
from ingest.ledger.database import Database
from ingest.ledger.ssh_keys import Access, SshKeys
from ingest.settings import DoorSettings
from ingest.spool import Spool
from ingest.ssh_keys import read_ssh_key

LONG = bool(os.environ.get("SEALDROP_LONG"))
NAMES = 50 if LONG else 3  # known ones, and as many unknown ones
TRIES = 100 if LONG else 4  # with each name
MOST_T = 4.0  # of Welch's test: chance alone goes beyond it once in 16,000 times


class Guesser(asyncssh.SSHClient):
    """Tries one wrong key after the other, and notes what each refusal took."""

    def __init__(self, tries: int, key: asyncssh.SSHKeyPair) -> None:
        self._left = tries
        self._key = key
        self._asked = 0.0
        self.seconds: list[float] = []

    def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        now = asyncio.get_running_loop().time()
        if self._asked:
            self.seconds.append(now - self._asked)
        self._asked = now
        self._left -= 1
        return self._key if self._left >= 0 else None


class Site:
    """A door whose accounts lie in a ledger, and what it asks of that."""

    def __init__(self, door: Door, statements: list[str], key: asyncssh.SSHKeyPair) -> None:
        self._door = door
        self._key = key
        self.statements = statements

    async def guess(self, name: str, tries: int) -> list[float]:
        guessers = []

        def guesser() -> Guesser:
            guessers.append(Guesser(tries, self._key))
            return guessers[0]

        with pytest.raises(asyncssh.PermissionDenied):
            await asyncssh.connect(
                "127.0.0.1", self._door.port, username=name, client_factory=guesser, client_keys=None,
                known_hosts=None, config=None, agent_path=None,
            )  # fmt: skip
        return guessers[0].seconds


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    database.migrate()
    accounts, ssh_keys = Accounts(database), SshKeys(database)
    now = datetime.now(UTC)
    for number in range(NAMES):
        accounts.add(f"known{number}", now=now, actor="test", contact_addresses=["data@acme.example"])
        line = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
        ssh_keys.add(f"known{number}", [read_ssh_key(line)], now=now, actor="test")
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))

    async def accesses(wanted: Collection[str]) -> dict[str, Access]:
        return await asyncio.to_thread(ssh_keys.accesses, wanted)

    async def published(account: str, name: str) -> None:
        """Nobody gets so far."""

    make_host_key(tmp_path / "host_key")
    settings: dict[str, Any] = {"port": 0, "host_key_file": tmp_path / "host_key", "max_auth_attempts": 10 * TRIES}
    door = Door(DoorSettings(**settings), Spool(tmp_path / "spool"), accesses=accesses, published=published)
    await door.start()
    wrong = asyncssh.load_keypairs([asyncssh.generate_private_key("ssh-ed25519")])[0]
    try:
        yield Site(door, statements, wrong)
    finally:
        await door.drain(0)
        database.close()


def _welch(one: list[float], other: list[float]) -> float:
    """Welch's t: by how many standard errors two means differ."""
    spread = statistics.variance(one) / len(one) + statistics.variance(other) / len(other)
    return abs(statistics.fmean(one) - statistics.fmean(other)) / math.sqrt(spread)


async def test_known_and_unknown_accounts_are_asked_for_alike(site: Site) -> None:
    """FAULTS S7: the same statements, and refusals that come at the end of a step that depends on the name alone."""
    asked: dict[str, list[str]] = {}
    for name in ("known0", "unknown0", "known1", "unknown1"):
        site.statements.clear()
        seconds = await site.guess(name, TRIES)
        asked[name] = list(site.statements)
        assert len(seconds) == TRIES
        assert min(seconds) >= _padding_s(name, 0)
    assert asked["known0"]
    assert asked["unknown0"] == asked["unknown1"] == asked["known1"] == asked["known0"]


@pytest.mark.skipif(not LONG, reason="ten thousand tries take five minutes: make long")
async def test_ten_thousand_tries_tell_nothing(site: Site) -> None:
    """FAULTS S7: Welch's test of the times finds no difference between accounts that there are and others.

    Each name has a step of its own, which a guesser cannot know; who knew them would find nothing either. Tries in a
    row share what the machine does beside them, so names are compared and not tries.
    """
    seen: dict[bool, list[float]] = {True: [], False: []}
    beyond: dict[bool, list[float]] = {True: [], False: []}
    for number in range(NAMES):
        for known in (number % 2 == 0, number % 2 == 1):
            name = f"{'known' if known else 'unknown'}{number}"
            seconds = await site.guess(name, TRIES)
            assert len(seconds) == TRIES
            seen[known].append(statistics.fmean(seconds))
            beyond[known].append(statistics.fmean(seconds) - _padding_s(name, 0))
    of_answers, of_rest = _welch(seen[True], seen[False]), _welch(beyond[True], beyond[False])
    mean_us = {known: round(statistics.fmean(values) * 1e6) for known, values in beyond.items()}
    print(f"Welch's t: {of_answers:.2f}; beyond each name's step {of_rest:.2f}, means in microseconds {mean_us}")  # noqa: T201
    assert max(of_answers, of_rest) < MOST_T

"""A customer's job that sends files and does not give up: what was not acknowledged is looked for, then sent again.

Each account sends its files in one session, data file first. When the session breaks, the sender waits, asks the
operator whether its manifest has arrived (in the drop, complete, or in an import), and sends what has not. What was
acknowledged it never sends again: that must not get lost. By SFTP alone it could not tell a complete file from one
whose CLOSE was lost, since both are listed; a sender who does not ask sends again, and that is another import.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncssh

from ingest.ledger.imports import Imports
from ingest.states import State
from tests.crash.site import WAIT_S, Site, wait_until
from tests.crash.workload import ACCOUNTS, ITEMS, Item, by_name

_PAUSE_S = 0.05


class Sender:
    """Sends all items of a round under names that begin with ``tag``; ``resent`` counts second uploads."""

    def __init__(self, site: Site, tag: str) -> None:
        self._site = site
        self._tag = tag
        self._acknowledged: set[tuple[str, str]] = set()
        self.resent = 0

    async def send_all(self) -> None:
        """Return when every file was acknowledged, or found to be there. Raises ``TimeoutError``."""
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as accounts:
            for account in ACCOUNTS:
                accounts.create_task(self._send_account(account))

    async def send_more(self, item: Item, message: bytes) -> None:
        """Send one file more than those of the round, encrypted already."""
        async with self._session(item.account) as sftp:
            await _put(sftp, item.data_name(self._tag), message)
            await _put(sftp, item.manifest_name(self._tag), self._site.template.manifest(item, self._tag))

    async def _send_account(self, account: str) -> None:
        items = [item for item in ITEMS if item.account == account]
        tried: set[str] = set()
        while True:
            with contextlib.suppress(asyncssh.Error, OSError):
                async with self._session(account) as sftp:
                    for item in items:
                        if item.name in tried and self._has_arrived(item):
                            continue
                        self.resent += item.name in tried
                        tried.add(item.name)
                        await self._send(sftp, item)
                    return
            await asyncio.sleep(_PAUSE_S)

    @contextlib.asynccontextmanager
    async def _session(self, account: str) -> AsyncIterator[asyncssh.SFTPClient]:
        async with (
            asyncssh.connect(
                "127.0.0.1",
                self._site.port,
                username=account,
                client_keys=[str(self._site.template.ssh_key(account))],
                known_hosts=None,
                config=None,
                agent_path=None,
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):
            yield sftp

    async def _send(self, sftp: asyncssh.SFTPClient, item: Item) -> None:
        message = self._site.template.message(item)
        if item.again:  # under the name of a file that waits it would replace it
            first = by_name(item.again)
            await wait_until(lambda: self._is_taken(first), f"{first.name} has left the drop")
        if item.renamed_at_the_end:
            part = item.data_name(self._tag) + ".part"
            await self._once(item, item.data_name(self._tag), lambda: _put_and_rename(sftp, part, message))
        else:
            await self._once(item, item.data_name(self._tag), lambda: _put(sftp, item.data_name(self._tag), message))
        manifest = self._site.template.manifest(item, self._tag)
        name = item.manifest_name(self._tag)
        await self._once(item, name, lambda: _put(sftp, name, manifest))

    async def _once(self, item: Item, name: str, put: Callable[[], Awaitable[None]]) -> None:
        if (item.name, name) not in self._acknowledged:
            await put()
            self._acknowledged.add((item.name, name))

    def _has_arrived(self, item: Item) -> bool:
        """Whether the manifest is in the drop or was taken; in this order, since it goes from there to the ledger."""
        name = item.manifest_name(self._tag)
        if (item.name, name) in self._acknowledged or (self._site.spool_root / "drops" / item.account / name).exists():
            return True
        return self._state(item) is not None

    def _is_taken(self, item: Item) -> bool:
        """Whether both files have left the drop."""
        return self._state(item) not in (None, State.RECEIVED)

    def _state(self, item: Item) -> str | None:
        """The state of its import, if there is one."""
        reports = Imports(self._site.database).newest(account=item.account, limit=100)
        return next((each.state for each in reports if each.manifest == item.manifest_name(self._tag)), None)


async def _put(sftp: asyncssh.SFTPClient, name: str, content: bytes) -> None:
    async with sftp.open(name, "wb") as file:
        await file.write(content)
    # asyncssh's close returns without an answer when the connection is gone by then: this does not
    await sftp.realpath(".")


async def _put_and_rename(sftp: asyncssh.SFTPClient, part: str, content: bytes) -> None:
    name = part.removesuffix(".part")
    if await sftp.exists(name):  # an earlier try got as far as this
        return
    await _put(sftp, part, content)
    await sftp.rename(part, name)

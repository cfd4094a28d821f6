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
from tests.crash.site import WAIT_S, Site
from tests.crash.workload import ACCOUNTS, ITEMS, Item

_PAUSE_S = 0.05


class Sender:
    """Sends all items of a round under names that begin with ``tag``; ``resent`` counts second uploads."""

    def __init__(self, site: Site, tag: str) -> None:
        self._site = site
        self._tag = tag
        self._acknowledged: set[str] = set()
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
        if item.renamed_at_the_end:
            part = item.data_name(self._tag) + ".part"
            await self._once(item.data_name(self._tag), lambda: _put_and_rename(sftp, part, message))
        else:
            await self._once(item.data_name(self._tag), lambda: _put(sftp, item.data_name(self._tag), message))
        manifest = self._site.template.manifest(item, self._tag)
        await self._once(item.manifest_name(self._tag), lambda: _put(sftp, item.manifest_name(self._tag), manifest))

    async def _once(self, name: str, put: Callable[[], Awaitable[None]]) -> None:
        if name not in self._acknowledged:
            await put()
            self._acknowledged.add(name)

    def _has_arrived(self, item: Item) -> bool:
        """Whether the manifest is in the drop or was taken; in this order, since it goes from there to the ledger."""
        name = item.manifest_name(self._tag)
        if name in self._acknowledged or (self._site.spool_root / "drops" / item.account / name).exists():
            return True
        imports = Imports(self._site.database)
        return any(report.manifest == name for report in imports.newest(account=item.account, limit=100))


async def _put(sftp: asyncssh.SFTPClient, name: str, content: bytes) -> None:
    async with sftp.open(name, "wb") as file:
        await file.write(content)


async def _put_and_rename(sftp: asyncssh.SFTPClient, part: str, content: bytes) -> None:
    name = part.removesuffix(".part")
    if await sftp.exists(name):  # an earlier try got as far as this
        return
    await _put(sftp, part, content)
    await sftp.rename(part, name)

"""Places for deliveries at the same time, so that a receiver that hangs holds up its own notices and no others."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator

AT_ONCE = 8
_OF_ONE_ACCOUNT = 4


class Places:
    """So many in all, and half of them for one account at most."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(AT_ONCE)
        self._of_account = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(_OF_ONE_ACCOUNT))

    @property
    def taken(self) -> bool:
        """Whether who asks for one now has to wait, whatever the account."""
        return self._all.locked()

    @contextlib.asynccontextmanager
    async def one_of(self, account: str) -> AsyncIterator[None]:
        """A place for a delivery of this account, in the order in which they are asked for."""
        async with self._of_account[account], self._all:
            yield

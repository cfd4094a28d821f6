"""Where uploads wait for their batch: on the event loop, while batches are carried out in threads.

A batch of an account begins a few milliseconds after the first upload that waits; what comes while it runs is the next
one. So a lone upload waits hardly at all, and a crowd shares few commits. What may wait is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from ingest.errors import UploadsBusy
from ingest.http.settings import UploadSettings
from ingest.uploads.batch import Batches, Upload


class Intake:
    """Takes uploads of all accounts; belongs to one event loop. `close` it."""

    def __init__(self, settings: UploadSettings, batches: Batches) -> None:
        self._settings = settings
        self._batches = batches
        self._waiting: dict[str, deque[tuple[Upload, asyncio.Future[None]]]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="uploads")
        self._count = 0
        self._bytes = 0

    async def carried_out(self, account: str, upload: Upload, size: int) -> None:
        """Have an upload carried out; its ``faults`` or its ``error`` are there when this returns.

        ``size`` is that of its body. Raises `UploadsBusy` when too many are waiting. An upload whose caller is
        cancelled is carried out all the same.
        """
        if self._count >= self._settings.max_waiting or self._bytes + size > self._settings.max_waiting_bytes:
            raise UploadsBusy("More uploads are waiting than may wait.")
        done = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account, deque()).append((upload, done))
        if account not in self._running:
            self._running[account] = asyncio.create_task(self._run(account))
        self._count += 1
        self._bytes += size
        try:
            await asyncio.shield(done)
        finally:
            self._count -= 1
            self._bytes -= size

    async def close(self) -> None:
        """Carry out what waits, and end."""
        await asyncio.gather(*self._running.values())
        await asyncio.to_thread(self._threads.shutdown)

    async def _run(self, account: str) -> None:
        """Batch after batch of one account, until none of its uploads waits."""
        waiting = self._waiting[account]
        try:
            await asyncio.sleep(self._settings.gather_ms / 1000)
            while waiting:
                batch = _drawn(waiting, self._settings.max_batch_records)
                uploads = [upload for upload, _ in batch]
                carried_out = asyncio.get_running_loop().run_in_executor(
                    self._threads, self._batches.carry_out, account, uploads
                )
                try:
                    await carried_out
                except BaseException:  # the service ends: whoever waits must not do so for ever
                    for _, done in (*batch, *waiting):
                        done.cancel()
                    raise
                for _, done in batch:
                    done.set_result(None)
        finally:
            del self._running[account], self._waiting[account]


def _drawn(waiting: deque[tuple[Upload, asyncio.Future[None]]], most: int) -> list[tuple[Upload, asyncio.Future[None]]]:
    """The uploads of the next batch: at least one, and more while they have at most so many records together."""
    batch = [waiting.popleft()]
    records = len(batch[0][0].body.records)
    while waiting and records + len(waiting[0][0].body.records) <= most:
        batch.append(waiting.popleft())
        records += len(batch[-1][0].body.records)
    return batch

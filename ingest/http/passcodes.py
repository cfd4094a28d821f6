"""Whether a passcode is right: hashed in threads of its own, a few at a time, and remembered for a while (FAULTS H9).

What is remembered is a MAC under a key of this process: neither the passcode nor its hash. Only good ones are, each as
long as its credential is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ingest.http.problems import Problem
from ingest.ledger.api_access import ApiAccess, Credential
from keystore.passcode import credential_id_of, fits

_THREADS = 2
_MOST_WAITING = 64
_MOST_REMEMBERED = 10_000
_REMEMBERED_S = 60.0
_MOST_CHARACTERS = 256


class Passcodes:
    """Checks passcodes; `close` it."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="passcode")
        self._waiting = 0
        self._key = os.urandom(32)
        self._good: dict[bytes, float] = {}

    def remembered(self, access: ApiAccess | None, passcode: str) -> Credential | None:
        """The credential of a passcode that was found right a short time ago; costs next to nothing."""
        credential = _claimed(access, passcode)
        if credential is None or self._good.get(self._mac(credential, passcode), 0.0) <= self._monotonic():
            return None
        return credential

    async def check(self, access: ApiAccess | None, passcode: str) -> Credential | None:
        """The credential that this is the passcode of; the same work for an account or credential that there is not.

        Raises a `Problem` when too many wait already.
        """
        if self._waiting >= _MOST_WAITING:
            raise Problem(503, "busy", "Too many logins are being checked. Try again.", {"Retry-After": "1"})
        credential = _claimed(access, passcode)
        verifier = None if credential is None else credential.verifier
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._threads, fits, passcode[:_MOST_CHARACTERS], verifier)
        finally:
            self._waiting -= 1
        if credential is None or not right:
            return None
        while len(self._good) >= _MOST_REMEMBERED:
            del self._good[next(iter(self._good))]
        self._good[self._mac(credential, passcode)] = self._monotonic() + _REMEMBERED_S
        return credential

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _mac(self, credential: Credential, passcode: str) -> bytes:
        # with the verifier, so that nothing is remembered of a credential that came back under the same ID
        said = "\0".join((credential.account, credential.verifier, passcode))
        return hmac.digest(self._key, said.encode(), hashlib.sha256)


def _claimed(access: ApiAccess | None, passcode: str) -> Credential | None:
    """The credential that a passcode says it belongs to."""
    return None if access is None else access.credentials.get(credential_id_of(passcode))

"""How much one message may cost, and the meter that stops it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from keystore.errors import EngineFailed, PlainTextTooLarge


@dataclass(frozen=True)
class Limits:
    """What one message may use; the defaults are those of CONTRACT.md 1."""

    max_plain_bytes: int = 5_000_000_000
    max_ratio: int = 200  # plain bytes for each encrypted byte read so far, beyond `ratio_free_bytes`
    ratio_free_bytes: int = 100_000_000
    max_seconds: float = 3600.0
    max_recipients: int = 32
    max_anonymous_recipients: int = 4
    max_nesting: int = 4  # compressed packets within each other
    legacy_ciphers: bool = False  # IDEA, 3DES, CAST5 and Blowfish, which only gpg reads (FAULTS.md P23)


class Meter:
    """Counts what one decryption reads and makes; the clock starts when it is built."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._deadline = time.monotonic() + limits.max_seconds
        self._encrypted = 0

    @property
    def seconds_left(self) -> float:
        """Seconds until the time limit; zero or less when it has passed."""
        return self._deadline - time.monotonic()

    def read(self, count: int) -> None:
        """Count encrypted bytes. Raises `EngineFailed` when the time limit has passed."""
        self._encrypted += count
        self.check_time()

    def made(self, total: int) -> None:
        """Check the plain bytes made so far by one layer (FAULTS.md P13).

        Raises `PlainTextTooLarge` beyond the size or the ratio cap, `EngineFailed` when the time limit has passed.
        """
        limits = self._limits
        if total > limits.max_plain_bytes:
            raise PlainTextTooLarge(
                f"The decrypted data is larger than {limits.max_plain_bytes:,} bytes, the most that one file may "
                "hold. Split the data into several files."
            )
        if total > limits.ratio_free_bytes and total > limits.max_ratio * self._encrypted:
            raise PlainTextTooLarge(
                f"The data expands to more than {limits.max_ratio} times the size of the encrypted file. Send it "
                "uncompressed, or split it into several files."
            )
        self.check_time()

    def check_time(self) -> None:
        """Raise `EngineFailed` when the time limit has passed."""
        if self.seconds_left <= 0:
            raise EngineFailed(
                "The file took too long to decrypt. It will be tried again.",
                detail=f"time limit of {self._limits.max_seconds} s",
            )

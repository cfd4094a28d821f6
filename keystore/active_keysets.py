"""The two keysets of ours that open messages: Primary, and Previous until its end (FAULTS.md H7).

Sealing needs no Previous: a message is always sealed to its recipient's newest keyset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from keystore.errors import HpkeCannotOpen
from keystore.tink_keyset import PrivateKeyset

Slot = Literal["primary", "previous"]


@dataclass(frozen=True, slots=True)
class Opened:
    """What a message held, and for the audit the key that opened it."""

    plain: bytes = field(repr=False)
    slot: Slot
    tink_key_id: int


@dataclass(frozen=True, slots=True)
class Previous:
    """The keyset that was Primary before; ``until`` is aware, and the first moment at which it opens nothing more."""

    keyset: PrivateKeyset
    until: datetime


@dataclass(frozen=True, slots=True)
class ActiveKeysets:
    """Primary and Previous, tried in this order."""

    primary: PrivateKeyset
    previous: Previous | None = None

    def open(self, sealed: bytes, account: str, now: datetime) -> Opened:
        """What the message holds; ``now`` is aware.

        Raises `HpkeCannotOpen`, one and the same for a key that is unknown, retired or another account's, a changed
        message, too few bytes, and everything else. Every active key has tried by then (FAULTS.md H4, H5).
        """
        for slot, keyset in self._at(now):
            found = keyset.opened(sealed, account)
            if found is not None:
                tink_key_id, plain = found
                return Opened(plain, slot, tink_key_id)
        raise HpkeCannotOpen(detail=self._seen(sealed, now))

    def _at(self, now: datetime) -> Iterator[tuple[Slot, PrivateKeyset]]:
        yield "primary", self.primary
        if self.previous is not None and now < self.previous.until:
            yield "previous", self.previous.keyset

    def _seen(self, sealed: bytes, now: datetime) -> str:
        """For the log: whether the prefix names a key that is active."""
        named = [
            f"{slot} key {key.tink_key_id}"
            for slot, keyset in self._at(now)
            for key in keyset.keys
            if key.output_prefix and sealed.startswith(key.output_prefix)
        ]
        return f"{len(sealed)} bytes; the prefix names {', '.join(named) or 'no active key'}"

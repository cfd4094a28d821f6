"""What can keep the door from opening; the operator sees these, never a sender.

Every error has a stable ``code``, a ``public`` text that says what to do, and a ``detail`` for the operator's log.
"""

from __future__ import annotations

from typing import ClassVar


class DoorError(Exception):
    """Base of this package's errors; only its leaves are raised."""

    code: ClassVar[str]

    def __init__(self, public: str, *, detail: str = "") -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail


class AddressUnavailable(DoorError):
    """The address cannot be listened on: another program has the port, or the address is not this machine's."""

    code = "door.address_unavailable"


class HostKeyMissing(DoorError):
    """There is no host key file; none is made silently (FAULTS.md S21)."""

    code = "door.host_key_missing"


class HostKeyExposed(DoorError):
    """Others than the owner may read or change the host key file."""

    code = "door.host_key_exposed"


class HostKeyUnusable(DoorError):
    """The host key file cannot be read, or holds no private key."""

    code = "door.host_key_unusable"


class HostKeyExists(DoorError):
    """A host key is there already and is not overwritten."""

    code = "door.host_key_exists"


class SharedCountsUnusable(DoorError):
    """The memory in which doors on one port count together cannot be used."""

    code = "door.shared_counts_unusable"

"""The door: the SFTP server through which customers send files."""

from __future__ import annotations

from ingest.door.errors import DoorError
from ingest.door.host_key import HostKey, describe_host_key, make_host_key
from ingest.door.login import Accesses
from ingest.door.open_files import Published
from ingest.door.server import Door

__all__ = [
    "Accesses",
    "Door",
    "DoorError",
    "HostKey",
    "Published",
    "describe_host_key",
    "make_host_key",
]

"""The door: the SFTP server through which customers send files."""

from __future__ import annotations

from ingest.door.connection import AuthorizedKeys
from ingest.door.errors import DoorError
from ingest.door.host_key import HostKey, describe_host_key, make_host_key
from ingest.door.server import Door
from ingest.door.view import Published

__all__ = [
    "AuthorizedKeys",
    "Door",
    "DoorError",
    "HostKey",
    "Published",
    "describe_host_key",
    "make_host_key",
]

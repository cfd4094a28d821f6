"""Cursors: where a reader of events is, signed, so that the service need not remember it.

A cursor is bound to its account and good for a time. It names a version of the table, so that a reader sees one state
of it from the first page to the last. What is in it is nobody's business but ours.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingest.errors import CursorInvalid
from keystore.secret import Secret
from stores.event_pages import EventQuery, Place

_MAC_BYTES = 32
_MOST_CHARS = 4096
_SKEW = timedelta(minutes=1)
_INVALID = "This is no cursor of this account, or its time is over."


@dataclass(frozen=True, slots=True)
class Reading:
    """What one page after the other reads; ``version`` is ``None`` when the account had no events at all."""

    version: int | None
    query: EventQuery
    size: int
    place: Place


class Cursors:
    """Makes and opens cursors with one key, good for ``lasts``."""

    def __init__(self, key: Secret, *, lasts: timedelta) -> None:
        self._key = key
        self._lasts = lasts

    def made(self, account: str, reading: Reading, *, now: datetime) -> str:
        """The cursor that goes on with this reading."""
        query = reading.query
        times = [round(moment.timestamp()) for moment in (query.since, query.until, now + self._lasts)]
        content = json.dumps([reading.version, query.name, *times, reading.size, *reading.place]).encode()
        return base64.urlsafe_b64encode(self._mac(account, content) + content).rstrip(b"=").decode()

    def opened(self, account: str, cursor: str, *, now: datetime) -> Reading:
        """What a cursor reads. Raises `CursorInvalid`: changed, another account's, too old, or none of ours."""
        try:
            if len(cursor) > _MOST_CHARS or not cursor.isascii():
                raise CursorInvalid(_INVALID)
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            raise CursorInvalid(_INVALID) from None
        mac, content = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(account, content)):
            raise CursorInvalid(_INVALID)
        version, name, since, until, good_until, size, file, row = json.loads(content)
        left = datetime.fromtimestamp(good_until, UTC) - now
        if left < timedelta() or left > self._lasts + _SKEW:  # one that is good for longer was made by a wrong clock
            raise CursorInvalid(_INVALID)
        start = datetime.fromtimestamp(0, UTC)
        query = EventQuery(name, start + timedelta(seconds=since), start + timedelta(seconds=until))
        return Reading(version, query, size, Place(file, row))

    def _mac(self, account: str, content: bytes) -> bytes:
        return hmac.new(self._key.expose(), account.encode() + b"\0" + content, hashlib.sha256).digest()

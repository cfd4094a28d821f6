"""The key that signs the cursors of the HTTP API: made once, sealed in the vault, the same in every process."""

from __future__ import annotations

import contextlib
import secrets

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from ingest.app import App
from ingest.ledger.api_tables import cursor_keys
from ingest.ledger.sealed import CURSOR_KEY
from keystore.secret import Secret

_BYTES = 32


def open_cursor_key(app: App) -> Secret:
    """The key; the first who asks makes it. Blocks. Raises what the vault and the ledger raise."""
    if (sealed := _sealed(app)) is None:
        made = app.open_vault().seal(secrets.token_bytes(_BYTES), CURSOR_KEY.record_id())
        with contextlib.suppress(IntegrityError), app.database.write() as connection:  # another process may be faster
            connection.execute(insert(cursor_keys).values(id=1, created_at=app.now(), sealed_key=made))
        sealed = _sealed(app)
    if sealed is None:
        raise LookupError("the key of cursors is gone as soon as it came")
    return app.open_vault().open(sealed, CURSOR_KEY.record_id())  # after it was read: so there is its master key


def _sealed(app: App) -> bytes | None:
    with app.database.read() as connection:
        sealed: bytes | None = connection.scalar(select(cursor_keys.c.sealed_key))
        return sealed

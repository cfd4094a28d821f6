"""Custody of the keys that sign access tokens: made, sealed, and opened again."""

from __future__ import annotations

from datetime import timedelta

from ingest.app import App
from ingest.ledger.sealed import TOKEN_KEY
from ingest.ledger.token_keys import StoredTokenKey
from keystore.access_token import TokenKey

_UNTIL_KNOWN = timedelta(minutes=5)


def renew_token_key(app: App, max_age: timedelta) -> None:
    """Make the key that signs from now on, unless the newest is young enough. Raises what the vault raises."""
    now = app.now()
    stored = app.token_keys.all()
    if stored and stored[0].created_at >= now - max_age:
        return
    made = TokenKey.generate()
    sealed = app.open_vault().seal(made.as_pem().expose(), TOKEN_KEY.record_id(record=made.kid))
    app.token_keys.add(StoredTokenKey(made.kid, now, sealed), older_than=now - max_age)


def open_token_keys(app: App) -> list[TokenKey]:
    """The keys, the one that signs first: the newest, once other processes had time to read it.

    Raises what the vault raises.
    """
    stored = app.token_keys.all()
    if not stored:
        return []
    if len(stored) > 1 and app.now() - stored[0].created_at < _UNTIL_KNOWN:
        stored.reverse()
    vault = app.open_vault()  # after the keys were read: so it has the master key that they name
    return [TokenKey(vault.open(one.sealed, TOKEN_KEY.record_id(record=one.kid))) for one in stored]

"""Which columns of the ledger hold sealed secrets, and the identity that each secret is sealed as.

Whoever adds a column of secrets makes it with `ingest.ledger.tables.sealed_column` and names it here: then a rotation
of the master key reaches it. A test finds one that is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column

from ingest.ledger.api_tables import cursor_keys, token_keys
from ingest.ledger.tables import audit_tip, keysets, pgp_keys, webhook_secrets
from keystore.vault import RecordId


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed secrets of one kind; account, record and version of a secret stand in the columns named.

    Without a column for it, the version is 1: what is sealed never changes.
    """

    column: Column[bytes]
    kind: str
    account: str | None
    record: str | None
    version: str | None = None

    def record_id(self, account: str = "", record: str = "", version: int = 1) -> RecordId:
        """The identity of a secret in this column."""
        return RecordId(account, record, self.kind, version)

    @property
    def under(self) -> Column[bytes]:
        """The column with the ID of the master key that each secret is sealed under."""
        return self.column.table.c[f"{self.column.name}_under"]


PGP_PRIVATE_KEY = SealedColumn(pgp_keys.c.sealed_private_key, "pgp.private_key", "account", "key_id", "version")
PGP_PASSPHRASE = SealedColumn(pgp_keys.c.sealed_passphrase, "pgp.passphrase", "account", "key_id", "version")
AUDIT_KEY = SealedColumn(audit_tip.c.sealed_first_key, "audit.first_key", None, None)
REQUEST_KEYSET = SealedColumn(keysets.c.sealed_private_keyset, "hpke.request_keyset", "account", "keyset_id")
WEBHOOK_SECRET = SealedColumn(webhook_secrets.c.sealed_secret, "webhook.secret", "account", "secret_id")
TOKEN_KEY = SealedColumn(token_keys.c.sealed_private_key, "api.token_key", None, "kid")
CURSOR_KEY = SealedColumn(cursor_keys.c.sealed_key, "http.cursor_key", None, None)

SEALED_COLUMNS = (PGP_PRIVATE_KEY, PGP_PASSPHRASE, AUDIT_KEY, REQUEST_KEYSET, WEBHOOK_SECRET, TOKEN_KEY, CURSOR_KEY)

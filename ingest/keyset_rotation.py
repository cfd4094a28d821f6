"""Our request keysets are replaced when they are old: by themselves, with the former one valid beside the new one."""

from __future__ import annotations

from datetime import timedelta

import structlog

from ingest.app import App
from ingest.errors import RotationRefused
from ingest.keyset_custody import make_request_keyset
from ingest.ledger.keysets import Keyset
from keystore.hpke import Kem
from keystore.tink_keyset import PublicKeyset

_log = structlog.get_logger()


def rotate_due_keysets(app: App) -> None:
    """Rotate the primary request keyset of each active account that has one of that age, by one of its kind.

    Several processes may come at once: one rotates. Raises what the vault raises.
    """
    settings = app.settings.http
    due_before = app.now() - timedelta(days=settings.keyset_days)
    overlap = timedelta(days=settings.keyset_overlap_days)
    for account in app.accounts.all():
        primary = app.keysets.primary(account.id, "request")
        if account.state != "active" or primary is None or primary.created_at > due_before:
            continue
        try:
            stored = make_request_keyset(
                app, account.id, kem=_kem_of(primary), rotate=True, keep_former=overlap, actor="sealdrop"
            )
        except RotationRefused:
            continue  # another process was faster, or the operator lets the previous one live on
        _log.info(
            "keyset_rotated",
            action="keyset_rotated",
            account=account.id,
            keyset_id=stored.keyset.keyset_id,
            former_until=None if stored.former is None else f"{stored.former.until:%Y-%m-%dT%H:%M:%SZ}",
        )


def _kem_of(keyset: Keyset) -> Kem:
    return PublicKeyset.read(keyset.public_keyset).keys[0].key.kem

"""Recovery at the start of a service: whatever a crash, a power cut or a restored backup left has one end.

- a torn end of a lake's log: set aside, and its import runs again (`stores.recovery`);
- gpg folders of workers that were killed, with keys in them: removed;
- files of an import that the ledger does not know, as after an older ledger was restored: the import comes back under
  its own ID. If the lake has its rows it succeeds without storing them again; if not it is carried out;
- such files whose account is not known either: left where they are, told here and by `sealdrop check`;
- rows in the lake of which the ledger knows nothing, as of uploads by HTTP: what is received now comes after them;
- an import in the ledger whose files are gone: carried out like any other. It succeeds if the lake has its rows;
  otherwise it fails as `manifest.file_missing`, and its sender is told (`ingest.carry`).

Safe to repeat, and beside other services: a file is taken only after its import is in the ledger.

Diagnostics: ``lake_entry_set_aside``, ``lake_damaged``, ``gpg_homes_swept``, ``import_recovered``,
``import_unrecovered``, ``files_without_owner``.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import structlog

from failpoints import passing
from ingest.app import App
from ingest.errors import LedgerConflict
from ingest.ledger.accounts import Account
from keystore.openpgp import sweep_homes
from manifests.errors import ManifestInvalid
from manifests.parse import parse_manifest
from manifests.types import ImportType
from stores.errors import StoreError

_log = structlog.get_logger()


def recover(app: App) -> None:
    """Bring everything to its end or on its way. Raises `LedgerUnavailable`."""
    if (homes := sweep_homes()) > 0:
        _log.warning("gpg_homes_swept", action="gpg_homes_swept", homes=homes)
    accounts = {account.id: account for account in app.accounts.all()}
    for account in accounts.values():
        try:
            for set_aside in app.lake.recover(account.id):
                _log.warning("lake_entry_set_aside", action="lake_entry_set_aside", entry=set_aside)
        except StoreError as error:  # that account's imports will be held; the others go on
            _log.error("lake_damaged", action="lake_damaged", account=account.id, detail=error.detail)
    passing("recovery.logs_read")
    for import_id in unknown_imports(app):
        owner = accounts.get(app.spool.owner(import_id) or "")
        if owner is None:
            _log.error("files_without_owner", action="files_without_owner", import_id=import_id)
        else:
            _bring_back(app, owner, import_id)
    for name in accounts:
        with suppress(StoreError):  # told above
            app.imports.pass_by(name, app.lake.last_sequence(name), app.now())


def unknown_imports(app: App) -> list[str]:
    """The imports that have files in the spool and no row in the ledger."""
    there = app.spool.all_taken()
    known = app.imports.known(there)
    return [import_id for import_id in there if import_id not in known]


def _bring_back(app: App, account: Account, import_id: str) -> None:
    """Record the import again under its own ID, so that nothing of it is stored twice, and make it ready."""
    data_file = None
    manifest = app.spool.taken(import_id, "manifest")
    with suppress(FileNotFoundError, ManifestInvalid):  # the import itself says what is wrong
        data_file = parse_manifest(manifest.read_bytes()).file_name
    try:
        app.imports.bring_back(
            import_id,
            account.id,
            data_file,
            received_at=_received_at(app, import_id),
            sequence=_sequence(app, account.id, import_id),
            replay_of=app.spool.replayed(import_id),
            now=app.now(),
        )
    except (StoreError, LedgerConflict) as error:
        _log.error("import_unrecovered", action="import_unrecovered", import_id=import_id, detail=error.detail)
        return
    passing("recovery.brought_back")
    _log.warning("import_recovered", action="import_recovered", import_id=import_id, account=account.id)


def _sequence(app: App, account: str, import_id: str) -> int | None:
    """Its place among the account's imports, if its rows are in the lake: no later import may get the same."""
    found = (app.lake.sequence_of(account, kind, import_id) for kind in ImportType)
    return next((sequence for sequence in found if sequence is not None), None)


def _received_at(app: App, import_id: str) -> datetime:
    """When it was received, to the second, as its ID says; now when it says no time."""
    try:
        return datetime.strptime(f"{import_id.split('-')[0]}+0000", "%Y%m%dt%H%M%S%z")
    except ValueError:
        return app.now()

"""Imports that the operator asks for: files given by hand, and replays of what was uploaded before.

A replay is a new import of files that are still kept, with a corrected manifest. Rows that were stored from the file
before are never stored again: it stores only the others, at the place in the account's history where the file belongs.
Which rows those are is told by their numbers, so the corrected manifest must cut the file into the same rows.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from failpoints import passing
from ingest.app import App
from ingest.errors import MoveRefused, ReplayRefused
from ingest.ledger.imports import new_import_id
from manifests.errors import ManifestInvalid
from manifests.model import Manifest
from manifests.parse import parse_manifest

_COPIED_AT_ONCE = 1 << 20


def receive(app: App, account: str, manifest_name: str, manifest: bytes, data: Path | None) -> str:
    """Take copies of a manifest and its data file as a new import that is ready; its ID. The files stay."""

    def copied(part: Path) -> None:
        if data is not None:
            with data.open("rb") as source, part.open("xb") as target:
                shutil.copyfileobj(source, target, _COPIED_AT_ONCE)

    data_file = None if data is None else data.name
    return _receive(app, account, manifest_name, manifest, data_file, copied)


def replay(app: App, account: str, import_id: str, manifest: bytes | None) -> str:
    """Import the kept files of an import again, with another manifest if one is given; the new import's ID.

    Raises `ReplayRefused` when that cannot be done, or not without storing rows twice; `MoveRefused` while the import,
    or another replay of it, is not over.
    """
    old = app.imports.get(import_id)
    if old is None or old.account != account:
        raise ReplayRefused(f"The account {account} has no import {import_id}: `sealdrop imports list` shows them.")
    data = app.spool.taken(import_id, "data")
    if old.data_file is None or not data.is_file() or not app.spool.taken(import_id, "manifest").is_file():
        raise ReplayRefused(
            f"The files of the import {import_id} are not kept any more (`retention.archive_days`): they must be sent "
            "again."
        )
    content = app.spool.taken(import_id, "manifest").read_bytes() if manifest is None else manifest
    try:
        parsed = parse_manifest(content)
    except ManifestInvalid as invalid:
        raise ReplayRefused(f"The manifest cannot be used, and nothing was imported. {invalid.public}") from None
    if parsed.file_name != old.data_file:
        raise ReplayRefused(f"The manifest names {parsed.file_name}, but the import {import_id} had {old.data_file}.")
    root = old.replay_of or old.id
    _check_rows(app, root, parsed)

    def linked(part: Path) -> None:
        os.link(data, part)

    return _receive(app, account, old.manifest, content, old.data_file, linked, replay_of=root)


def _check_rows(app: App, root: str, manifest: Manifest) -> None:
    """Whether the rows that are stored can be told from those that are not. Raises `ReplayRefused`."""
    family = [app.imports.get(each) for each in (root, *app.replays.origin(root).others)]
    storing = [report for report in family if report is not None and report.rows_stored and not report.dry_run]
    if not storing:
        return
    first = storing[0]
    if sum(report.rows_stored for report in storing) >= first.rows_read:
        raise ReplayRefused(
            f"Every row of the file is stored already ({first.rows_stored:,} by {first.id}): a replay would store "
            "none. To store rows again, send the file again as a new upload."
        )
    kept = app.spool.taken(first.id, "manifest")
    before = parse_manifest(kept.read_bytes()) if kept.is_file() else None
    if before is None or _cut(before) != _cut(manifest):
        raise ReplayRefused(
            f"The import {first.id} has stored {first.rows_stored:,} rows of the file. A replay stores only the "
            "others, and tells them by their numbers: so `type`, `delimiter`, `quote`, `encoding` and `header` must "
            "stay as they were, and the manifest of that import must still be kept."
        )


def _cut(manifest: Manifest) -> tuple[object, ...]:
    """What says into which rows a file is cut, and which table they go to."""
    return manifest.type, manifest.delimiter, manifest.quote, manifest.encoding, manifest.header


def _receive(
    app: App,
    account: str,
    manifest_name: str,
    manifest: bytes,
    data_file: str | None,
    put_data: Callable[[Path], None],
    *,
    replay_of: str | None = None,
) -> str:
    """Copy the files of an import, then record it and take them; its ID.

    The copies are durable before the ledger knows of the import: so it never gets files of the same names that wait in
    the drop. Under the account's lock, so that no collector finishes it in between.
    """
    app.spool.prepare()
    app.spool.open_account(account)
    now = app.now()
    import_id = new_import_id(now)
    folder = app.spool.begin_giving(account, import_id, replay_of=replay_of)
    try:
        (folder / "manifest").write_bytes(manifest)
        put_data(folder / "data")
        passing("by_hand.written")
        app.spool.keep_given(import_id)
        passing("by_hand.kept")
    except BaseException:
        app.spool.discard_given(import_id)
        raise
    with app.spool.locked(account):
        try:
            app.imports.receive(import_id, account, manifest_name[:128], data_file, now, replay_of=replay_of)
        except MoveRefused:
            app.spool.discard_given(import_id)
            raise
        # from here on a collector brings it to ready when this process does not
        passing("by_hand.received")
        app.spool.take_given(import_id)
        passing("by_hand.taken")
        app.imports.ready(import_id, now)
    passing("by_hand.ready")
    return import_id

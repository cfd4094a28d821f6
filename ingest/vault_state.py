"""What can be told of the master key without showing it: its ID, its source, what it seals, what is left to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ingest.app import App
from keystore.errors import KeystoreError
from keystore.master_key import CREDENTIAL_NAME, SourceKind, next_key_file, old_key_file

_HOW: dict[SourceKind, str] = {
    "credential": "encrypt it as the credential, with `systemd-creds encrypt --name={name} {next} FILE`",
    "environment": "put its content into the environment of the service",
}
_RENAME = "rename it to {path}"


@dataclass(frozen=True, slots=True)
class VaultState:
    """The state of the vault; ``secrets`` counts the sealed secrets under each master key's public ID.

    ``to_do`` is what the operator has to do about the file for the next key, and ``problem`` why the vault does not
    open; each ``None`` when there is nothing.
    """

    master_key: str | None
    since: datetime | None
    source: str | None
    secrets: dict[str, int]
    rotation_unfinished: bool
    old_key_files: tuple[Path, ...]
    to_do: str | None
    problem: str | None


def vault_state(app: App) -> VaultState:
    """Look at the vault; changes nothing. Raises `LedgerUnavailable` only."""
    path = app.settings.vault.master_key_file
    problem, source, to_do = None, None, None
    named = app.master_keys.all()
    try:
        app.open_vault()
        source = app.held_keys.held(named[-1].id).place
        to_do = _to_do(app, named[-1].id, unfinished=len(named) > 1)
    except KeystoreError as error:
        problem = f"{error.public} ({error.detail})" if error.detail else error.public
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}"
    old = old_key_file(path, "*")
    return VaultState(
        master_key=named[-1].id if named else None,
        since=named[-1].since if named else None,
        source=source,
        secrets=app.master_keys.counts(),
        rotation_unfinished=len(named) > 1,
        old_key_files=tuple(sorted(old.parent.glob(old.name))),
        to_do=to_do,
        problem=problem,
    )


def _to_do(app: App, sealing: str, *, unfinished: bool) -> str | None:
    """What is left to do about a next key that is not in place."""
    path = app.settings.vault.master_key_file
    following = next_key_file(path)
    if unfinished:
        return "A rotation is unfinished: run `sealdrop vault rotate` again."
    if not following.exists():
        return None
    first = app.held_keys.first()
    if first is not None and first.id == sealing:
        return f"{following} is no longer needed: the master key comes from {first.place}. Remove it."
    how = _RENAME if first is None else _HOW.get(first.kind, _RENAME)
    how = how.format(path=path, next=following, name=CREDENTIAL_NAME)
    return (
        f"The master key comes from {following}, which is meant for a rotation only: {how}; then restart the service."
    )

"""Rotation of the master key, beside a running service: every sealed secret is wrapped under a new master key.

Safe to interrupt at any point, and to run again until it is done (FAULTS.md K3; docs/adr/0011):

    1. the new key lies durably in ``master.key.next``
    2. the ledger names it: from here on it seals, and both keys open
    3. the secrets are wrapped anew, some in each transaction
    4. the ledger forgets the old key, which its constraints refuse as long as one secret needs it
    5. the old key moves aside to ``master.key.old-ID``, and the new one takes its place

Nothing here ever removes a key. A key from a credential or from the environment is not ours to replace: then the new
one stays in ``master.key.next``, where every process finds it, until the operator has put it where the old one is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest.app import App
from ingest.errors import RotationRefused
from keystore.master_key import (
    MasterKey,
    make_master_key,
    next_key_file,
    old_key_file,
    put_next_in_place,
    write_master_key,
)
from keystore.vault import RecordId, Vault


@dataclass(frozen=True, slots=True)
class Rotated:
    """How a rotation ended: the public IDs of the keys, and how many secrets this run has wrapped anew.

    ``damaged`` names secrets that do not open: they still need the old key, and the rotation is unfinished.
    ``old_key_file`` is where the old key lies since the new one took its place; ``None`` when it did not, and the new
    one is still in the file for the next key.
    """

    old_id: str
    new_id: str
    secrets: int
    damaged: tuple[RecordId, ...]
    old_key_file: Path | None


def rotate(app: App, *, new_key: MasterKey | None, actor: str) -> Rotated:
    """Go from the master key in use to ``new_key``, or to a new random one; goes on with a rotation that was cut off.

    Raises `RotationRefused` when that cannot be done now, and what the vault raises.
    """
    _refuse_another_user(app)
    with _alone(app.settings.vault.master_key_file.resolve().parent):
        app.open_vault()
        old_id, *begun = [key.id for key in app.master_keys.all()]
        if begun:
            _refuse_a_third(new_key, begun[0])
            return _carried_through(app, old_id, begun[0], actor)
        following = app.held_keys.following()
        if following is None:
            following = _written(app, new_key, old_id)
        elif following.id == old_id:
            return _last_step_of_the_one_before(app, following)
        _refuse_a_third(new_key, following.id)
        old = app.held_keys.held(old_id)
        app.master_keys.begin(Vault(following.secret, old.secret), at=app.now(), actor=actor)
        return _carried_through(app, old_id, following.id, actor)


def _refuse_a_third(new_key: MasterKey | None, next_id: str) -> None:
    if new_key is not None and new_key.id != next_id:
        raise RotationRefused(
            f"A rotation to the master key with the ID {next_id} was begun: finish it first, with "
            "`sealdrop vault rotate` alone."
        )


def _written(app: App, new_key: MasterKey | None, old_id: str) -> MasterKey:
    """The next key, once it lies durably in its file, as it is read from there."""
    file = next_key_file(app.settings.vault.master_key_file)
    if new_key is None:
        make_master_key(file)
    elif new_key.id == old_id:
        raise RotationRefused(f"{new_key.place} holds the master key that is in use already.")
    else:
        write_master_key(file, new_key.secret)
    following = app.held_keys.following()
    if following is None or following.id == old_id:
        raise RotationRefused(f"{file} was changed by somebody else.")
    return following


def _carried_through(app: App, old_id: str, new_id: str, actor: str) -> Rotated:
    """Wrap everything anew, forget the old key, and put the new one in its place."""
    vault = app.open_vault()
    secrets = 0
    while True:
        done = app.master_keys.rewrap(vault)
        secrets += done.count
        left = app.master_keys.finish(vault, at=app.now(), actor=actor)
        if left == 0:
            break
        if left <= len(done.damaged):
            return Rotated(old_id, new_id, secrets, done.damaged, None)
        # else a process has sealed under the old key until just now, and stored it meanwhile
    return Rotated(old_id, new_id, secrets, (), _put_in_place(app, old_id, new_id))


def _put_in_place(app: App, old_id: str, new_id: str) -> Path | None:
    """The file of the old key, when the new one could take its place: not so for a source that we cannot write."""
    path, first = app.settings.vault.master_key_file, app.held_keys.first()
    if first is None or first.kind != "file" or first.id != old_id:
        return None
    try:
        put_next_in_place(path, old_id=old_id, new_id=new_id)
    except OSError:  # a file that is mounted by itself: it stays as with a credential
        return None
    return old_key_file(path, old_id)


def _last_step_of_the_one_before(app: App, following: MasterKey) -> Rotated:
    """What was left to do for a rotation that was cut off after the ledger was done with it."""
    path, first = app.settings.vault.master_key_file, app.held_keys.first()
    if first is not None and first.id != following.id:
        placed = _put_in_place(app, first.id, following.id)
        if placed is not None:
            return Rotated(first.id, following.id, 0, (), placed)
    place = f"the file {path}" if first is None else first.place
    raise RotationRefused(
        f"The key of the last rotation, with the ID {following.id}, is still in {next_key_file(path)}: put it into "
        f"{place}, restart the service, and remove that file; `sealdrop vault show` shows the way. Then rotate again."
    )


def _refuse_another_user(app: App) -> None:
    """Files that another user makes could not be read by the service."""
    owner = app.settings.data_dir.stat().st_uid
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise RotationRefused(
        f"The installation belongs to another user: run this as {name}, with `sudo -u {name} sealdrop ...`."
    )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One rotation at a time; the lock ends with the process, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RotationRefused("Another rotation is running on this installation.") from None
        yield
    finally:
        os.close(descriptor)

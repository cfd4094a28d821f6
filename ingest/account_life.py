"""The end of an account: disabled for a while, or removed for good.

An import that waits ends as failed, with `AccountDisabled` and a notice (FAULTS.md K8), in the way in which every
import ends: carried out, so that whatever the lake holds of it already is told as what it is. An import that a worker
holds at that moment is finished by the worker.
"""

from __future__ import annotations

from dataclasses import dataclass

from ingest.app import App
from ingest.errors import MoveRefused
from ingest.states import OVER, PairState, State


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of an account's imports: how many have ended now, and how many are still on their way."""

    imports: int
    unfinished: int


def disable(app: App, account: str, *, actor: str) -> Ended:
    """Let nobody log in to the account, and end its waiting imports; one that is held keeps waiting for the operator.

    Raises `MoveRefused` for a removed account, and what the vault raises.
    """
    app.accounts.set_state(account, "disabled", now=app.now(), actor=actor)
    return _end_waiting(app, account)


def enable(app: App, account: str, *, actor: str) -> None:
    """Let the account log in and import again. Raises `MoveRefused` for a removed one."""
    app.accounts.set_state(account, "active", now=app.now(), actor=actor)


def remove(app: App, account: str, *, actor: str) -> Ended:
    """End everything of the account but its data in the lake, the history of its imports, and the audit.

    Its waiting imports fail, its pairs are destroyed, its SSH keys, signers, keysets, contacts and files in the spool
    are gone; its name is never given again. Safe to repeat after a crash. Raises `MoveRefused` while an import of it is
    not over, or when it is removed already, and what the vault raises.
    """
    app.accounts.set_state(account, "disabled", now=app.now(), actor=actor)
    with app.spool.locked(account):
        for received in app.imports.received(account):
            app.imports.ready(received.id, app.now())  # no collector comes for its files any more
    for held in app.imports.ids(account, [State.HELD]):
        app.imports.retry(held, app.now())
    ended = _end_waiting(app, account)
    if ended.unfinished:
        raise MoveRefused(
            f"The account {account} is disabled, but {ended.unfinished} of its imports are not over yet: remove it "
            f"again when `sealdrop imports list --account {account}` shows none that is running or deferred."
        )
    stored = [key for key in app.pgp_keys.of_account(account) if key.state is not PairState.DESTROYED]
    app.pgp_keys.move(stored, PairState.DESTROYED, actor=actor, now=app.now())
    for import_id in app.imports.ids(account, list(OVER)):
        app.spool.discard_taken(import_id)
    app.spool.remove_account(account)
    app.accounts.remove(account, now=app.now(), actor=actor)
    return ended


def _end_waiting(app: App, account: str) -> Ended:
    """Carry out what no worker holds, due or not: the imports of a disabled account end at once."""
    on_their_way = [State.READY, State.DEFERRED, State.RUNNING]
    waiting = app.imports.ids(account, on_their_way)
    for import_id in waiting:
        lease = app.queue.claim_waiting(import_id, app.now())
        if lease is not None:
            app.carrier.carry_out(lease)
    unfinished = len(app.imports.ids(account, on_their_way))
    return Ended(len(waiting) - unfinished, unfinished)

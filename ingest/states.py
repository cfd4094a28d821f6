"""The states of imports and of key pairs, and the moves between them, as data."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where an import stands.

    ``received``: in the ledger, its files are being taken. ``ready``: waits for a worker. ``running``: a worker holds
    its lease. ``deferred``: waits for its next try. ``held``: waits for the operator. ``succeeded``, ``failed`` and
    ``skipped`` are ends; ``skipped``: another import has stored the rows of the same bytes, and the account wants them
    once.
    """

    RECEIVED = "received"
    READY = "ready"
    RUNNING = "running"
    DEFERRED = "deferred"
    HELD = "held"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


MOVES: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.READY}),
    State.READY: frozenset({State.RUNNING}),
    # running to running: the lease ended and another worker takes over
    # running to ready: its worker was stopped in good order and gave it back
    State.RUNNING: frozenset(
        {State.RUNNING, State.READY, State.SUCCEEDED, State.FAILED, State.DEFERRED, State.HELD, State.SKIPPED}
    ),
    State.DEFERRED: frozenset({State.RUNNING}),
    # held or failed to ready: the operator has changed something, and lets it be tried again
    # held to failed: it was replayed with another manifest, and waits for nobody any more
    State.HELD: frozenset({State.READY, State.FAILED}),
    State.FAILED: frozenset({State.READY}),
    State.SUCCEEDED: frozenset(),
    State.SKIPPED: frozenset(),
}

OVER = frozenset({State.SUCCEEDED, State.FAILED, State.SKIPPED})
"""States in which nobody waits for anything: what is kept of the import is kept for a time."""

ENDS = OVER | {State.HELD}
"""States in which no worker will touch the import by itself."""

STORED = frozenset({State.SUCCEEDED, State.SKIPPED})
"""States in which there is nothing left to do for the file: this import has done it, or the first of its kind."""


class PairState(StrEnum):
    """Where a key pair stands.

    ``active``: opens files, and senders encrypt to it. ``retiring``: opens files until a date. ``retired``: opens none,
    but can be called back. ``destroyed``: its secrets are gone for good; what it was, and the audit, stay.
    """

    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    DESTROYED = "destroyed"


PAIR_MOVES: dict[PairState, frozenset[PairState]] = {
    PairState.ACTIVE: frozenset({PairState.RETIRING, PairState.RETIRED, PairState.DESTROYED}),
    # retiring to retiring: to another date
    PairState.RETIRING: frozenset(PairState),
    PairState.RETIRED: frozenset({PairState.ACTIVE, PairState.DESTROYED}),
    PairState.DESTROYED: frozenset(),
}

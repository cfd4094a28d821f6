"""A drill: a test message is encrypted to a stored pair and decrypted again, through the engine that reads files."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from time import perf_counter

from ingest.app import App
from ingest.ledger.pgp_keys import PgpKey
from ingest.outcomes import cause_of, code_of, public_of
from keystore.errors import Corrupt, KeystoreError
from keystore.openpgp import decrypt
from keystore.pgp_encrypt import encrypt_to

_TEST_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Drill:
    """How a drill ended; ``code``, ``problem`` and ``detail`` are empty when the pair opened the test message."""

    key: PgpKey
    seconds: float
    code: str = ""
    problem: str = ""
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether the test message came back as it was."""
        return not self.code


def run_drill(app: App, key: PgpKey, *, actor: str) -> Drill:
    """Drill one pair, which counts as no use of it. What an import of its files would meet is in the result.

    Raises what the vault raises at its opening: then no pair can be drilled.
    """
    pair = app.keyring.stored(key)
    pair.signatures = "ignore"  # the test message has none, whatever files need
    plain, started = os.urandom(_TEST_BYTES), perf_counter()
    try:
        message = encrypt_to(key.public_key, plain)
        came_back = b"".join(decrypt(io.BytesIO(message), [pair], engine=app.settings.openpgp.engine, now=app.now()))
        if came_back != plain:
            raise Corrupt(detail="the test message came back as another one")
        drill = Drill(key, perf_counter() - started)
    except KeystoreError as error:
        drill = Drill(key, perf_counter() - started, code_of(error), public_of(error), cause_of(error))
    app.pgp_keys.record(key, "key.drill", drill.code or "passed", actor=actor, now=app.now())
    return drill

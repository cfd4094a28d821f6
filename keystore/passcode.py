"""Passcodes of the HTTP API: made by us, shown once, kept only as what tells them again.

A passcode is the ID of its credential, a dot, and 256 random bits: so a check costs one hash, however many credentials
an account has, and nobody can be shut out by wrong tries who keeps the ID to himself.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

# RFC 9106 §4 recommends more memory for passwords that people choose; these cannot be guessed in any case
_ITERATIONS, _LANES, _MEMORY_KIB = 2, 1, 19_456
_ID_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that is read as another
_ID_LENGTH = 10
# the form of a verifier, which no passcode fits
_NOBODYS = f"$argon2id$v=19$m={_MEMORY_KIB},t={_ITERATIONS},p={_LANES}${'A' * 22}${'A' * 43}"


@dataclass(frozen=True, slots=True)
class Passcode:
    """A passcode; ``text`` is what its owner sends."""

    credential_id: str
    text: str = field(repr=False)


def make_passcode() -> Passcode:
    """A new passcode, of characters that need no escaping in headers, forms and shells."""
    credential_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
    return Passcode(credential_id, f"{credential_id}.{secrets.token_urlsafe(32)}")


def credential_id_of(text: str) -> str:
    """The credential that a passcode says it belongs to."""
    return text.partition(".")[0]


def verifier_of(text: str) -> str:
    """What tells the passcode again and does not give it away: Argon2id in the PHC string format. Takes 30 ms."""
    kdf = Argon2id(salt=os.urandom(16), length=32, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY_KIB)
    return kdf.derive_phc_encoded(text.encode())


def fits(text: str, verifier: str | None) -> bool:
    """Whether this is the passcode; the same work when there is nothing to compare it with (FAULTS.md H9)."""
    try:
        Argon2id.verify_phc_encoded(text.encode(), verifier or _NOBODYS)
    except InvalidKey:
        return False
    return verifier is not None

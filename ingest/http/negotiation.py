"""What a request asks for with HPKE, and whether it may: the table of outcomes, as data.

Two headers ask. ``Content-Type`` says that the body is encrypted; ``Accept`` asks for an encrypted answer. What a body
is can be told without any key: JSON is text, and what HPKE makes is not. So nothing here depends on a decryption.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from ingest.http.problems import Problem
from ingest.ledger.api_access import HpkeRules

MEDIA_TYPE = "application/octet-stream+hpke"
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LOOKED_AT = 1024  # bytes for control characters: what HPKE makes has them all over


class BodyKind(Enum):
    """What a body looks like to anybody."""

    NONE = "none"
    TEXT = "text"
    BINARY = "binary"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the headers ask for."""

    sealed_body: bool
    sealed_answer: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a row of the table ends: ``status`` 0 goes on."""

    code: str
    status: int
    error: str = ""


_NO_HPKE = (
    "Encryption with HPKE is not switched on for this account: ask whoever runs this service, or send and accept plain "
    "JSON."
)
OPENED = "hpke.opened"
# headers sent, feature enabled, body encrypted
OUTCOMES: dict[tuple[bool, bool, bool], Outcome] = {
    (True, True, True): Outcome(OPENED, 0),
    (True, True, False): Outcome(
        "hpke.body_not_encrypted",
        400,
        f"The Content-Type is {MEDIA_TYPE}, but the body is not encrypted. Encrypt it and send the raw bytes, without "
        "Base64; or send JSON as application/json.",
    ),
    (True, False, True): Outcome("hpke.not_enabled", 403, _NO_HPKE),
    (True, False, False): Outcome("hpke.not_enabled_body_plain", 403, _NO_HPKE),
    (False, True, True): Outcome(
        "hpke.header_missing",
        415,
        f"The body is no text, so it seems to be encrypted, but its Content-Type is not {MEDIA_TYPE}. Send that "
        "header.",
    ),
    (False, False, True): Outcome(
        "hpke.header_missing_not_enabled",
        415,
        "The body is no text, so it seems to be encrypted, but its Content-Type does not say so, and HPKE is not "
        "switched on for this account. Send plain JSON in UTF-8, or ask whoever runs this service.",
    ),
    (False, True, False): Outcome("hpke.plain", 0),
    (False, False, False): Outcome("hpke.plain", 0),
}
REQUIRED = Outcome(
    "hpke.required",
    403,
    f"This account takes encrypted requests only. Encrypt the body, send Content-Type: {MEDIA_TYPE} with it, and "
    f"Accept: {MEDIA_TYPE} with every request.",
)


def asked_by(headers: Iterable[tuple[bytes, bytes]]) -> Asked:
    """What the headers of a request ask for. Raises a `Problem` when they contradict each other."""
    types = [value for name, value in headers if name == b"content-type"]
    if len(types) > 1:
        raise Problem(400, "hpke.header_doubled", "There are several Content-Type headers. Send one.")
    accepted = [one for name, value in headers if name == b"accept" for one in value.split(b",")]
    return Asked(
        sealed_body=bool(types) and _media_type(types[0]) == MEDIA_TYPE,
        sealed_answer=any(_media_type(one) == MEDIA_TYPE and not _is_refused(one) for one in accepted),
    )


def kind_of(body: bytes) -> BodyKind:
    """Text is UTF-8, and begins without control characters but white space; an encrypted body is never that."""
    if not body:
        return BodyKind.NONE
    if _CONTROL.search(body, 0, _LOOKED_AT):
        return BodyKind.BINARY
    try:
        body.decode()
    except UnicodeDecodeError:
        return BodyKind.BINARY
    return BodyKind.TEXT


def must_open(asked: Asked, rules: HpkeRules, kind: BodyKind, *, has_body: bool, enforced: bool) -> bool:
    """Whether the body is to be opened. Raises the `Problem` of the table's row for what may not go on.

    ``has_body`` is whether the method has one: a request without has nothing to encrypt, only an answer to ask for.
    """
    bodiless = kind is BodyKind.NONE and not has_body
    if bodiless:
        sent = encrypted = asked.sealed_answer
    else:
        # where HPKE works, a plain request may ask for an encrypted answer
        sent = asked.sealed_body or (asked.sealed_answer and not rules.works)
        encrypted = kind is BodyKind.BINARY
    outcome = OUTCOMES[sent, rules.works, encrypted]
    if outcome.status:
        raise problem_of(outcome)
    if enforced and not (asked.sealed_answer and (asked.sealed_body or bodiless)):
        raise problem_of(REQUIRED)
    return outcome.code == OPENED and not bodiless


def problem_of(outcome: Outcome) -> Problem:
    """The answer to a request that ends so."""
    return Problem(outcome.status, outcome.code, outcome.error)


def _media_type(value: bytes) -> str:
    return value.split(b";")[0].strip().lower().decode("latin-1")


def _is_refused(value: bytes) -> bool:
    """Whether a media range has the weight 0 (RFC 9110 §12.4.2)."""
    parameters = (one.strip().lower().partition(b"=") for one in value.split(b";")[1:])
    return any(name == b"q" and weight.strip(b"0.") == b"" for name, _, weight in parameters)

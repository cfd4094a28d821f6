"""Who gets the notices of an import: never an address that the account did not vouch for (CONTRACT.md 6).

A manifest's ``clientEmail`` is a wish of whoever could upload. It is followed when the address is one of the account's
contacts or lies in a domain that the account allows; nobody may use us to mail others (FAULTS.md M2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_ADDRESS_CHARACTERS = 254  # RFC 5321 §4.5.3.1.3: a path of 256 octets, less its angle brackets

# A subset of RFC 5321 §4.1.2 on purpose. No quoted local part, group, comment, IP literal, comma or non-ASCII; no `%`
# or `!` (old source routes), no `=` and `?` (encoded words), no dash in front (an option to sendmail-like programs);
# the last label starts with a letter, so that a bare IP address is no domain.
_ATOM = r"[A-Za-z0-9_+'-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN = re.compile(rf"(?=[^@]{{1,64}}@)(?!-){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)*(?=[A-Za-z]){_LABEL}")


@dataclass(frozen=True)
class Recipients:
    """Where the notices of an import go; ``note`` says why when that is not what the manifest asks for."""

    addresses: tuple[str, ...]
    note: str | None


def is_plain_address(text: str) -> bool:
    """Whether ``text`` is exactly one mail address of the plain kind: no name, quotes, group, list or IP literal."""
    return len(text) <= _MOST_ADDRESS_CHARACTERS and _PLAIN.fullmatch(text) is not None


def choose_recipients(client_email: str | None, contacts: Sequence[str], allowed_domains: Sequence[str]) -> Recipients:
    """The manifest's ``clientEmail`` if the account vouches for it, else the account's contacts with a note.

    Letter case does not matter; a contact is written as the account has it. A domain allows no subdomain. No address
    at all when the account has no contacts either: then only the operator can tell the sender.
    """
    known = {contact.lower(): contact for contact in reversed(contacts) if is_plain_address(contact)}
    vouched = tuple(dict.fromkeys(known[contact.lower()] for contact in contacts if contact.lower() in known))
    if client_email is None:
        return Recipients(vouched, _note("names no clientEmail that could be read"))
    if not is_plain_address(client_email):
        return Recipients(vouched, _note("has a clientEmail that is not one plain mail address"))
    if contact := known.get(client_email.lower()):
        return Recipients((contact,), None)
    domain = client_email.rpartition("@")[2].lower()
    if domain in {allowed.lower() for allowed in allowed_domains}:
        return Recipients((client_email,), None)
    return Recipients(
        vouched,
        _note(f"asks for mail to {client_email}, which is no contact of the account and in no domain it allows"),
    )


def _note(why: str) -> str:
    return f"You get this mail as a contact of the account: the manifest {why}."

"""SSH public keys of accounts: lines of an ``authorized_keys`` file, read and checked before they are stored.

The form is that of sshd(8), AUTHORIZED_KEYS FILE FORMAT. An option is honoured (`from`, `expiry-time`,
`cert-authority`), or forbids what is never possible here, or is refused by its name: a restriction that somebody relies
on is never passed over.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ingest.addresses import AddressesInvalid, read_addresses
from ingest.ledger.ssh_keys import SshKey

_ALGORITHMS = ("ssh-ed25519", "ecdsa-sha2-", "sk-ssh-ed25519@", "sk-ecdsa-sha2-", "ssh-rsa")
_MIN_RSA_BITS = 2048

_OPTION = re.compile(r'([A-Za-z0-9@.-]+)(?:="((?:[^"\\]|\\.)*)")?(?=[, \t])')
_HARMLESS = {
    *("restrict", "no-agent-forwarding", "no-port-forwarding", "no-pty", "no-user-rc", "no-x11-forwarding"),
}
_WHY_REFUSED = {
    "command": "commands are never run here, and a key that is bound to one would open the whole drop",
    "environment": "no environment variable is ever set here",
    "principals": "a certificate's principals must name the account itself",
    "no-touch-required": "security keys must be touched",
    "verify-required": "whether a security key has verified its user is not checked here",
}


class SshKeyRejected(Exception):
    """What was given as an SSH public key is none, or is too weak; the text says which."""


def read_ssh_key(line: str) -> SshKey:
    """The key of one line, with its options and without its comment. Raises `SshKeyRejected`."""
    if "PRIVATE KEY" in line:
        raise SshKeyRejected("this is a private key; give the public one, usually the file with .pub at its end")
    line = line.strip()
    try:
        key = asyncssh.import_public_key(line)
        options: dict[str, str] = {}
    except asyncssh.KeyImportError:
        options, rest = _split(line)
        try:
            key = asyncssh.import_public_key(rest)
        except asyncssh.KeyImportError:
            raise SshKeyRejected("this is no OpenSSH public key (`ssh-keygen -t ed25519` makes one)") from None
    algorithm = key.get_algorithm()
    weak = isinstance(key.pyca_key, RSAPublicKey) and key.pyca_key.key_size < _MIN_RSA_BITS
    if weak or not algorithm.startswith(_ALGORITHMS):
        raise SshKeyRejected(f"a {algorithm} key of this size is too weak: use Ed25519, ECDSA or RSA from 2048 bits")
    encoded = key.export_public_key("openssh").decode().split()
    plain = SshKey(fingerprint=key.get_fingerprint("sha256"), public_key=" ".join(encoded[:2]))
    return _with_options(plain, options)


def read_ssh_keys(text: str) -> list[SshKey]:
    """The keys of a file, one a line; comments and empty lines are passed over. Raises `SshKeyRejected`."""
    if "PRIVATE KEY" in text:
        raise SshKeyRejected("this is a private key; give the public one, usually the file with .pub at its end")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise SshKeyRejected("there is no SSH public key in it")
    return [read_ssh_key(line) for line in lines]


def read_expiry(text: str) -> datetime:
    """The moment that ``YYYY-MM-DD`` (its beginning, UTC) or an ISO 8601 time names. Raises `SshKeyRejected`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SshKeyRejected(f"{text!r} is no date: for example 2027-12-31, or 2027-12-31T18:00Z") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)


def checked_sources(text: str) -> str:
    """A list of addresses as it is stored. Raises `SshKeyRejected` when it cannot be used or names nobody."""
    try:
        if not read_addresses(text).allowed:
            raise SshKeyRejected("the list of addresses is empty: nobody could log in")
    except AddressesInvalid as invalid:
        raise SshKeyRejected(str(invalid)) from None
    return text.replace(" ", "")


def _split(line: str) -> tuple[dict[str, str], str]:
    """The options before a key, by lower-case name, and the key; a line that is neither raises `SshKeyRejected`."""
    options: dict[str, str] = {}
    place = 0
    while (found := _OPTION.match(line, place)) is not None:
        name, value = found[1].lower(), found[2]
        if name in options:
            raise SshKeyRejected(f"the option {name} is there twice")
        options[name] = "" if value is None else value.replace('\\"', '"')
        place = found.end()
        if line[place] != ",":
            return options, line[place:].strip()
        place += 1
    raise SshKeyRejected("this is no OpenSSH public key (`ssh-keygen -t ed25519` makes one)")


def _with_options(key: SshKey, options: dict[str, str]) -> SshKey:
    for name, value in options.items():
        if name == "from":
            key = replace(key, sources=checked_sources(value))
        elif name == "expiry-time":
            key = replace(key, expires_at=_expiry_time(value))
        elif name == "cert-authority":
            key = replace(key, cert_authority=True)
        elif name not in _HARMLESS:
            why = _WHY_REFUSED.get(name, "only from, expiry-time, cert-authority and restrict mean something here")
            raise SshKeyRejected(f"the option {name} cannot be honoured: {why}. Give the key without it")
    return key


def _expiry_time(value: str) -> datetime:
    """The time of an ``expiry-time`` option: UTC with a Z at its end, else this machine's local time (sshd(8))."""
    digits = value.removesuffix("Z")
    form = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits))
    try:
        moment = datetime.strptime(digits, form or "-")  # noqa: DTZ007  # the zone is told by the Z
    except ValueError:
        raise SshKeyRejected(f"expiry-time={value!r} is no time of the form YYYYMMDD[HHMM[SS]][Z]") from None
    return moment.replace(tzinfo=UTC) if value.endswith("Z") else moment.astimezone(UTC)

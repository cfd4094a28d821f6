"""Whether a key or a certificate opens an account: pure, and the same work whatever the answer (FAULTS.md S7)."""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import cast

from asyncssh import SSHKey
from asyncssh.public_key import CERT_TYPE_USER, SSHOpenSSHCertificate

from ingest.addresses import read_addresses
from ingest.ledger.ssh_keys import Access, SshKey

Accesses = Callable[[Collection[str]], Awaitable[dict[str, Access]]]
"""What opens each of these accounts; one that is unknown or disabled is not among them."""

# what an account that there is not, or that has no key, is compared with
_NOBODY = Access((SshKey("", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),))


def key_opens(access: Access | None, key: SSHKey, address: str, now: datetime) -> bool:
    """Whether ``key`` itself opens the account from ``address`` now."""
    return _opens(access, key.public_data, address, now, authority=False)


def certificate_opens(
    access: Access | None, account: str, certificate: SSHOpenSSHCertificate, address: str, now: datetime
) -> bool:
    """Whether a user certificate opens the account from ``address`` now; its signature is checked elsewhere.

    Its principals must name the account: a certificate without any is good for everybody, so for nobody here. One that
    is bound to a command opens nothing (PROTOCOL.certkeys, critical options).
    """
    named = account in certificate.principals
    bound = "force-command" in certificate.options
    networks = cast("Sequence[IPv4Network | IPv6Network]", certificate.options.get("source-address", ()))
    from_there = not networks or _matches(",".join(map(str, networks)), address)
    trusted = _opens(access, certificate.signing_key.public_data, address, now, authority=True)
    return trusted and named and from_there and not bound and _is_valid(certificate)


def _is_valid(certificate: SSHOpenSSHCertificate) -> bool:
    """Whether it is a user's, and now is within its times."""
    try:
        certificate.validate(CERT_TYPE_USER, None)
    except ValueError:
        return False
    return True


def _opens(access: Access | None, public_data: bytes, address: str, now: datetime, *, authority: bool) -> bool:
    known = access if access is not None and access.keys else _NOBODY
    # every key is compared to its end: a loop that ends at the right one would tell which it was
    fits = [
        hmac.compare_digest(_public_bytes(key.public_key), public_data)
        & (key.cert_authority is authority)
        & (key.expires_at is None or now < key.expires_at)
        & (key.sources is None or _matches(key.sources, address))
        for key in known.keys
    ]
    from_there = known.sources is None or _matches(known.sources, address)
    return known is not _NOBODY and from_there and any(fits)


def _matches(sources: str, address: str) -> bool:
    return read_addresses(sources).matches(address)


def _public_bytes(line: str) -> bytes:
    """The key of an OpenSSH public key line (RFC 4253 §6.6); nothing matches what a broken line gives."""
    try:
        return binascii.a2b_base64(line.split()[1])
    except (IndexError, ValueError):
        return b""

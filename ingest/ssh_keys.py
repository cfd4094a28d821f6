"""SSH public keys of accounts: read and checked before they are stored."""

from __future__ import annotations

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ingest.ledger.accounts import SshKey

_ALGORITHMS = ("ssh-ed25519", "ecdsa-sha2-", "sk-ssh-ed25519@", "sk-ecdsa-sha2-", "ssh-rsa")
_MIN_RSA_BITS = 2048


class SshKeyRejected(Exception):
    """What was given as an SSH public key is none, or is too weak; the text says which."""


def read_ssh_key(line: str) -> SshKey:
    """The key of one OpenSSH public key line, without its comment. Raises `SshKeyRejected`."""
    if "PRIVATE KEY" in line:
        raise SshKeyRejected("this is a private key; give the public one, usually the file with .pub at its end")
    try:
        key = asyncssh.import_public_key(line)
    except asyncssh.KeyImportError:
        raise SshKeyRejected("this is no OpenSSH public key (`ssh-keygen -t ed25519` makes one)") from None
    algorithm = key.get_algorithm()
    weak = isinstance(key.pyca_key, RSAPublicKey) and key.pyca_key.key_size < _MIN_RSA_BITS
    if weak or not algorithm.startswith(_ALGORITHMS):
        raise SshKeyRejected(f"a {algorithm} key of this size is too weak: use Ed25519, ECDSA or RSA from 2048 bits")
    encoded = key.export_public_key("openssh").decode().split()
    return SshKey(fingerprint=key.get_fingerprint("sha256"), public_key=" ".join(encoded[:2]))

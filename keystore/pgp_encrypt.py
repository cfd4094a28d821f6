"""Encrypting to a public certificate: small things, such as the file of rejected rows.

Through PGPy, in memory, about 5 MB/s; not for bulk data.
"""

from __future__ import annotations

import warnings

import pgpy
from pgpy.constants import CompressionAlgorithm, SymmetricKeyAlgorithm

from keystore.errors import KeyRejected
from keystore.pgp_certificate import encryption_keys, parse_public


def encrypt_to(public_armored: bytes, plain: bytes) -> bytes:
    """An armored message: zlib, AES-256, with integrity protection (SEIPD version 1, RFC 9580 §5.13.1).

    Encrypts to the newest encryption key of the certificate, also when that has expired: the pair is ours. Raises
    `KeyRejected` when the certificate does not parse or has none.
    """
    certificate = parse_public(public_armored)
    keys = encryption_keys(certificate)
    if not keys:
        raise KeyRejected("The public key has no RSA or ECDH encryption key.")
    message = pgpy.PGPMessage.new(plain, compression=CompressionAlgorithm.ZLIB, format="b")
    with warnings.catch_warnings():
        # every reader of ours knows AES-256 and zlib, whatever the key's preferences say
        warnings.filterwarnings("ignore", "Selected .* algorithm not in key preferences", UserWarning)
        encrypted = keys[0].encrypt(message, cipher=SymmetricKeyAlgorithm.AES256)
    return str(encrypted).encode()

"""Encrypting to a public certificate: small things, such as the file of rejected rows. In memory, not for bulk data."""

from __future__ import annotations

import hashlib
import os
import zlib

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESOCB3
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keystore.armored import armored
from keystore.errors import KeyRejected
from keystore.openpgp import packets
from keystore.openpgp.aead import OCB
from keystore.openpgp.session_key import ecdh_wrapping_key, montgomery_wrapping_key
from keystore.pgp_certificate import NOTHING_ENCRYPTS, parse_public
from keystore.pgp_key_packet import KeyPart

_AES256 = 9
_CHUNK_EXPONENT = 10  # 64 KiB


def encrypt_to(public_armored: bytes, plain: bytes) -> bytes:
    """An armored message: zlib, AES-256; SEIPD version 1 for a version 4 key, version 2 with OCB for a version 6 key.

    Encrypts to the newest encryption key of the certificate, also when that has expired: the pair is ours. Raises
    `KeyRejected` when the certificate does not parse or has none.
    """
    recipients = parse_public(public_armored).recipients()
    if not recipients:
        raise KeyRejected(NOTHING_ENCRYPTS)
    recipient = recipients[0]
    session_key = os.urandom(32)
    # RFC 9580 §5.9: binary, no file name, no date
    literal = _packet(packets.LITERAL, b"b" + bytes(5) + plain)
    inner = _packet(packets.COMPRESSED, b"\x02" + zlib.compress(literal))
    sealed = _seipd2(session_key, inner) if recipient.version == 6 else _seipd1(session_key, inner)
    try:
        message = _packet(packets.PKESK, _pkesk(recipient, session_key)) + _packet(packets.SEIPD, sealed)
    except ValueError as error:
        raise KeyRejected("The public key is damaged. Export it again.", detail=type(error).__name__) from None
    return armored("PGP MESSAGE", message, with_crc=recipient.version == 4)


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4) + body


def _pkesk(part: KeyPart, session_key: bytes) -> bytes:
    """RFC 9580 §5.1: version 3 to a version 4 key, version 6 to a version 6 key."""
    head = bytes([6, 33, 6]) + part.fingerprint if part.version == 6 else b"\x03" + part.key_id
    # the cipher stands with the session key in version 3, with the encrypted data in version 6
    cipher = b"" if part.version == 6 else bytes([_AES256])
    return head + bytes([part.algorithm]) + _fields(part, cipher, session_key)


def _fields(part: KeyPart, cipher: bytes, session_key: bytes) -> bytes:
    key = part.public_key()
    with_checksum = cipher + session_key + (sum(session_key) & 0xFFFF).to_bytes(2)
    if isinstance(key, rsa.RSAPublicKey):
        return _mpi(key.encrypt(with_checksum, padding.PKCS1v15()))
    if len(part.fields) == 1:
        return _montgomery_fields(key, cipher, session_key)
    oid, _, kdf = part.fields
    point, shared = _agreed(key)
    wrapping = ecdh_wrapping_key(shared, oid, kdf[1], kdf[2], part.fingerprint)
    # RFC 9580 §11.5: PKCS#5 padding, up to 40 octets so that the cipher does not show
    count = 40 - len(with_checksum)
    wrapped = aes_key_wrap(wrapping, with_checksum + bytes([count]) * count)
    return _mpi(point) + bytes([len(wrapped)]) + wrapped


def _montgomery_fields(key: object, cipher: bytes, session_key: bytes) -> bytes:
    """RFC 9580 §5.1.6, §5.1.7."""
    if isinstance(key, x25519.X25519PublicKey):
        ours = x25519.X25519PrivateKey.generate()
        ephemeral, recipient = ours.public_key().public_bytes_raw(), key.public_bytes_raw()
        shared = ours.exchange(key)
    elif isinstance(key, x448.X448PublicKey):
        other = x448.X448PrivateKey.generate()
        ephemeral, recipient = other.public_key().public_bytes_raw(), key.public_bytes_raw()
        shared = other.exchange(key)
    else:
        raise TypeError("neither X25519 nor X448")
    wrapped = cipher + aes_key_wrap(montgomery_wrapping_key(ephemeral, recipient, shared), session_key)
    return ephemeral + bytes([len(wrapped)]) + wrapped


def _agreed(key: object) -> tuple[bytes, bytes]:
    """A fresh point as ECDH writes it, and the shared secret (RFC 9580 §11.5)."""
    if isinstance(key, x25519.X25519PublicKey):
        ours = x25519.X25519PrivateKey.generate()
        return b"\x40" + ours.public_key().public_bytes_raw(), ours.exchange(key)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("not an ECDH key")
    fresh = ec.generate_private_key(key.curve)
    point = fresh.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return point, fresh.exchange(ec.ECDH(), key)


def _mpi(octets: bytes) -> bytes:
    """RFC 9580 §3.2."""
    number = octets.lstrip(b"\0")
    return (len(number) * 8 - 8 + number[0].bit_length()).to_bytes(2) + number


def _seipd1(session_key: bytes, inner: bytes) -> bytes:
    """RFC 9580 §5.13.1: a prefix, the packets, an MDC."""
    prefix = os.urandom(16)
    plain = prefix + prefix[-2:] + inner + b"\xd3\x14"
    plain += hashlib.sha1(plain, usedforsecurity=False).digest()
    return b"\x01" + Cipher(AES(session_key), CFB(bytes(16))).encryptor().update(plain)


def _seipd2(session_key: bytes, inner: bytes) -> bytes:
    """RFC 9580 §5.13.2: chunks with a tag each, a final tag."""
    info = bytes([0xC0 | packets.SEIPD, 2, _AES256, OCB, _CHUNK_EXPONENT])
    salt = os.urandom(32)
    derived = HKDF(hashes.SHA256(), 32 + 7, salt, info).derive(session_key)
    cipher, start = AESOCB3(derived[:32]), derived[32:]
    size = 1 << (_CHUNK_EXPONENT + 6)
    chunks = [inner[at : at + size] for at in range(0, len(inner), size)]
    sealed = [cipher.encrypt(start + index.to_bytes(8), chunk, info) for index, chunk in enumerate(chunks)]
    final = cipher.encrypt(start + len(chunks).to_bytes(8), b"", info + len(inner).to_bytes(8))
    return info[1:] + salt + b"".join(sealed) + final

"""Crafted secret keys: X25519, X448 and odd ones, of version 4 and 6, locked in every way of RFC 9580 §5.5.3."""

from __future__ import annotations

import hashlib
import random
from typing import Literal

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESOCB3
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.openpgp.packet_writer import packet

Lock = Literal["none", "cfb", "ocb", "gcm"]
X25519, X448 = 25, 26
CREATED = (1_700_000_000).to_bytes(4)
PASSPHRASE = b"correct horse"
SALT = random.Random(1).randbytes(16)


def native_pair(algorithm: int, seed: int = 1) -> tuple[bytes, bytes]:
    """Public and secret octets of X25519 or X448."""
    if algorithm == X25519:
        secret = random.Random(seed).randbytes(32)
        return x25519.X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw(), secret
    secret = random.Random(seed).randbytes(56)
    return x448.X448PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw(), secret


def public_body(version: int, algorithm: int, public: bytes) -> bytes:
    length = len(public).to_bytes(4) if version == 6 else b""
    return bytes([version]) + CREATED + bytes([algorithm]) + length + public


def secret_key(version: int, algorithm: int, *, lock: Lock = "none", memory: int = 6, seed: int = 1) -> bytes:
    """A primary key that encrypts, with nothing beside it; ``memory`` is Argon2's exponent (KiB)."""
    public, secret = native_pair(algorithm, seed)
    body = public_body(version, algorithm, public)
    return packet(5, body + locked(version, body, secret, lock, memory))


def recipient(version: int, algorithm: int, seed: int = 1) -> bytes:
    """Key version and fingerprint, as a version 6 session key packet names it."""
    body = public_body(version, algorithm, native_pair(algorithm, seed)[0])
    if version == 6:
        return b"\x06" + hashlib.sha256(b"\x9b" + len(body).to_bytes(4) + body).digest()
    return b"\x04" + hashlib.sha1(b"\x99" + len(body).to_bytes(2) + body).digest()


def locked(version: int, body: bytes, secret: bytes, lock: Lock, memory: int) -> bytes:
    if lock == "none":
        return b"\0" + secret + (b"" if version == 6 else (sum(secret) & 0xFFFF).to_bytes(2))
    if lock == "cfb":
        # salted and iterated, SHA-512, 65536 octets
        s2k = b"\x03\x0a" + SALT[:8] + b"\x60"
        text = (SALT[:8] + PASSPHRASE) * 65536
        iv = SALT
        sealed = (
            Cipher(AES(hashlib.sha512(text[:65536]).digest()[:32]), CFB(iv))
            .encryptor()
            .update(secret + hashlib.sha1(secret).digest())
        )
        return _framed(version, b"\xfe", b"\x09", s2k, iv) + sealed
    aead = 2 if lock == "ocb" else 3
    nonce = SALT[: 15 if aead == 2 else 12]
    s2k = b"\x04" + SALT + bytes([1, 1, memory])
    derived = Argon2id(salt=SALT, length=32, iterations=1, lanes=1, memory_cost=1 << min(memory, 10)).derive(PASSPHRASE)
    key = HKDF(hashes.SHA256(), 32, None, bytes([0xC5, version, 9, aead])).derive(derived)
    sealed = (AESOCB3 if aead == 2 else AESGCM)(key).encrypt(nonce, secret, b"\xc5" + body)
    return _framed(version, b"\xfd", bytes([9, aead]), s2k, nonce) + sealed


def _framed(version: int, usage: bytes, algorithms: bytes, s2k: bytes, nonce: bytes) -> bytes:
    if version == 4:
        return usage + algorithms + s2k + nonce
    inner = algorithms + bytes([len(s2k)]) + s2k + nonce
    return usage + bytes([len(inner)]) + inner

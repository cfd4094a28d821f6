"""Crafted messages: every part of one can be written by hand, also the parts that no program would write."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import zlib
from collections.abc import Sequence

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESOCB3
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from keystore.openpgp.session_key import MontgomeryKey, RsaKey
from keystore.pgp_keys import PrivateKey

SESSION_KEY = bytes(range(32))
AES256 = 9
EAX, OCB, GCM = 1, 2, 3
SEED = 9580


def packet(tag: int, body: bytes) -> bytes:
    """New format, five-octet length."""
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4) + body


def old_packet(tag: int, body: bytes) -> bytes:
    """Legacy format, indeterminate length: up to the end of what it stands in."""
    return bytes([0x80 | tag << 2 | 3]) + body


def partial_packet(tag: int, body: bytes, exponents: Sequence[int], *, last_octets: int = 5) -> bytes:
    """Parts of 2^exponent bytes, then the rest with a definite length of one or five octets."""
    out = bytes([0xC0 | tag])
    for exponent in exponents:
        size = 1 << exponent
        assert len(body) >= size
        out += bytes([224 + exponent]) + body[:size]
        body = body[size:]
    return out + (b"\xff" + len(body).to_bytes(4) if last_octets == 5 else bytes([len(body)])) + body


def literal(data: bytes, *, mode: bytes = b"b", name: bytes = b"") -> bytes:
    return packet(11, mode + bytes([len(name)]) + name + bytes(4) + data)


def compressed(data: bytes, algorithm: int = 2) -> bytes:
    bodies = {0: lambda: data, 1: lambda: zlib.compress(data)[2:-4], 2: lambda: zlib.compress(data)}
    return packet(8, bytes([algorithm]) + bodies[algorithm]())


def pkesk(key: PrivateKey, *, session_key: bytes = SESSION_KEY, cipher: int = AES256, hidden: bool = False) -> bytes:
    """A version 3 session key packet for an RSA pair."""
    key_id, private = next(iter(key.decryption_keys.items()))
    assert isinstance(private, RsaKey)
    plain = bytes([cipher]) + session_key + (sum(session_key) & 0xFFFF).to_bytes(2)
    value = private._private.public_key().encrypt(plain, padding.PKCS1v15()).lstrip(b"\0")
    bits = len(value) * 8 - (8 - value[0].bit_length())
    return packet(1, b"\x03" + (bytes(8) if hidden else key_id) + b"\x01" + bits.to_bytes(2) + value)


def pkesk6(key: PrivateKey, *, session_key: bytes = SESSION_KEY, recipient: bytes | None = None) -> bytes:
    """A version 6 session key packet for the first encryption (sub)key of an RSA, X25519 or X448 pair.

    ``recipient`` is key version and fingerprint; without it, the recipient is hidden.
    """
    _, private = next(iter(key.decryption_keys.items()))
    if isinstance(private, RsaKey):
        plain = session_key + (sum(session_key) & 0xFFFF).to_bytes(2)
        value = private._private.public_key().encrypt(plain, padding.PKCS1v15()).lstrip(b"\0")
        algorithm, fields = 1, (len(value) * 8 - (8 - value[0].bit_length())).to_bytes(2) + value
    else:
        assert isinstance(private, MontgomeryKey)
        (algorithm,) = private.algorithms
        fields = montgomery_fields(private, session_key)
    named = recipient or b""
    return packet(1, b"\x06" + bytes([len(named)]) + named + bytes([algorithm]) + fields)


def montgomery_fields(key: MontgomeryKey, session_key: bytes, *, cipher: bytes = b"", salt: int = SEED) -> bytes:
    """RFC 9580 §5.1.6, §5.1.7; ``cipher`` is written in version 3 only."""
    if isinstance(key._private, x25519.X25519PrivateKey):
        ours = x25519.X25519PrivateKey.from_private_bytes(random.Random(salt).randbytes(32))
        ephemeral, shared = ours.public_key().public_bytes_raw(), ours.exchange(key._private.public_key())
        kdf = HKDF(hashes.SHA256(), 16, None, b"OpenPGP X25519")
    else:
        other = x448.X448PrivateKey.from_private_bytes(random.Random(salt).randbytes(56))
        ephemeral, shared = other.public_key().public_bytes_raw(), other.exchange(key._private.public_key())
        kdf = HKDF(hashes.SHA512(), 32, None, b"OpenPGP X448")
    wrapping = kdf.derive(ephemeral + key._private.public_key().public_bytes_raw() + shared)
    wrapped = cipher + aes_key_wrap(wrapping, session_key)
    return ephemeral + bytes([len(wrapped)]) + wrapped


def foreign_pkesk(key_id: bytes, version: int = 3) -> bytes:
    return packet(1, bytes([version]) + key_id + b"\x01\x08\x00" + b"\x80" + os.urandom(255))


def seipd_body(inner: bytes, *, mdc: bool = True, session_key: bytes = SESSION_KEY) -> bytes:
    """The body of a SEIPD version 1 packet."""
    prefix = os.urandom(16)
    plain = prefix + prefix[-2:] + inner
    if mdc:
        plain += b"\xd3\x14"
        plain += hashlib.sha1(plain).digest()
    return b"\x01" + Cipher(AES(session_key), CFB(bytes(16))).encryptor().update(plain)


def ocb_body(
    inner: bytes, *, exponent: int = 0, aead: int = 2, cipher: int = AES256, session_key: bytes = SESSION_KEY
) -> bytes:
    """The body of GnuPG's OCB packet, chunks of 2^(exponent+6) bytes."""
    head = bytes([cipher, aead, exponent])
    nonce = int.from_bytes(os.urandom(15))
    size = 1 << (exponent + 6)
    aad = b"\xd4\x01" + head
    ocb = AESOCB3(session_key)
    out = b"\x01" + head + nonce.to_bytes(15)
    count = 0
    for count, at in enumerate(range(0, len(inner), size), 1):
        index = count - 1
        out += ocb.encrypt((nonce ^ index).to_bytes(15), inner[at : at + size], aad + index.to_bytes(8))
    final = aad + count.to_bytes(8) + len(inner).to_bytes(8)
    return out + ocb.encrypt((nonce ^ count).to_bytes(15), b"", final)


def eax_encrypted(key: bytes, nonce: bytes, text: bytes, associated_data: bytes) -> bytes:
    """EAX as its paper defines it: the tag is the exclusive or of three OMACs."""

    def omac(number: int, data: bytes) -> bytes:
        mac = CMAC(AES(key))
        mac.update(bytes(15) + bytes([number]) + data)
        return mac.finalize()

    counter = omac(0, nonce)
    sealed = Cipher(AES(key), CTR(counter)).encryptor().update(text)
    macs = zip(counter, omac(1, associated_data), omac(2, sealed), strict=True)
    return sealed + bytes(a ^ b ^ c for a, b, c in macs)


class Eax:
    """The interface of `AESGCM`, for writing."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes) -> bytes:
        return eax_encrypted(self._key, nonce, data, associated_data)


def seipd2_body(
    inner: bytes, *, exponent: int = 0, aead: int = OCB, cipher: int = AES256, session_key: bytes = SESSION_KEY
) -> bytes:
    """The body of a SEIPD version 2 packet, chunks of 2^(exponent+6) bytes, the salt from a fixed seed."""
    info = bytes([0xD2, 2, cipher, aead, exponent])
    salt = random.Random(SEED).randbytes(32)
    width = {EAX: 16, OCB: 15, GCM: 12}[aead]
    derived = HKDF(hashes.SHA256(), len(session_key) + width - 8, salt, info).derive(session_key)
    key = derived[: len(session_key)]
    sealing = Eax(key) if aead == EAX else AESOCB3(key) if aead == OCB else AESGCM(key)
    start = derived[len(session_key) :]
    size = 1 << (exponent + 6)
    chunks = [inner[at : at + size] for at in range(0, len(inner), size)]
    sealed = [sealing.encrypt(start + index.to_bytes(8), chunk, info) for index, chunk in enumerate(chunks)]
    final = sealing.encrypt(start + len(chunks).to_bytes(8), b"", info + len(inner).to_bytes(8))
    return info[1:] + salt + b"".join(sealed) + final


def seipd2_message(key: PrivateKey, inner: bytes, *, exponent: int = 0, aead: int = OCB) -> bytes:
    """A whole SEIPD version 2 message to a hidden recipient."""
    return pkesk6(key) + packet(18, seipd2_body(inner, exponent=exponent, aead=aead))


def message(key: PrivateKey, inner: bytes) -> bytes:
    """A whole SEIPD version 1 message with these packets inside."""
    return pkesk(key) + packet(18, seipd_body(inner))


def ocb_message(key: PrivateKey, inner: bytes, *, exponent: int = 0) -> bytes:
    return pkesk(key) + packet(20, ocb_body(inner, exponent=exponent))


def armor(data: bytes, *, crc: bytes | None = None, newline: bytes = b"\n", headers: bytes = b"") -> bytes:
    text = base64.b64encode(data)
    lines = [b"-----BEGIN PGP MESSAGE-----", *([headers] if headers else []), b""]
    lines += [text[at : at + 64] for at in range(0, len(text), 64)]
    lines += [b"=" + crc] if crc is not None else []
    return newline.join([*lines, b"-----END PGP MESSAGE-----", b""])

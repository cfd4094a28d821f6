"""The lock on a secret key: from a passphrase to the secret part of a key packet (RFC 9580 §3.7, §5.5.3)."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import CAST5, Camellia, TripleDES
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESOCB3
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keystore.errors import KeyPassphraseWrong, KeyRejected
from keystore.openpgp.aead import GCM, OCB
from keystore.openpgp.fields import Reader
from keystore.openpgp.packets import FramingError
from keystore.openpgp.session_key import KEY_BYTES
from keystore.pgp_key_packet import KeyPart
from keystore.secret import Secret

_AEAD, _CFB_SHA1, _CFB_CHECKSUM = 253, 254, 255
_SIMPLE, _SALTED, _ITERATED, _ARGON2, _GNU = 0, 1, 3, 4, 101
_HASHES = {1: "md5", 2: "sha1", 3: "ripemd160", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}
_CIPHERS: dict[int, type[BlockCipherAlgorithm]] = {2: TripleDES, 3: CAST5}
_CIPHERS |= dict.fromkeys((7, 8, 9), AES) | dict.fromkeys((11, 12, 13), Camellia)
# RFC 9580 §3.7.1.4: the first recommended choice takes 2 GiB, more than a worker may use; the second 64 MiB
_ARGON2_LARGEST_MEMORY, _ARGON2_MOST_PASSES = 18, 16  # 2^18 KiB = 256 MiB

DAMAGED = "The secret part of the key is damaged or protected in a way that is not supported. Export it again."
_WRONG = "The passphrase does not open the key."


def is_stub(part: KeyPart) -> bool:
    """GnuPG's mark for a secret part that is kept elsewhere."""
    # usage, cipher, type 101, hash, "GNU"
    return part.secret[:1] in (b"\xfe", b"\xff") and part.secret[2:3] == bytes([_GNU])


def unlocked(part: KeyPart, passphrase: Secret | None) -> bytes:
    """The secret part of a key packet, without its lock.

    Raises `KeyPassphraseWrong` when the passphrase does not open it or one is needed and none is given; `KeyRejected`
    for a lock that is damaged or not supported. A passphrase that is not needed is ignored.
    """
    try:
        return _unlocked(part, passphrase)
    except (FramingError, ValueError, UnsupportedAlgorithm) as error:
        raise KeyRejected(DAMAGED, detail=type(error).__name__) from None


def _unlocked(part: KeyPart, passphrase: Secret | None) -> bytes:
    reader = Reader(part.secret)
    usage = reader.number(1)
    if usage == 0:
        # RFC 9580 §5.5.3: a checksum follows in version 4, nothing in version 6
        return reader.rest() if part.version == 6 else _checked(reader.rest())
    if usage not in (_AEAD, _CFB_SHA1) and not (usage == _CFB_CHECKSUM and part.version == 4):
        raise FramingError(f"S2K usage {usage}")
    if passphrase is None or not passphrase.expose():
        raise KeyPassphraseWrong("The key is protected with a passphrase, and none was given.")
    if part.version == 6:
        reader.take(1)  # octets up to the end of the nonce
    cipher = reader.number(1)
    aead = reader.number(1) if usage == _AEAD else 0
    if part.version == 6:
        reader.take(1)  # octets of the S2K specifier
    key = _derived(reader, passphrase.expose(), KEY_BYTES.get(cipher, 0))
    if usage == _AEAD:
        return _opened_aead(part, reader, key, cipher, aead)
    return _opened_cfb(reader, key, cipher, with_sha1=usage == _CFB_SHA1)


def _derived(reader: Reader, passphrase: bytes, octets: int) -> bytes:
    """The key that a passphrase stands for (RFC 9580 §3.7.1)."""
    kind = reader.number(1)
    if octets == 0:
        raise FramingError("unknown cipher")
    if kind == _ARGON2:
        salt = reader.take(16)
        passes, lanes, memory = reader.take(3)
        if memory > _ARGON2_LARGEST_MEMORY or passes > _ARGON2_MOST_PASSES:
            raise KeyRejected(
                f"The key's passphrase is protected by Argon2 with 2^{memory} KiB of memory and {passes} passes; at "
                f"most 2^{_ARGON2_LARGEST_MEMORY} KiB (256 MiB) and {_ARGON2_MOST_PASSES} are accepted. Protect it "
                "with less and export it again."
            )
        return Argon2id(salt=salt, length=octets, iterations=passes, lanes=lanes, memory_cost=1 << memory).derive(
            passphrase
        )
    if kind not in (_SIMPLE, _SALTED, _ITERATED):
        raise FramingError(f"S2K type {kind}")
    name = _HASHES.get(reader.number(1), "")
    salt = b"" if kind == _SIMPLE else reader.take(8)
    text = salt + passphrase
    count = len(text)
    if kind == _ITERATED:
        coded = reader.number(1)
        # RFC 9580 §3.7.1.3
        count = max(count, (16 + (coded & 15)) << ((coded >> 4) + 6))
    return _hashed(name, text, count, octets)


def _hashed(name: str, text: bytes, count: int, octets: int) -> bytes:
    """``count`` octets of ``text`` repeated, hashed as often as it takes, each time with one more zero in front."""
    many = text * max(1, (1 << 16) // len(text))
    whole, rest = divmod(count, len(many))
    derived = b""
    while len(derived) < octets:
        digest = hashlib.new(name, bytes(len(derived) // hashlib.new(name).digest_size))
        for _ in range(whole):
            digest.update(many)
        digest.update(many[:rest])
        derived += digest.digest()
    return derived[:octets]


def _opened_aead(part: KeyPart, reader: Reader, key: bytes, cipher: int, aead: int) -> bytes:
    """RFC 9580 §5.5.3: the public part is authenticated as well."""
    if cipher not in (7, 8, 9) or aead not in (OCB, GCM):
        raise FramingError("AEAD mode")
    tag = bytes([0xC5 if part.is_primary else 0xC7])
    info = tag + bytes([part.version, cipher, aead])
    wrapping = HKDF(hashes.SHA256(), len(key), None, info).derive(key)
    nonce = reader.take(15 if aead == OCB else 12)
    try:
        return (AESOCB3 if aead == OCB else AESGCM)(wrapping).decrypt(nonce, reader.rest(), tag + part.public)
    except InvalidTag:
        raise KeyPassphraseWrong(_WRONG) from None


def _opened_cfb(reader: Reader, key: bytes, cipher: int, *, with_sha1: bool) -> bytes:
    if cipher not in _CIPHERS:
        raise FramingError("unknown cipher")
    algorithm = _CIPHERS[cipher](key)  # type: ignore[call-arg]  # the base class does not say what all of them take
    iv = reader.take(algorithm.block_size // 8)
    plain = Cipher(algorithm, CFB(iv)).decryptor().update(reader.rest())
    if not with_sha1:
        try:
            return _checked(plain)
        except FramingError:
            raise KeyPassphraseWrong(_WRONG) from None
    # RFC 9580 §5.5.3 prescribes SHA-1 here, as a checksum under encryption
    digest = hashlib.sha1(plain[:-20], usedforsecurity=False).digest()
    if not hmac.compare_digest(digest, plain[-20:]):
        raise KeyPassphraseWrong(_WRONG)
    return plain[:-20]


def _checked(data: bytes) -> bytes:
    """Without the two octets of checksum at its end."""
    if len(data) < 2 or sum(data[:-2]) & 0xFFFF != int.from_bytes(data[-2:]):
        raise FramingError("the checksum of the secret part does not fit")
    return data[:-2]

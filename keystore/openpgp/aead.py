"""AEAD bulk data: SEIPD version 2 (RFC 9580 §5.13.2) and GnuPG's OCB packet (LibrePGP §5.16).

Both are chunks, each with its own tag, and a final tag over the number of bytes: a chunk that was dropped, repeated,
moved or cut is noticed (FAULTS.md P6). They differ in how key, nonces and associated data come about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESOCB3
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keystore.openpgp import packets
from keystore.openpgp.eax import AesEax
from keystore.openpgp.packets import EndedEarly, Feed, FramingError
from keystore.openpgp.session_key import AES_CIPHERS, KEY_BYTES, CannotNatively, SessionKey

# RFC 9580 §9.6
EAX, OCB, GCM = 1, 2, 3
AEAD_NAMES = {EAX: "EAX", OCB: "OCB", GCM: "GCM"}
_NONCE_BYTES = {EAX: 16, OCB: 15, GCM: 12}
_MODES: dict[int, Callable[[bytes], AesEax | AESOCB3 | AESGCM]] = {EAX: AesEax, OCB: AESOCB3, GCM: AESGCM}
LARGEST_CHUNK = 16  # the exponent for 4 MiB, the largest that RFC 9580 §5.13.2 allows
_SALT_BYTES = 32
_TAG_BYTES = 16
_BATCH_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class AeadHead:
    """What stands in the clear before the chunks of SEIPD version 2."""

    cipher: int
    aead: int
    exponent: int  # chunks have 2^(exponent + 6) bytes
    salt: bytes

    @property
    def refusal(self) -> str:
        """What in it no engine here reads, by name; empty when all is well."""
        if self.cipher not in AES_CIPHERS:
            return f"AEAD with cipher {self.cipher}"
        if self.aead not in _NONCE_BYTES:
            return f"the AEAD mode {AEAD_NAMES.get(self.aead, self.aead)}"
        if self.exponent > LARGEST_CHUNK:
            return f"AEAD chunks of 2^{self.exponent + 6} bytes"
        return ""


@dataclass(frozen=True, slots=True, repr=False)
class _Sealing:
    """How chunk ``index`` was sealed."""

    cipher: AesEax | AESOCB3 | AESGCM
    size: int
    nonce: Callable[[int], bytes]
    associated: Callable[[int], bytes]
    final: Callable[[int, int], bytes]  # number of chunks, bytes in them


def read_head(data: Feed) -> AeadHead:
    """The head of SEIPD version 2, after its version octet. Raises `EndedEarly`."""
    cipher, aead, exponent = data.take(3)
    return AeadHead(cipher, aead, exponent, data.take(_SALT_BYTES))


def opened_seipd2(data: Feed, head: AeadHead, session: SessionKey) -> Iterator[bytes]:
    """The packets inside SEIPD version 2; ends normally only when every chunk and the final tag fit."""
    info = bytes([0xC0 | packets.SEIPD, 2, head.cipher, head.aead, head.exponent])
    key_bytes, nonce_bytes = KEY_BYTES[head.cipher], _NONCE_BYTES[head.aead]
    derived = HKDF(hashes.SHA256(), key_bytes + nonce_bytes - 8, head.salt, info).derive(session.key)
    key, start = derived[:key_bytes], derived[key_bytes:]
    return _opened(
        data,
        _Sealing(
            cipher=_MODES[head.aead](key),
            size=1 << (head.exponent + 6),
            nonce=lambda index: start + index.to_bytes(8),
            associated=lambda _: info,
            final=lambda _, total: info + total.to_bytes(8),
        ),
    )


def opened_ocb(data: Feed, session: SessionKey) -> Iterator[bytes]:
    """The packets inside GnuPG's OCB packet, type 20; ends normally only when every chunk and the final tag fit."""
    head = data.take(3)
    cipher, aead, exponent = head
    if aead != OCB:
        raise CannotNatively(f"the AEAD mode {AEAD_NAMES.get(aead, aead)}")
    if exponent > LARGEST_CHUNK:
        raise CannotNatively(f"AEAD chunks of 2^{exponent + 6} bytes")
    if cipher not in AES_CIPHERS:
        raise CannotNatively(f"AEAD with cipher {cipher}")
    if cipher != session.cipher:
        raise FramingError("the session key is for another cipher")
    width = _NONCE_BYTES[OCB]
    start = int.from_bytes(data.take(width))
    info = bytes([0xC0 | packets.OCB, 1]) + head
    yield from _opened(
        data,
        _Sealing(
            cipher=AESOCB3(session.key),
            size=1 << (exponent + 6),
            nonce=lambda index: (start ^ index).to_bytes(width),
            associated=lambda index: info + index.to_bytes(8),
            final=lambda count, total: info + count.to_bytes(8) + total.to_bytes(8),
        ),
    )


def _opened(data: Feed, sealing: _Sealing) -> Iterator[bytes]:
    index = total = 0
    try:
        for chunk in _chunks(data, sealing.size):
            if len(chunk) > _TAG_BYTES:
                plain = sealing.cipher.decrypt(sealing.nonce(index), chunk, sealing.associated(index))
                index += 1
                total += len(plain)
                yield plain
            else:
                sealing.cipher.decrypt(sealing.nonce(index), chunk, sealing.final(index, total))
    except InvalidTag:
        raise FramingError(f"the authentication tag of chunk {index} does not fit") from None


def _chunks(data: Feed, size: int) -> Iterator[memoryview]:
    """Each chunk with its tag, then the final tag alone (16 bytes, and only it has no more than those)."""
    whole = size + _TAG_BYTES
    batch = max(1, _BATCH_BYTES // whole) * whole
    held = b""
    while True:
        fresh = data.upto(batch + _TAG_BYTES - len(held))
        held += fresh
        view = memoryview(held)
        if len(held) < batch + _TAG_BYTES:
            break
        for at in range(0, batch, whole):
            yield view[at : at + whole]
        held = held[batch:]
    # the end: whole chunks, at most one shorter chunk, the final tag
    last = len(held) - _TAG_BYTES
    if last < 0:
        raise EndedEarly("the final authentication tag is missing")
    for at in range(0, last, whole):
        chunk = view[at : min(at + whole, last)]
        if len(chunk) <= _TAG_BYTES:
            raise FramingError("a chunk is shorter than its authentication tag")
        yield chunk
    yield view[last:]

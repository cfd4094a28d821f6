"""Bulk data with an MDC: SEIPD version 1 (RFC 9580 §5.13.1).

Cipher and hash are in C and let go of the GIL. The text is provisional until the MDC, its last 22 octets, has fitted.
A large block is hashed in a thread of its own while the reader inflates it: the hash is half of what is not inflating.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from keystore.openpgp.packets import Block, EndedEarly, Feed, FramingError
from keystore.openpgp.session_key import AES_CIPHERS, CannotNatively, SessionKey

_CIPHER_BLOCK = 16
_PREFIX = _CIPHER_BLOCK + 2
_MDC_BYTES = 22
_WORTH_A_THREAD = 1 << 16  # bytes; a small message starts none


def opened_mdc(data: Feed, session: SessionKey) -> Iterator[Block]:
    """The packets inside SEIPD version 1 (RFC 9580 §5.13.1); ends normally only when the MDC fits.

    The repeated octets of the prefix are not looked at: that check would be an oracle, and the MDC covers them.
    """
    if session.cipher not in AES_CIPHERS:
        raise CannotNatively(f"the cipher {session.cipher_name}")
    decryptor = Cipher(AES(session.key), CFB(bytes(_CIPHER_BLOCK))).decryptor()
    # RFC 9580 §5.13.1 prescribes SHA-1 here, as a checksum under encryption
    digest = hashlib.sha1(usedforsecurity=False)
    held, prefix_left = b"", _PREFIX
    hashed: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="sealdrop-mdc") as beside:
        for block in data.rest():
            plain = held + decryptor.update(block)
            if len(plain) <= prefix_left + _MDC_BYTES:
                held = plain
                continue
            ready, held = memoryview(plain)[:-_MDC_BYTES], plain[-_MDC_BYTES:]
            if hashed is not None:
                hashed.result()
            if len(ready) < _WORTH_A_THREAD:
                hashed = None
                digest.update(ready)
            else:
                hashed = beside.submit(digest.update, ready)
            yield ready[prefix_left:]
            prefix_left = 0
    if len(held) < _MDC_BYTES + prefix_left:
        raise EndedEarly("the encrypted data is too short for an MDC")
    digest.update(held[:-20])
    if held[-_MDC_BYTES:-20] != b"\xd3\x14" or not hmac.compare_digest(digest.digest(), held[-20:]):
        raise FramingError("the MDC is missing or does not fit")

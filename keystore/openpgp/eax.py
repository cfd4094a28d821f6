"""EAX, the AEAD mode that RFC 9580 §9.6 names and that `cryptography` lacks, from its CMAC and its CTR.

EAX (Bellare, Rogaway, Wagner: The EAX Mode of Operation, 2004) is one CTR pass and three CMACs of the same key; both
are done in C, so a chunk costs no loop here.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.constant_time import bytes_eq

_TAG_BYTES = 16


class AesEax:
    """AES in EAX mode with tags of 16 octets; opens only, like its siblings in `cryptography` are used here."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AES(key)

    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes) -> bytes:
        """The plain text of ``data``, which ends with its tag. Raises ``InvalidTag``; the tag is looked at first."""
        text, tag = memoryview(data)[:-_TAG_BYTES], memoryview(data)[-_TAG_BYTES:]
        counter = self._omac(0, nonce)
        mac = _xor(counter, self._omac(1, associated_data), self._omac(2, text))
        if not bytes_eq(mac, bytes(tag)):
            raise InvalidTag
        return Cipher(self._cipher, CTR(counter)).decryptor().update(text)

    def _omac(self, number: int, data: bytes | memoryview) -> bytes:
        """OMAC with a block that holds ``number`` before ``data``."""
        mac = CMAC(self._cipher)
        mac.update(number.to_bytes(16))
        mac.update(bytes(data))
        return mac.finalize()


def _xor(*blocks: bytes) -> bytes:
    value = 0
    for block in blocks:
        value ^= int.from_bytes(block)
    return value.to_bytes(_TAG_BYTES)

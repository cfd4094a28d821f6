"""HPKE against the vectors of RFC 9180 and of draft-ietf-hpke-pq (FAULTS H1).

The vectors bind associated data to each ciphertext, we never do: so the key schedule of the test is held to the vector,
and a message that is sealed by that schedule with no associated data must open.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from keystore.hpke import HpkePrivateKey, HpkePublicKey, Kem
from keystore.secret import Secret

VECTORS = Path(__file__).parent.parent / "vectors"
AES_256_GCM, CHACHA20 = 2, 3


@dataclass(frozen=True)
class Schedule:
    """The key schedule of base mode with HKDF-SHA256 (RFC 9180 §5.1), written from the RFC."""

    kem_id: int
    aead_id: int

    def key_and_nonce(self, shared_secret: bytes, info: bytes) -> tuple[bytes, bytes]:
        context = b"\x00" + self._extract(b"", b"psk_id_hash", b"") + self._extract(b"", b"info_hash", info)
        secret = self._extract(shared_secret, b"secret", b"")
        return self._expand(secret, b"key", context, 32), self._expand(secret, b"base_nonce", context, 12)

    def _suite(self) -> bytes:
        return b"HPKE-v1" + b"HPKE" + self.kem_id.to_bytes(2) + (1).to_bytes(2) + self.aead_id.to_bytes(2)

    def _extract(self, salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt, self._suite() + label + ikm, hashlib.sha256)

    def _expand(self, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
        labeled = length.to_bytes(2) + self._suite() + label + info
        return hmac.digest(secret, labeled + b"\x01", hashlib.sha256)[:length]


def vector(name: str) -> dict[str, Any]:
    def decoded(value: Any) -> Any:
        return {k: decoded(v) for k, v in value.items()} if isinstance(value, dict) else bytes.fromhex(value)

    return {k: decoded(v) for k, v in json.loads((VECTORS / name).read_text()).items() if k != "source"}


@pytest.mark.parametrize(
    ("name", "kem", "kem_id", "aead_id"),
    [
        ("rfc9180_x25519_aes_256_gcm.json", Kem.X25519, 0x0020, AES_256_GCM),
        ("hpke_pq_x_wing.json", Kem.X_WING, 0x647A, CHACHA20),
    ],
)
def test_a_message_made_from_a_vector_opens(name: str, kem: Kem, kem_id: int, aead_id: int) -> None:
    """FAULTS H1."""
    known = vector(name)
    schedule, encryption = Schedule(kem_id, aead_id), known["encryption"]
    key, nonce = schedule.key_and_nonce(known["shared_secret"], known["info"])
    assert (key, nonce) == (known["key"], known["base_nonce"])
    aead = AESGCM(key) if aead_id == AES_256_GCM else ChaCha20Poly1305(key)
    assert aead.encrypt(nonce, encryption["pt"], encryption["aad"]) == encryption["ct"]

    private = HpkePrivateKey(kem, Secret(known["skRm"]))
    assert private.public.raw == known["pkRm"]
    account = known["info"].decode()
    key, nonce = Schedule(kem_id, AES_256_GCM).key_and_nonce(known["shared_secret"], known["info"])
    assert private.opened(known["enc"] + AESGCM(key).encrypt(nonce, encryption["pt"], b""), account) == encryption["pt"]
    # what the vector itself sealed has associated data: ours is empty, so it must not open
    assert private.opened(known["enc"] + encryption["ct"], account) is None


def test_what_is_sealed_to_the_key_of_the_vector_opens_with_it() -> None:
    """FAULTS H1."""
    known = vector("rfc9180_x25519_aes_256_gcm.json")
    sealed = HpkePublicKey(Kem.X25519, known["pkRm"]).seal(b"to the vector", "acme")
    assert len(sealed) == 32 + len(b"to the vector") + 16
    assert HpkePrivateKey(Kem.X25519, Secret(known["skRm"])).opened(sealed, "acme") == b"to the vector"

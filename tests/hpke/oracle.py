"""Tink itself: what our keysets and messages are held to. All of it goes through Tink's own readers and writers."""

from __future__ import annotations

from typing import Any

import tink
from tink import json_proto_keyset_format, proto_keyset_format, secret_key_access
from tink.hybrid import HybridDecrypt, HybridEncrypt, hybrid_key_templates, register
from tink.proto import hpke_pb2, tink_pb2

from keystore.hpke import Kem
from keystore.tink_keyset import OutputPrefix

Handle = Any  # tink.KeysetHandle; Tink is untyped for us
register()
_X25519, _X_WING = "DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_256_GCM", "X_WING_HKDF_SHA256_HKDF_SHA256_AES_256_GCM"
TEMPLATES = {
    (Kem.X25519, OutputPrefix.TINK): getattr(hybrid_key_templates, _X25519),
    (Kem.X25519, OutputPrefix.RAW): getattr(hybrid_key_templates, _X25519 + "_RAW"),
    (Kem.X_WING, OutputPrefix.TINK): getattr(hybrid_key_templates, _X_WING),
    (Kem.X_WING, OutputPrefix.RAW): getattr(hybrid_key_templates, _X_WING + "_RAW"),
}
KINDS = list(TEMPLATES)


def new(template: object) -> Handle:
    """A private keyset of one key, made by Tink."""
    return tink.new_keyset_handle(template)


def private_binary(handle: Handle) -> bytes:
    return bytes(proto_keyset_format.serialize(handle, secret_key_access.TOKEN))


def private_json(handle: Handle) -> bytes:
    return str(json_proto_keyset_format.serialize(handle, secret_key_access.TOKEN)).encode()


def public_binary(handle: Handle) -> bytes:
    return bytes(proto_keyset_format.serialize_without_secret(handle.public_keyset_handle()))


def public_json(handle: Handle) -> bytes:
    return str(json_proto_keyset_format.serialize_without_secret(handle.public_keyset_handle())).encode()


def read_private(data: bytes) -> Handle:
    """Tink's view of a private keyset, JSON or binary."""
    if data.startswith(b"{"):
        return json_proto_keyset_format.parse(data.decode(), secret_key_access.TOKEN)
    return proto_keyset_format.parse(data, secret_key_access.TOKEN)


def read_public(data: bytes) -> Handle:
    """Tink's view of a public keyset, JSON or binary. Raises ``tink.TinkError``."""
    if data.startswith(b"{"):
        return json_proto_keyset_format.parse_without_secret(data.decode())
    return proto_keyset_format.parse_without_secret(data)


def seal(public: Handle, plain: bytes, account: str) -> bytes:
    return bytes(public.primitive(HybridEncrypt).encrypt(plain, account.encode()))


def opened(private: Handle, sealed: bytes, account: str) -> bytes:
    """Raises ``tink.TinkError``."""
    return bytes(private.primitive(HybridDecrypt).decrypt(sealed, account.encode()))


def keyset(*binaries: bytes) -> Any:
    """All keys of binary keysets in one message of Tink's, to be changed by hand; the first one's primary stays."""
    made = tink_pb2.Keyset()
    for binary in reversed(binaries):
        made.MergeFromString(binary)
    return made


def hpke_public(binary: bytes) -> Any:
    """The message inside the first key of a binary public keyset."""
    return hpke_pb2.HpkePublicKey.FromString(keyset(binary).key[0].key_data.value)

"""What is wrong with a keyset is told at upload. The keysets are made with Tink's own messages, then spoilt."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from tink import aead, hybrid
from tink.proto import hpke_pb2

from keystore.errors import KeysetRejected
from keystore.hpke import HpkePublicKey, Kem
from keystore.secret import Secret
from keystore.tink_keyset import MAX_KEYS, MAX_KEYSET_BYTES, OutputPrefix, PrivateKeyset, PublicKeyset
from tests.hpke import oracle
from tests.hpke.points import CANONICAL, LOW_ORDER, PRIME

HANDLE = oracle.new(oracle.TEMPLATES[Kem.X25519, OutputPrefix.TINK])
X_WING = oracle.new(oracle.TEMPLATES[Kem.X_WING, OutputPrefix.TINK])
PUBLIC, PRIVATE = oracle.public_binary(HANDLE), oracle.private_binary(HANDLE)
aead.register()
SYMMETRIC = oracle.new(aead.aead_key_templates.AES256_GCM)
OTHERS = [oracle.public_binary(oracle.new(oracle.TEMPLATES[Kem.X25519, OutputPrefix.TINK])) for _ in range(MAX_KEYS)]


def rejection(data: bytes) -> str:
    with pytest.raises(KeysetRejected) as caught:
        PublicKeyset.read(data)
    return caught.value.public


def private_rejection(data: bytes) -> str:
    with pytest.raises(KeysetRejected) as caught:
        PrivateKeyset.read(Secret(data))
    return caught.value.public


def spoilt(change: Callable[[Any], None], *others: bytes) -> bytes:
    """The public keyset after ``change`` of Tink's Keyset message; the primary key is the first."""
    message = oracle.keyset(*others, PUBLIC)
    message.primary_key_id = oracle.keyset(PUBLIC).primary_key_id
    change(message)
    return bytes(message.SerializeToString())


def spoilt_key(change: Callable[[Any], None], binary: bytes = PUBLIC) -> bytes:
    """The public keyset after ``change`` of the HpkePublicKey message inside its only key."""
    message, key = oracle.keyset(binary), oracle.hpke_public(binary)
    change(key)
    message.key[0].key_data.value = key.SerializeToString()
    return bytes(message.SerializeToString())


def setting(name: str, value: object) -> Callable[[Any], None]:
    """Sets the field of that dotted name; a part may be the index in a list."""

    def change(message: Any) -> None:
        *path, last = name.split(".")
        for part in path:
            message = message[int(part)] if part.isdigit() else getattr(message, part)
        setattr(message, last, value)

    return change


def test_the_unspoilt_keysets_are_read() -> None:
    assert PublicKeyset.read(spoilt(lambda _: None)).as_binary() == PUBLIC
    assert PublicKeyset.read(spoilt_key(lambda _: None)).as_binary() == PUBLIC


@pytest.mark.parametrize("handle", [HANDLE, X_WING, SYMMETRIC])
def test_a_keyset_with_a_secret_key_is_refused_as_exposed(handle: oracle.Handle) -> None:
    text, binary = oracle.private_json(handle), oracle.private_binary(handle)
    for data in (text, binary, b"\n " + text, text.replace(b"ENABLED", b"DISABLED")):
        assert "treat that key as exposed" in rejection(data)


def test_a_damaged_private_keyset_and_one_that_is_mislabelled_are_exposed_as_well() -> None:
    text = oracle.private_json(HANDLE)
    assert "exposed" in rejection(text[:-2])
    assert "exposed" in rejection(PRIVATE[:-1])
    assert "exposed" in rejection(text.replace(b"ASYMMETRIC_PRIVATE", b"ASYMMETRIC_PUBLIC"))
    assert "exposed" in rejection(text.replace(b"HpkePrivateKey", b"HpkePublicKey"))


def test_a_public_keyset_where_a_private_one_is_wanted() -> None:
    assert "accepted is HpkePrivateKey" in private_rejection(PUBLIC)
    assert "accepted is HpkePrivateKey" in private_rejection(oracle.public_json(HANDLE))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (setting("primary_key_id", 0), "no primary key"),
        (setting("primary_key_id", 7), "no primary key"),
        (setting("key.0.status", 0), "no status"),
        (setting("key.0.status", 2), "primary key of the keyset is DISABLED"),
        (setting("key.0.status", 3), "primary key of the keyset is DESTROYED"),
        (setting("key.0.status", 9), "damaged"),
        (setting("key.0.output_prefix_type", 0), "output prefix UNKNOWN_PREFIX"),
        (setting("key.0.output_prefix_type", 2), "output prefix LEGACY"),
        (setting("key.0.output_prefix_type", 4), "output prefix CRUNCHY"),
        (setting("key.0.output_prefix_type", 5), "output prefix WITH_ID_REQUIREMENT"),
        (setting("key.0.key_data.key_material_type", 0), "material is UNKNOWN_KEYMATERIAL"),
        (setting("key.0.key_data.key_material_type", 4), "material is REMOTE"),
        (setting("key.0.key_data.type_url", ""), "Its type is ''; accepted is HpkePublicKey"),
        (
            setting("key.0.key_data.type_url", "type.googleapis.com/google.crypto.tink.EciesAeadHkdfPublicKey"),
            "EciesAeadHkdfPublicKey'; accepted is HpkePublicKey",
        ),
        (setting("key.0.key_data.value", b""), "KEM, KDF or AEAD"),
        (setting("key.0.key_data.value", b"\xff"), "damaged"),
        (lambda keyset: keyset.key.pop(), "holds no key"),
        (lambda keyset: keyset.key.append(keyset.key[0]), "the same ID"),
    ],
)
def test_keysets_that_are_refused(change: Callable[[Any], None], reason: str) -> None:
    """FAULTS H7: missing, disabled and destroyed primaries, two keys with one ID."""
    assert reason in rejection(spoilt(change))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (setting("version", 1), "version is 1"),
        *((setting("params.kem", kem), "KEM, KDF or AEAD") for kem in (0, 2, 3, 4, 6, 7, 99)),
        *((setting("params.kdf", kdf), "KEM, KDF or AEAD") for kdf in (0, 2, 3)),
        *((setting("params.aead", aead), "KEM, KDF or AEAD") for aead in (0, 1, 3)),
        (setting("params.kem", 5), "has 32 bytes; one for x-wing has 1216"),
        (setting("public_key", b""), "has 0 bytes; one for x25519 has 32"),
        (setting("public_key", bytes(31)), "has 31 bytes"),
        (setting("public_key", bytes(33)), "has 33 bytes"),
        (setting("public_key", (PRIME + 9).to_bytes(32, "little")), "proper form"),
        (setting("public_key", (9 | 1 << 255).to_bytes(32, "little")), "proper form"),
    ],
)
def test_keys_that_are_refused(change: Callable[[Any], None], reason: str) -> None:
    """FAULTS H8: also keys whose encoding is not the proper one."""
    text = rejection(spoilt_key(change))
    assert reason in text
    assert text.startswith(f"Key ID {oracle.keyset(PUBLIC).primary_key_id}: ")


def test_keys_of_low_order_are_refused() -> None:
    """FAULTS H8."""
    for point in LOW_ORDER:
        reason = "low order" if point in CANONICAL else "proper form"
        assert reason in rejection(spoilt_key(setting("public_key", point)))
        x_wing = oracle.public_binary(X_WING)
        mlkem = oracle.hpke_public(x_wing).public_key[:-32]
        assert reason in rejection(spoilt_key(setting("public_key", mlkem + point), x_wing))


def test_an_ml_kem_key_beyond_its_modulus_is_refused() -> None:
    """FIPS 203 §7.2."""
    binary = oracle.public_binary(X_WING)
    key = oracle.hpke_public(binary).public_key
    assert "ML-KEM part" in rejection(spoilt_key(setting("public_key", b"\xff\xff" + key[2:]), binary))


def test_other_suites_of_tink_are_refused_with_the_template_to_use() -> None:
    templates = hybrid.hybrid_key_templates
    for template in (
        templates.DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_128_GCM,
        templates.DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_CHACHA20_POLY1305,
        templates.ECIES_P256_HKDF_HMAC_SHA256_AES128_GCM,
    ):
        text = rejection(oracle.public_binary(oracle.new(template)))
        assert "DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_256_GCM" in text


def test_as_many_keys_as_allowed_and_not_one_more() -> None:
    """FAULTS H7: keys that are not enabled count, and are left out."""

    def disable(keyset: Any) -> None:
        for key in keyset.key:
            if key.key_id != keyset.primary_key_id:
                key.status = 2
                key.key_data.type_url = "something old"

    assert len(PublicKeyset.read(spoilt(lambda _: None, *OTHERS[1:])).keys) == MAX_KEYS
    assert PublicKeyset.read(spoilt(disable, *OTHERS[1:])).as_binary() == PUBLIC
    for change in (lambda _: None, disable):
        assert f"holds {MAX_KEYS + 1} keys" in rejection(spoilt(change, *OTHERS))


def test_the_primary_key_seals_wherever_it_stands() -> None:
    keyset = PublicKeyset.read(spoilt(lambda _: None, *OTHERS[:3]))
    assert keyset.keys[0].tink_key_id == oracle.keyset(PUBLIC).primary_key_id
    assert oracle.opened(HANDLE, keyset.seal(b"x", "acme"), "acme") == b"x"


def test_what_is_no_keyset_at_all() -> None:
    assert rejection(b"") == rejection(b" \n\t") == rejection(b"\xef\xbb\xbf") == "The keyset is empty."
    assert "larger than 64 KiB" in rejection(PUBLIC + bytes(MAX_KEYSET_BYTES))
    for data in (base64.b64encode(PUBLIC), b"-----BEGIN PUBLIC KEY-----", b"null", b"[]", bytes(9), PUBLIC[:-1]):
        assert "neither" in rejection(data)


def test_binary_keysets_are_read_strictly() -> None:
    """Unknown and doubled fields, of which two readers could make two keysets, and numbers that are too large."""
    assert "damaged" in rejection(PUBLIC + b"\x1a\x00")  # an unknown field, 3: bytes
    assert "damaged" in rejection(PUBLIC + b"\x08\x01")  # a second primary_key_id
    assert "damaged" in rejection(PUBLIC + b"\x1b\x1c")  # a group, which protobuf has given up
    assert "damaged" in rejection(PUBLIC + b"\x00\x00")  # field 0
    assert "damaged" in rejection(b"\x0a\x01\x01" + PUBLIC)  # primary_key_id as bytes
    assert "damaged" in rejection(PUBLIC + b"\x10\x01")  # a key as a number
    assert "damaged" in rejection(b"\x08" + b"\x80" * 4 + b"\x10" + PUBLIC[6:])  # 2**32
    assert "damaged" in rejection(b"\x08" + b"\xff" * 10 + b"\x01" + PUBLIC[6:])
    assert "damaged" in rejection(PUBLIC.replace(b"type.google", b"typ\xff.google"))  # a string that is not UTF-8
    with pytest.raises(KeysetRejected) as caught:
        PublicKeyset.read(spoilt_key(lambda key: key.MergeFromString(b"\x22\x01x")))
    assert caught.value.detail == "HpkePublicKey: field 4 is unknown"


def json_with(change: Callable[[dict[str, Any]], Any]) -> bytes:
    keyset = json.loads(oracle.public_json(HANDLE))
    change(keyset)
    return json.dumps(keyset).encode()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda k: k.update(note="x"), "In the keyset: Tink has no name 'note'"),
        (lambda k: k.update(primary_key_id=1), "In the keyset: Tink has no name 'primary_key_id'"),
        (lambda k: k.update(primaryKeyId="1"), "In the keyset: `primaryKeyId` is not a whole number"),
        (lambda k: k.update(primaryKeyId=1.0), "In the keyset: `primaryKeyId` is not a whole number"),
        (lambda k: k.update(primaryKeyId=True), "In the keyset: `primaryKeyId` is not a whole number"),
        (lambda k: k.update(primaryKeyId=2**32), "In the keyset: `primaryKeyId` is not a whole number"),
        (lambda k: k.update(primaryKeyId=-1), "In the keyset: `primaryKeyId` is not a whole number"),
        (lambda k: k.pop("primaryKeyId"), "no primary key"),
        (lambda k: k.update(key={}), "In the keyset: `key` is not a list"),
        (lambda k: k.pop("key"), "holds no key"),
        (lambda k: k["key"].append(1), "Not a JSON object: key[1]"),
        (lambda k: k["key"][0].update(note=1), "In key[0]: Tink has no name 'note'"),
        (lambda k: k["key"][0].update(keyData=[]), "Not a JSON object: key[0].keyData"),
        (lambda k: k["key"][0].update(status=1), "In key[0]: `status` is not a string"),
        (lambda k: k["key"][0].update(status="enabled"), "In key[0]: `status` is 'enabled', which Tink does not know"),
        (lambda k: k["key"][0].pop("status"), "no status"),
        (lambda k: k["key"][0].update(keyId=None), "In key[0]: `keyId` is not a whole number"),
        (lambda k: k["key"][0]["keyData"].update(value="?"), "In key[0].keyData: `value` is not Base64"),
        (lambda k: k["key"][0]["keyData"].update(value="ü"), "In key[0].keyData: `value` is not Base64"),
        (lambda k: k["key"][0]["keyData"].update(value=1), "In key[0].keyData: `value` is not a string"),
        (
            lambda k: k["key"][0]["keyData"].update({"x" * 999: 1}),
            f"In key[0].keyData: Tink has no name '{'x' * 40}' there",
        ),
        (lambda k: k["key"][0]["keyData"].update(typeUrl="\ud800"), r"Its type is '\ud800'; accepted"),
        (lambda k: k.update(encryptedKeyset="AAAA"), "The keyset is encrypted"),
    ],
)
def test_json_keysets_are_read_strictly_and_told_what_is_wrong(
    change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    assert reason in rejection(json_with(change))


def test_json_that_is_none() -> None:
    text = oracle.public_json(HANDLE)
    assert PublicKeyset.read(b"\xef\xbb\xbf\r\n" + text).as_binary() == PUBLIC
    for data in (text[:-1], text + b"{}", text.replace(b"ENABLED", b"\xff"), b"{" * 60_000, b'{"a":' * 12_000):
        assert "not valid JSON" in rejection(data)
    assert "not valid JSON" in rejection(b'{"primaryKeyId": ' + b"1" * 5000 + b"}")
    assert "stands twice" in rejection(text.replace(b'"status"', b'"keyId": 1, "status"'))


def test_halves_that_do_not_belong_together_are_refused() -> None:
    message = oracle.keyset(PRIVATE)
    value = message.key[0].key_data.value
    for change, reason in (
        (setting("public_key.public_key", oracle.hpke_public(OTHERS[0]).public_key), "do not belong together"),
        (setting("private_key", b""), "private key has 0 bytes"),
        (setting("private_key", bytes(33)), "private key has 33 bytes"),
        (setting("version", 3), "version is 3"),
        (setting("public_key.version", 3), "version is 3"),
        (lambda key: key.ClearField("public_key"), "KEM, KDF or AEAD"),
    ):
        key = hpke_pb2.HpkePrivateKey.FromString(value)
        change(key)
        message.key[0].key_data.value = key.SerializeToString()
        assert reason in private_rejection(message.SerializeToString())


def test_a_key_made_by_hand_is_checked_as_well() -> None:
    with pytest.raises(KeysetRejected):
        HpkePublicKey(Kem.X25519, bytes(32))
    with pytest.raises(KeysetRejected):
        PrivateKeyset.generate(Kem.X25519, OutputPrefix.LEGACY)

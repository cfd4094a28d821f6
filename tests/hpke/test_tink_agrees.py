"""Our keysets and messages against Tink's, both ways (FAULTS H1)."""

from __future__ import annotations

import json

import pytest
import tink

from keystore.hpke import Kem
from keystore.secret import Secret
from keystore.tink_keyset import OutputPrefix, PrivateKeyset, PublicKeyset
from tests.hpke import oracle

PLAIN = b'{"d": []}'
EACH_KIND = pytest.mark.parametrize(("kem", "prefix"), oracle.KINDS)


@EACH_KIND
def test_keysets_of_tink_are_read_and_written_alike(kem: Kem, prefix: OutputPrefix) -> None:
    """FAULTS H1."""
    handle = oracle.new(oracle.TEMPLATES[kem, prefix])
    for data in (oracle.private_binary(handle), oracle.private_json(handle)):
        private = PrivateKeyset.read(Secret(data))
        assert [(key.prefix, key.key.kem) for key in private.keys] == [(prefix, kem)]
        assert private.as_binary().expose() == oracle.private_binary(handle)
        assert json.loads(private.as_json().expose()) == json.loads(oracle.private_json(handle))
        assert private.public().as_binary() == oracle.public_binary(handle)
    for data in (oracle.public_binary(handle), oracle.public_json(handle)):
        public = PublicKeyset.read(data)
        assert public.as_binary() == oracle.public_binary(handle)
        assert json.loads(public.as_json()) == json.loads(oracle.public_json(handle))


@EACH_KIND
def test_messages_open_on_the_other_side_for_their_account_only(kem: Kem, prefix: OutputPrefix) -> None:
    """FAULTS H1 and H4."""
    handle = oracle.new(oracle.TEMPLATES[kem, prefix])
    private = PrivateKeyset.read(Secret(oracle.private_binary(handle)))
    tink_key_id = private.keys[0].tink_key_id
    for plain in (b"", PLAIN, bytes(100_000)):
        from_tink = oracle.seal(handle.public_keyset_handle(), plain, "acme-ü")
        assert private.opened(from_tink, "acme-ü") == (tink_key_id, plain)
        assert private.opened(from_tink, "other") is None
        ours = PublicKeyset.read(oracle.public_json(handle)).seal(plain, "acme-ü")
        assert oracle.opened(handle, ours, "acme-ü") == plain
        assert len(ours) == len(from_tink)
        with pytest.raises(tink.TinkError):
            oracle.opened(handle, ours, "other")


@EACH_KIND
def test_keysets_made_by_us_are_tink_s_too(kem: Kem, prefix: OutputPrefix) -> None:
    """FAULTS H1."""
    made = PrivateKeyset.generate(kem, prefix)
    for private, public in (
        (made.as_binary(), made.public().as_binary()),
        (made.as_json(), made.public().as_json()),
    ):
        sealed = oracle.seal(oracle.read_public(public), PLAIN, "acme")
        assert made.opened(sealed, "acme") == (made.keys[0].tink_key_id, PLAIN)
        handle = oracle.read_private(private.expose())
        assert oracle.opened(handle, made.public().seal(PLAIN, "acme"), "acme") == PLAIN


def test_generated_keys_differ_and_take_no_id_that_is_taken() -> None:
    keysets = [PrivateKeyset.generate() for _ in range(50)]
    assert len({keyset.keys[0].tink_key_id for keyset in keysets}) == 50
    assert len({keyset.keys[0].key.public.raw for keyset in keysets}) == 50

    class EvenIds(frozenset[int]):
        def __contains__(self, item: object) -> bool:
            return isinstance(item, int) and item % 2 == 0

    assert all(PrivateKeyset.generate(taken=EvenIds()).keys[0].tink_key_id % 2 for _ in range(50))


def test_a_keyset_that_tink_rotated_seals_with_the_primary_and_opens_with_every_enabled_key() -> None:
    """FAULTS H7: TINK and RAW beside each other, one disabled key, one destroyed."""
    handles = [oracle.new(oracle.TEMPLATES[Kem.X25519, prefix]) for prefix in (OutputPrefix.TINK, OutputPrefix.RAW) * 2]
    message = oracle.keyset(*(oracle.private_binary(handle) for handle in handles))
    ids = [PrivateKeyset.read(Secret(oracle.private_binary(handle))).keys[0].tink_key_id for handle in handles]
    for key in message.key:
        if key.key_id == ids[2]:
            key.status = 2  # DISABLED
        if key.key_id == ids[3]:
            key.status = 3  # DESTROYED
            key.ClearField("key_data")
    assert message.primary_key_id == ids[0]
    data = message.SerializeToString()

    private = PrivateKeyset.read(Secret(data))
    assert [key.tink_key_id for key in private.keys] == ids[:2]
    for handle, tink_key_id in zip(handles[:2], ids, strict=False):
        sealed = oracle.seal(handle.public_keyset_handle(), PLAIN, "acme")
        assert private.opened(sealed, "acme") == (tink_key_id, PLAIN)
    for handle in handles[2:]:
        assert private.opened(oracle.seal(handle.public_keyset_handle(), PLAIN, "acme"), "acme") is None

    sealed = private.public().seal(PLAIN, "acme")
    assert sealed[:5] == b"\x01" + ids[0].to_bytes(4)
    assert oracle.opened(handles[0], sealed, "acme") == PLAIN
    assert oracle.opened(oracle.read_private(data), sealed, "acme") == PLAIN
    assert oracle.opened(oracle.read_private(private.as_binary().expose()), sealed, "acme") == PLAIN


def test_a_keyset_prints_no_secret() -> None:
    private = PrivateKeyset.generate()
    secret = private.keys[0].key.raw.expose()
    text = f"{private!r} {private} {private.keys[0].key!r} {private.as_binary()!r} {private.as_json()!r}"
    assert repr(secret)[2:-1] not in text
    assert secret.hex() not in text

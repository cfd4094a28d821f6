"""Whatever is uploaded gives a keyset that Tink reads as well, or the one documented error."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystore import protobuf
from keystore.errors import KeysetRejected
from keystore.hpke import Kem
from keystore.protobuf import Message, MessageInvalid
from keystore.secret import Secret
from keystore.tink_keyset import OutputPrefix, PrivateKeyset, PublicKeyset
from tests.hpke import oracle

HANDLES = [oracle.new(oracle.TEMPLATES[Kem.X25519, prefix]) for prefix in (OutputPrefix.TINK, OutputPrefix.RAW)]
BINARY = bytes(oracle.keyset(*(oracle.public_binary(handle) for handle in HANDLES)).SerializeToString())
TEXT = PublicKeyset.read(BINARY).as_json()
PRIVATE = [data for handle in HANDLES for data in (oracle.private_binary(handle), oracle.private_json(handle))]


@st.composite
def damaged(draw: st.DrawFn, *whole: bytes) -> bytes:
    """One of ``whole`` after up to three edits."""
    data = draw(st.sampled_from(whole))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(at + 40, len(data))))
        new = draw(st.one_of(st.binary(max_size=4), st.just(data[at:end] * 2), st.just(b""), st.sampled_from(whole)))
        data = data[:at] + new + data[end:]
    return data


def read_or_refused(data: bytes) -> PublicKeyset | None:
    try:
        return PublicKeyset.read(data)
    except KeysetRejected:
        return None


NAMES = ["primaryKeyId", "key", "keyData", "typeUrl", "value", "keyMaterialType", "status", "keyId", "outputPrefixType"]
VALUES = ["ENABLED", "TINK", "RAW", "ASYMMETRIC_PUBLIC", "type.googleapis.com/google.crypto.tink.HpkePublicKey", ""]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**33) | st.floats() | st.sampled_from(VALUES) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner),
    max_leaves=20,
)


@given(data=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_a_keyset_or_refused(data: bytes) -> None:
    read_or_refused(data)
    with pytest.raises(KeysetRejected):
        PrivateKeyset.read(Secret(data))


@given(data=damaged(BINARY, TEXT))
@settings(max_examples=800, deadline=None)
def test_a_damaged_keyset_is_refused_or_tink_reads_the_same_in_it(data: bytes) -> None:
    keyset = read_or_refused(data)
    if keyset is None:
        return
    theirs = oracle.read_public(data.lstrip())
    primary = keyset.keys[0]
    assert theirs.keyset_info().primary_key_id == primary.tink_key_id
    sealed = oracle.seal(theirs, b"text", "acme")
    assert sealed.startswith(primary.output_prefix)
    assert oracle.read_public(keyset.as_binary()).keyset_info().primary_key_id == primary.tink_key_id


@given(data=damaged(*PRIVATE))
@settings(max_examples=500, deadline=None)
def test_a_damaged_private_keyset_is_refused_or_still_opens(data: bytes) -> None:
    try:
        keyset = PrivateKeyset.read(Secret(data))
    except KeysetRejected:
        return
    sealed = oracle.seal(oracle.read_public(keyset.public().as_binary()), b"text", "acme")
    assert keyset.opened(sealed, "acme") == (keyset.keys[0].tink_key_id, b"text")


@given(number=st.integers(1, 2**32 - 1), field=st.integers(1, 2**29 - 1), octets=st.binary(min_size=1, max_size=300))
def test_fields_come_back_as_they_were_written(number: int, field: int, octets: bytes) -> None:
    message = Message(protobuf.number(field, number) + protobuf.octets(field + 1, octets), "Sample")
    assert (message.number(field), message.octets(field + 1)) == (number, octets)
    message.end()
    assert (message.number(field), message.octets(field + 1)) == (0, b"")


@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_message_or_invalid(data: bytes) -> None:
    with contextlib.suppress(MessageInvalid):
        message = Message(data, "Sample")
        message.number(1)
        message.text(2)
        message.each(3)
        message.end()

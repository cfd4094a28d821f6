"""Damage of every kind ends in one error of ours, never in success, never in anything else."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystore.pgp_keys import PrivateKey
from tests.openpgp import packet_writer as write
from tests.openpgp.conftest import PLAIN
from tests.openpgp.reading import plain_text, verdict
from tests.openpgp.sender import Gpg


@pytest.fixture(scope="module")
def originals(gpg: Gpg, rsa: PrivateKey) -> list[bytes]:
    small = PLAIN[:3000]
    literal = write.literal(small)
    return [
        gpg.encrypt("rsa", small),
        gpg.encrypt("rsa", small, "--armor", "--compress-algo", "none"),
        write.message(rsa, write.compressed(literal)),
        write.armor(write.message(rsa, literal), crc=b"AAAA"),
        write.ocb_message(rsa, literal),
    ]


def test_no_flipped_bit_goes_unnoticed(gpg: Gpg, rsa: PrivateKey) -> None:
    """FAULTS P2: 200 random offsets and the last 22 bytes of a binary message."""
    data = gpg.encrypt("rsa", PLAIN * 20)
    offsets = random.Random(2).sample(range(len(data)), 200)
    for at in [*offsets, *range(len(data) - 22, len(data)), *range(30)]:
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        assert verdict(bytes(damaged), rsa) != "ok", at


def test_every_byte_of_a_message(rsa: PrivateKey) -> None:
    """FAULTS P2, P6: MDC and OCB; a session key packet's own length octets are covered as well."""
    literal = write.literal(PLAIN[:700])
    for data in (write.message(rsa, write.compressed(literal)), write.ocb_message(rsa, literal)):
        for at in range(len(data)):
            damaged = bytearray(data)
            damaged[at] ^= 0x10
            assert verdict(bytes(damaged), rsa) != "ok", at


def test_both_engines_refuse_the_same_flips(rsa: PrivateKey, originals: list[bytes]) -> None:
    data = originals[2]
    for at in (len(data) - 1, len(data) - 25, len(data) // 2 + 200, 100):
        damaged = bytearray(data)
        damaged[at] ^= 1
        assert verdict(bytes(damaged), rsa, engine="gnupg") == verdict(bytes(damaged), rsa) == "pgp.corrupt"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_random_changes_raise_only_our_errors(rsa: PrivateKey, originals: list[bytes], data: st.DataObject) -> None:
    """Cuts, repeats, insertions and overwrites anywhere; plain text that comes out is the one that went in."""
    original = data.draw(st.sampled_from(originals))
    at = data.draw(st.integers(0, len(original)))
    until = data.draw(st.integers(at, min(len(original), at + 200)))
    changed = original[:at] + data.draw(st.binary(max_size=64)) + original[until:]
    if verdict(changed, rsa) == "ok":
        assert plain_text(changed, rsa) == PLAIN[:3000]


@settings(max_examples=200, deadline=None)
@given(inner=st.binary(max_size=300))
def test_random_packets_inside_raise_only_our_errors(rsa: PrivateKey, inner: bytes) -> None:
    assert verdict(write.message(rsa, inner), rsa) in ("ok", "pgp.corrupt", "data.too_large")
    compressed = write.message(rsa, write.packet(8, b"\x02" + inner))
    assert verdict(compressed, rsa) in ("ok", "pgp.corrupt", "data.too_large")


@settings(max_examples=300, deadline=None)
@given(data=st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(lambda tail: b"\xc1" + tail)))
def test_random_bytes_are_never_a_message(rsa: PrivateKey, data: bytes) -> None:
    assert verdict(data, rsa).startswith("pgp.")
    assert verdict(write.armor(data), rsa).startswith("pgp.")

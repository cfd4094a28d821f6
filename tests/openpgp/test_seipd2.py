"""SEIPD version 2 (RFC 9580 §5.13.2) with session key packets of version 6, crafted from a fixed seed."""

from __future__ import annotations

import io
import random

import pytest

from keystore.errors import Corrupt, Unsupported
from keystore.openpgp import EngineName, decrypt
from keystore.pgp_keys import PrivateKey
from keystore.secret import Secret
from tests.openpgp import key_writer
from tests.openpgp import packet_writer as write
from tests.openpgp.conftest import PLAIN
from tests.openpgp.key_writer import X448, X25519
from tests.openpgp.reading import peak_memory, plain_text, verdict

LITERAL = write.literal(PLAIN)
OVERHEAD = len(write.literal(b""))
CIPHERS = {7: 16, 8: 24, 9: 32}


def pair(version: int, algorithm: int, seed: int = 1) -> PrivateKey:
    return PrivateKey.unlock("uuid", Secret(key_writer.secret_key(version, algorithm, seed=seed)), None)


@pytest.fixture(scope="module")
def modern() -> PrivateKey:
    return pair(6, X25519)


@pytest.mark.parametrize("exponent", [0, 6, 16])
@pytest.mark.parametrize("aead", [write.EAX, write.OCB, write.GCM])
@pytest.mark.parametrize("cipher", CIPHERS)
def test_every_cipher_mode_and_chunk_size(modern: PrivateKey, cipher: int, aead: int, exponent: int) -> None:
    key = random.Random(cipher).randbytes(CIPHERS[cipher])
    body = write.seipd2_body(LITERAL, exponent=exponent, aead=aead, cipher=cipher, session_key=key)
    message = decrypt(io.BytesIO(write.pkesk6(modern, session_key=key) + write.packet(18, body)), [modern])
    assert b"".join(message) == PLAIN
    assert (message.integrity, message.cipher) == ("aead", f"AES{CIPHERS[cipher] * 8}")
    assert (message.engine, message.recipients) == ("native", ("0" * 16,))


@pytest.mark.parametrize("algorithm", [X25519, X448])
@pytest.mark.parametrize("version", [4, 6])
def test_the_recipient_may_be_named_or_hidden(version: int, algorithm: int) -> None:
    """FAULTS P17, P26."""
    key = pair(version, algorithm)
    other = pair(version, algorithm, seed=2)
    sealed = write.packet(18, write.seipd2_body(LITERAL))
    named = write.pkesk6(key, recipient=key_writer.recipient(version, algorithm)) + sealed
    message = decrypt(io.BytesIO(named), [other, key])
    assert b"".join(message) == PLAIN
    assert message.recipients == (next(iter(key.openpgp_key_ids)).hex().upper(),)
    assert plain_text(write.pkesk6(key) + sealed, other, key) == PLAIN
    assert verdict(named, other) == "pgp.wrong_key"
    assert verdict(write.pkesk6(key) + sealed, other) == "pgp.corrupt"


@pytest.mark.parametrize("algorithm", [X25519, X448])
def test_session_key_packets_of_version_3_for_the_new_algorithms(algorithm: int) -> None:
    """FAULTS P26: the cipher stands in the clear beside the wrapped key; it must be AES, and fit."""
    key = pair(4, algorithm)
    key_id, private = next(iter(key.decryption_keys.items()))
    sealed = write.packet(18, write.seipd_body(LITERAL))
    found = {}
    for cipher in (9, 7, 10, 99):
        fields = write.montgomery_fields(private, write.SESSION_KEY, cipher=bytes([cipher]))  # type: ignore[arg-type]
        found[cipher] = verdict(write.packet(1, b"\x03" + key_id + bytes([algorithm]) + fields) + sealed, key)
    assert found == {9: "ok", 7: "pgp.corrupt", 10: "pgp.corrupt", 99: "pgp.corrupt"}


def test_an_rsa_key_takes_version_6_as_well(rsa: PrivateKey) -> None:
    assert plain_text(write.seipd2_message(rsa, LITERAL), rsa) == PLAIN
    short = write.pkesk6(rsa, session_key=write.SESSION_KEY[:24]) + write.packet(18, write.seipd2_body(LITERAL))
    assert verdict(short, rsa) == "pgp.corrupt"


@pytest.mark.parametrize("aead", [write.EAX, write.OCB, write.GCM])
def test_every_size_around_a_chunk(modern: PrivateKey, aead: int) -> None:
    for size in [*range(0, 200), *(1024 + n for n in range(-20, 20)), 1_048_576, 1_100_000]:
        plain = random.Random(size).randbytes(size)
        data = write.seipd2_message(modern, write.literal(plain), exponent=1, aead=aead)
        assert plain_text(data, modern) == plain


def test_chunks_dropped_swapped_repeated_or_cut(modern: PrivateKey) -> None:
    """FAULTS P6, P32: refused with the one text of a failed decryption."""
    body = write.seipd2_body(write.literal(PLAIN[: 64 * 8 - OVERHEAD]))
    head, chunks, final = body[:36], [body[at : at + 80] for at in range(36, len(body) - 16, 80)], body[-16:]
    assert len(chunks) == 8
    vectors = {
        "dropped": [*chunks[:3], *chunks[4:], final],
        "swapped": [chunks[1], chunks[0], *chunks[2:], final],
        "repeated": [chunks[0], *chunks, final],
        "last chunk gone": [*chunks[:-1], final],
        "final tag gone": chunks,
        "final tag zero": [*chunks, bytes(16)],
        "final tag twice": [*chunks, final, final],
        "only the final tag": [final],
        "nothing": [],
    }
    for name, parts in vectors.items():
        with pytest.raises(Corrupt) as raised:
            plain_text(write.pkesk6(modern) + write.packet(18, head + b"".join(parts)), modern)
        assert raised.value.public == Corrupt.PUBLIC, name


def test_no_changed_byte_and_no_cut_goes_unnoticed(modern: PrivateKey) -> None:
    """FAULTS P2, P3, P6."""
    data = write.seipd2_message(modern, write.compressed(write.literal(PLAIN[:900])))
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x10
        assert verdict(bytes(damaged), modern) != "ok", at
    assert {verdict(data[:cut], modern) for cut in range(1, len(data), 7)} == {"pgp.truncated"}


@pytest.mark.parametrize(
    ("head", "named"),
    [
        ({"aead": 0}, "mode 0"),
        ({"aead": 9}, "mode 9"),
        ({"exponent": 17}, "2\\^23"),
        ({"exponent": 255}, "2\\^261"),
        ({"cipher": 13}, "cipher 13"),
        ({"cipher": 10}, "cipher 10"),
    ],
)
def test_what_no_engine_reads_is_named(modern: PrivateKey, head: dict[str, int], named: str) -> None:
    """FAULTS P6: "unsupported", not "wrong key"; anyone can see it, so it is precise."""
    body = bytearray(write.seipd2_body(LITERAL))
    for field, value in head.items():
        body[("", "cipher", "aead", "exponent").index(field)] = value
    data = write.pkesk6(modern) + write.packet(18, bytes(body))
    engines: list[EngineName] = ["auto", "native", "gnupg"]
    for engine in engines:
        with pytest.raises(Unsupported, match=named):
            plain_text(data, modern, engine=engine)


def test_session_keys_of_the_other_version_do_not_count(rsa: PrivateKey) -> None:
    """RFC 9580 §10.3.2.1."""
    one, two = write.packet(18, write.seipd_body(LITERAL)), write.packet(18, write.seipd2_body(LITERAL))
    assert verdict(write.pkesk(rsa) + two, rsa) == verdict(write.pkesk6(rsa) + one, rsa) == "pgp.unsupported"
    assert plain_text(write.pkesk(rsa) + write.pkesk6(rsa) + two, rsa) == PLAIN
    assert plain_text(write.pkesk6(rsa) + write.pkesk(rsa) + one, rsa) == PLAIN


def test_floods_of_version_6_recipients_end_at_once(modern: PrivateKey) -> None:
    """FAULTS P15."""
    sealed = write.packet(18, write.seipd2_body(LITERAL))
    named = write.pkesk6(modern, recipient=b"\x06" + bytes(range(32)))
    assert verdict(named * 31 + write.pkesk6(modern) + sealed, modern) == "ok"
    assert verdict(named * 33 + sealed, modern) == "pgp.unsupported"
    assert verdict(write.pkesk6(modern) * 5 + sealed, modern) == "pgp.unsupported"


def test_session_key_packets_of_version_6_that_lie(modern: PrivateKey) -> None:
    """FAULTS P22."""
    sealed = write.packet(18, write.seipd2_body(LITERAL))
    for body in (b"\x06", b"\x06\x21", b"\x06\xff\x06", b"\x06\x05\x04abcd\x19", b"\x06\x00", b"\x06\x00\x19"):
        assert verdict(write.packet(1, body) + sealed, modern) == "pgp.armor_invalid", body
    for fields in (b"x", bytes(33), bytes(32) + b"\x28" + bytes(40), bytes(32) + b"\x05" + bytes(40)):
        assert verdict(write.packet(1, b"\x06\x00\x19" + fields) + sealed, modern) == "pgp.corrupt", fields


def test_gnupg_is_not_asked_for_what_it_cannot_read(modern: PrivateKey, rsa: PrivateKey) -> None:
    assert verdict(write.seipd2_message(rsa, LITERAL), rsa, engine="gnupg") == "pgp.unsupported"
    key = pair(4, X25519)
    key_id, private = next(iter(key.decryption_keys.items()))
    fields = write.montgomery_fields(private, write.SESSION_KEY, cipher=b"\x09")  # type: ignore[arg-type]
    data = write.packet(1, b"\x03" + key_id + b"\x19" + fields) + write.packet(18, write.seipd_body(LITERAL))
    assert verdict(data, key, engine="gnupg") == "pgp.unsupported"
    assert verdict(data, key, engine="auto") == "ok"


def test_memory_stays_bounded(modern: PrivateKey) -> None:
    """FAULTS P33."""
    data = write.seipd2_message(modern, write.compressed(write.literal(bytes(60_000_000))), exponent=16)
    with peak_memory() as peak:
        assert sum(map(len, decrypt(io.BytesIO(data), [modern]))) == 60_000_000
        assert peak() < 20_000_000

"""GnuPG's OCB packet (type 20): crafted here, and read by the real gpg as a cross-check of the crafting."""

from __future__ import annotations

import io
import random

import pytest

from keystore.openpgp import EngineName, decrypt
from keystore.pgp_keys import PrivateKey
from tests.openpgp import packet_writer as write
from tests.openpgp.conftest import PLAIN
from tests.openpgp.reading import plain_text, verdict

LITERAL = write.literal(PLAIN)
OVERHEAD = len(write.literal(b""))


@pytest.mark.parametrize("engine", ["native", "gnupg"])
@pytest.mark.parametrize("exponent", [0, 6, 16])
def test_both_engines_read_it(rsa: PrivateKey, exponent: int, engine: EngineName) -> None:
    message = decrypt(io.BytesIO(write.ocb_message(rsa, LITERAL, exponent=exponent)), [rsa], engine=engine)
    assert b"".join(message) == PLAIN
    assert (message.integrity, message.cipher, message.engine) == ("aead", "AES256", engine)


def test_every_size_around_a_chunk(rsa: PrivateKey) -> None:
    for size in [*range(0, 200), *(1024 + n for n in range(-20, 20)), 1_048_576, 1_100_000]:
        plain = random.Random(size).randbytes(size)
        assert plain_text(write.ocb_message(rsa, write.literal(plain), exponent=1), rsa) == plain
    plain = bytes(9_000_000)
    assert plain_text(write.ocb_message(rsa, write.literal(plain), exponent=16), rsa) == plain


@pytest.mark.parametrize("engine", ["native", "gnupg"])
def test_chunks_dropped_swapped_repeated_or_cut(rsa: PrivateKey, engine: EngineName) -> None:
    """FAULTS P6."""
    body = write.ocb_body(write.literal(PLAIN[: 64 * 8 - OVERHEAD]))
    head, chunks, final = body[:19], [body[at : at + 80] for at in range(19, len(body) - 16, 80)], body[-16:]
    assert len(chunks) == 8
    vectors = {
        "dropped": [*chunks[:3], *chunks[4:], final],
        "swapped": [chunks[1], chunks[0], *chunks[2:], final],
        "repeated": [chunks[0], *chunks, final],
        "last chunk gone": [*chunks[:-1], final],
        "final tag gone": chunks,
        "final tag zero": [*chunks, bytes(16)],
        "only the final tag": [final],
        "nothing": [],
    }
    for name, parts in vectors.items():
        data = write.pkesk(rsa) + write.packet(20, head + b"".join(parts))
        assert verdict(data, rsa, engine=engine) == "pgp.corrupt", name


def test_a_session_key_for_another_cipher(rsa: PrivateKey) -> None:
    data = write.pkesk(rsa) + write.packet(20, write.ocb_body(LITERAL, cipher=8, session_key=bytes(24)))
    assert verdict(data, rsa) == "pgp.corrupt"


def test_other_modes_and_huge_chunks_are_not_for_the_native_engine(rsa: PrivateKey) -> None:
    eax = write.pkesk(rsa) + write.packet(20, write.ocb_body(LITERAL, aead=1))
    huge = write.ocb_message(rsa, LITERAL, exponent=20)
    assert verdict(eax, rsa, engine="native") == verdict(huge, rsa, engine="native") == "pgp.unsupported"
    assert plain_text(huge, rsa, engine="auto") == PLAIN

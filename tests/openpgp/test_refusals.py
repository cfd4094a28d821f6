"""What is refused, and with which public fact; every vector for both engines where gpg is asked at all."""

from __future__ import annotations

import bz2
import io
import zlib

import pytest

from keystore.errors import Corrupt, KeystoreError, WrongKey
from keystore.openpgp import EngineName, Limits, decrypt
from keystore.pgp_keys import PrivateKey
from tests.openpgp import packet_writer as write
from tests.openpgp.conftest import PLAIN
from tests.openpgp.reading import peak_memory, plain_text, verdict
from tests.openpgp.sender import Gpg

engines = pytest.mark.parametrize("engine", ["native", "gnupg"])
LITERAL = write.literal(PLAIN)


@engines
def test_crafted_messages_are_sound(rsa: PrivateKey, engine: EngineName) -> None:
    """The packet writer itself: what it writes when nothing is wrong is read by both engines."""
    for inner in (LITERAL, write.compressed(LITERAL, 1), write.compressed(LITERAL), write.compressed(LITERAL, 0)):
        assert plain_text(write.message(rsa, inner), rsa, engine=engine) == PLAIN


@engines
def test_not_encrypted(gpg: Gpg, rsa: PrivateKey, engine: EngineName) -> None:
    """FAULTS P7: decrypted is not "was encrypted"."""
    vectors = {
        "empty": b"",
        "blank": b"\n\n \n",
        "plain CSV named .asc": PLAIN,
        "plain CSV that begins beyond ASCII": "Écran,Ґ\n".encode() + PLAIN,
        "literal": LITERAL,
        "compressed": write.compressed(LITERAL),
        "signed only": gpg.run("--local-user", "=rsa", "--sign", stdin=PLAIN),
        "signed only, armored": gpg.run("--armor", "--local-user", "=rsa", "--sign", stdin=PLAIN),
        "clear-signed": gpg.run("--local-user", "=rsa", "--clearsign", stdin=PLAIN),
        "detached signature": gpg.run("--armor", "--local-user", "=rsa", "--detach-sign", stdin=PLAIN),
        "public key": gpg.run("--armor", "--export", "=rsa"),
        "binary public key": gpg.run("--export", "=rsa"),
        "private key": gpg.secret_key("rsa"),
        "gzip": b"\x1f\x8b\x08" + bytes(100),
        "empty armor": write.armor(b""),
    }
    found = {name: verdict(data, rsa, engine=engine) for name, data in vectors.items()}
    assert found == dict.fromkeys(vectors, "pgp.not_encrypted")


@engines
def test_without_integrity(rsa: PrivateKey, engine: EngineName) -> None:
    """FAULTS P4: tag 9, and a SEIPD packet relabelled as one."""
    body = write.seipd_body(LITERAL)
    for data in (write.packet(9, body[1:]), write.packet(9, body), write.old_packet(9, body)):
        assert verdict(write.pkesk(rsa) + data, rsa, engine=engine) == "pgp.no_integrity"
        assert verdict(write.armor(write.pkesk(rsa) + data), rsa, engine=engine) == "pgp.no_integrity"


@engines
def test_with_a_password(gpg: Gpg, rsa: PrivateKey, engine: EngineName) -> None:
    """FAULTS P20: also when the password is the key's passphrase, and beside a public key."""
    only = gpg.run("--symmetric", stdin=PLAIN)
    both = gpg.encrypt("rsa", PLAIN, "--symmetric")
    assert verdict(only, rsa, engine=engine) == verdict(both, rsa, engine=engine) == "pgp.password_encrypted"


@engines
def test_wrong_key_names_recipients_and_ours(gpg: Gpg, keys: dict[str, PrivateKey], engine: EngineName) -> None:
    """FAULTS P16."""
    with pytest.raises(WrongKey) as raised:
        plain_text(gpg.encrypt("rsa", PLAIN), keys["cv"], engine=engine)
    recipient = next(iter(keys["rsa"].decryption_keys)).hex().upper()
    for text in (recipient, keys["cv"].fingerprint, "uuid-of-cv"):
        assert text in raised.value.public


@engines
def test_all_that_only_a_decryption_could_tell_has_one_text(rsa: PrivateKey, engine: EngineName) -> None:
    """FAULTS P5, P8, P25, P32: bad session key, MDC, inner packets."""
    body = write.seipd_body(LITERAL)
    seipd = write.packet(18, body)
    vectors = {
        "another session key": write.pkesk(rsa, session_key=bytes(32)) + seipd,
        "a session key that does not open": write.foreign_pkesk(next(iter(rsa.decryption_keys))) + seipd,
        "a hidden session key that does not open": write.foreign_pkesk(bytes(8)) + seipd,
        "no MDC": write.pkesk(rsa) + write.packet(18, write.seipd_body(LITERAL, mdc=False)),
        "MDC not last": write.message(rsa, LITERAL + b"\xd3\x14" + bytes(20) + LITERAL),
        "two literals": write.message(rsa, LITERAL + LITERAL),
        "a literal after a compressed packet": write.message(rsa, write.compressed(LITERAL) + LITERAL),
        "two literals, compressed": write.message(rsa, write.compressed(LITERAL + LITERAL)),
        "nothing inside": write.message(rsa, b""),
        "a marker only": write.message(rsa, write.packet(10, b"PGP")),
        "a literal that is cut": write.message(rsa, LITERAL[:-5]),
        "garbage after the literal": write.message(rsa, LITERAL + b"garbage"),
        "an encrypted packet inside": write.message(rsa, write.message(rsa, LITERAL)),
        "a key inside": write.message(rsa, write.packet(6, b"\x04" + bytes(20)) + LITERAL),
        "compressed data that is damaged": write.message(rsa, write.packet(8, b"\x02" + b"\x78\x9c" + bytes(50))),
        "compressed data that is cut": write.message(rsa, write.compressed(LITERAL)[:-9]),
        "data after the compressed data": write.message(
            rsa, write.packet(8, b"\x02" + zlib.compress(LITERAL) + b"more")
        ),
        "an unknown compression": write.message(rsa, write.packet(8, b"\x6e" + bytes(50))),
        "too short for an MDC": write.pkesk(rsa) + write.packet(18, body[:20]),
    }
    for name, data in vectors.items():
        with pytest.raises(Corrupt) as raised:
            plain_text(data, rsa, engine=engine)
        assert raised.value.public == Corrupt.PUBLIC, name
        assert raised.value.detail, name


def test_marker_padding_and_unknown_non_critical_packets_are_passed_over(rsa: PrivateKey) -> None:
    """FAULTS P25."""
    extra = write.packet(10, b"PGP") + write.packet(21, bytes(30)) + write.packet(60, b"new")
    assert plain_text(write.message(rsa, extra + LITERAL + extra), rsa) == PLAIN
    outer = write.packet(10, b"PGP") + write.packet(21, bytes(30))
    assert plain_text(outer + write.message(rsa, LITERAL) + outer, rsa) == PLAIN
    flood = write.packet(10, b"PGP") * 300
    assert verdict(write.message(rsa, flood + LITERAL), rsa) == "pgp.corrupt"
    assert verdict(flood + write.message(rsa, LITERAL), rsa) == "pgp.unsupported"


@engines
def test_truncated_wherever_it_is_cut(rsa: PrivateKey, engine: EngineName) -> None:
    """FAULTS P3: a public fact, also where the decryption fails as well."""
    binary = write.message(rsa, write.compressed(LITERAL))
    armored = write.armor(binary, crc=b"AAAA")
    cuts = range(1, len(binary), 41) if engine == "native" else [1, 3, 50, len(binary) // 2, len(binary) - 1]
    assert {verdict(binary[:cut], rsa, engine=engine) for cut in cuts} == {"pgp.truncated"}
    cuts = range(1, len(armored) - 1, 41) if engine == "native" else [5, 28, 60, len(armored) // 2, len(armored) - 3]
    assert {verdict(armored[:cut], rsa, engine=engine) for cut in cuts} == {"pgp.truncated"}


@engines
def test_something_beside_the_message(rsa: PrivateKey, engine: EngineName) -> None:
    """FAULTS P8, P9, P10."""
    binary = write.message(rsa, LITERAL)
    armored = write.armor(binary)
    vectors = [
        b"Dear team,\n\n" + armored,
        armored + b"-- \nThe sender\n",
        armored + PLAIN,
        armored + b"\n" * 70_000 + PLAIN,
        armored + armored,
        armored + b"\n\n" + armored,
        binary + binary,
        binary + LITERAL,
        binary + b"\n",
        binary + b"garbage",
        write.armor(binary + binary),
        write.armor(binary + LITERAL),
    ]
    assert [verdict(data, rsa, engine=engine) for data in vectors] == ["pgp.armor_invalid"] * len(vectors)
    assert verdict(LITERAL + binary, rsa, engine=engine) == "pgp.not_encrypted"


def test_recipient_floods_end_at_once(rsa: PrivateKey) -> None:
    """FAULTS P15."""
    seipd = write.packet(18, write.seipd_body(LITERAL))
    foreign = write.foreign_pkesk(b"\x01" * 8)
    assert verdict(foreign * 31 + write.pkesk(rsa) + seipd, rsa) == "ok"
    assert verdict(foreign * 32 + write.pkesk(rsa) + seipd, rsa) == "pgp.unsupported"
    assert verdict(write.foreign_pkesk(bytes(8)) * 5000, rsa) == "pgp.unsupported"
    assert verdict(write.foreign_pkesk(bytes(8), version=6) * 5000, rsa) == "pgp.unsupported"
    hidden = write.pkesk(rsa, hidden=True)
    assert verdict(write.foreign_pkesk(bytes(8)) * 3 + hidden + seipd, rsa) == "ok"
    assert verdict(write.foreign_pkesk(bytes(8)) * 4 + hidden + seipd, rsa) == "pgp.unsupported"


def test_versions_that_no_engine_reads(rsa: PrivateKey) -> None:
    """FAULTS P6, P26: named, and no "wrong key"."""
    seipd = write.packet(18, write.seipd_body(LITERAL))
    for data in (
        write.pkesk(rsa) + write.packet(18, b"\x02" + bytes(100)),
        write.foreign_pkesk(bytes(8), version=6) + seipd,
        write.packet(18, write.seipd_body(LITERAL)),
    ):
        for engine in ("native", "auto"):
            assert verdict(data, rsa, engine=engine) == "pgp.unsupported"


@engines
def test_bombs_end_at_the_cap_with_little_memory(rsa: PrivateKey, engine: EngineName) -> None:
    """FAULTS P13."""
    size = 60_000_000
    head = b"\xcb\xff" + (size + 6).to_bytes(4) + b"b\0\0\0\0\0"
    bombs = [
        write.packet(8, b"\x03" + bz2.compress(head + bytes(size))),
        write.packet(8, b"\x02" + zlib.compress(head + bytes(size), 9)),
    ]
    for bomb in bombs:
        data = write.message(rsa, bomb)
        with peak_memory() as peak:
            for limits in (Limits(max_plain_bytes=5_000_000), Limits(ratio_free_bytes=2_000_000)):
                assert verdict(data, rsa, engine=engine, limits=limits) == "data.too_large"
            assert peak() < 20_000_000
        assert verdict(data, rsa, engine=engine) == "ok"


def test_nested_compression(rsa: PrivateKey) -> None:
    """FAULTS P14."""
    inner = LITERAL
    for _ in range(4):
        inner = write.compressed(inner)
    message = decrypt(io.BytesIO(write.message(rsa, inner)), [rsa])
    assert b"".join(message) == PLAIN
    assert message.compression == "zlib+zlib+zlib+zlib"
    for _ in range(100):
        inner = write.compressed(inner)
    assert verdict(write.message(rsa, inner), rsa) == "pgp.corrupt"


def test_a_layer_that_is_thrown_away_counts_as_well(rsa: PrivateKey) -> None:
    """FAULTS P13: a bomb in a packet that would only be passed over."""
    padding = write.packet(21, bytes(50_000_000)) + LITERAL
    data = write.message(rsa, write.compressed(padding))
    assert verdict(data, rsa, limits=Limits(max_plain_bytes=5_000_000)) == "data.too_large"


def test_the_time_limit_is_the_engines_failure(rsa: PrivateKey) -> None:
    assert verdict(write.message(rsa, LITERAL), rsa, limits=Limits(max_seconds=0.0)) == "pgp.engine_failed"


def test_an_error_never_shows_the_plain_text(rsa: PrivateKey) -> None:
    data = bytearray(write.message(rsa, LITERAL))
    data[-1] ^= 1
    with pytest.raises(KeystoreError) as raised:
        plain_text(bytes(data), rsa)
    assert "Charged" not in raised.value.public + raised.value.detail

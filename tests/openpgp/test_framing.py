"""Armor and packet lengths, as they may come from anybody."""

from __future__ import annotations

import io
import random

import pytest

from keystore.errors import KeystoreError
from keystore.openpgp import decrypt
from keystore.openpgp.armor import BLOCK_BYTES
from keystore.pgp_keys import PrivateKey
from tests.openpgp import packet_writer as write
from tests.openpgp.conftest import PLAIN
from tests.openpgp.reading import peak_memory, plain_text, verdict

LITERAL = write.literal(PLAIN)


@pytest.mark.parametrize("extra", [0, 1, 2])
@pytest.mark.parametrize("crc", [None, b"AAAA", b"xx"], ids=["absent", "wrong", "malformed"])
def test_the_checksum_of_the_armor_decides_nothing(rsa: PrivateKey, crc: bytes | None, extra: int) -> None:
    """FAULTS P11: lengths of every remainder modulo 3."""
    plain = PLAIN + b"x" * extra
    assert plain_text(write.armor(write.message(rsa, write.literal(plain)), crc=crc), rsa) == plain


def test_armor_that_is_accepted(rsa: PrivateKey) -> None:
    """FAULTS P12."""
    binary = write.message(rsa, LITERAL)
    armored = write.armor(binary)
    vectors = [
        write.armor(binary, newline=b"\r\n", crc=b"AAAA"),
        b"\xef\xbb\xbf" + armored,
        b"\n \n" + armored + b"\n\n \r\n",
        armored.rstrip(b"\n"),
        write.armor(binary, headers=b"Version: GnuPG v1\nComment: a: b\nX-Unknown:"),
        armored.replace(b"MESSAGE-----\n", b"MESSAGE-----  \n"),
        armored.replace(b"-----\n\n", b"-----\n \t\n"),
        armored.replace(b"\n", b" \n"),
    ]
    assert [plain_text(data, rsa) for data in vectors] == [PLAIN] * len(vectors)


def test_armor_that_is_refused(rsa: PrivateKey) -> None:
    """FAULTS P12."""
    armored = write.armor(write.message(rsa, LITERAL))
    lines = armored.split(b"\n")
    vectors = {
        "UTF-16": armored.decode().encode("utf-16"),
        "UTF-16 without a mark": armored.decode().encode("utf-16-le"),
        "no blank line": armored.replace(b"-----\n\n", b"-----\n"),
        "a header of a megabyte": armored.replace(b"-----\n\n", b"-----\nComment: " + b"x" * 1_100_000 + b"\n\n"),
        "a NUL": armored.replace(lines[5], lines[5][:-1] + b"\0"),
        "a form feed": armored.replace(lines[5], lines[5] + b"\f"),
        "a dash in a line": armored.replace(lines[5], lines[5][:-1] + b"-"),
        "an equals sign in a line": armored.replace(lines[5], lines[5][:-1] + b"="),
        "a character short": armored.replace(lines[5], lines[5][:-1]),
        "another END line": armored.replace(b"END PGP MESSAGE", b"END PGP PUBLIC KEY BLOCK"),
        "part of several": armored.replace(b"PGP MESSAGE", b"PGP MESSAGE, PART 1/2"),
        "BEGIN is indented": b" " + armored,
    }
    found = {name: verdict(data, rsa) for name, data in vectors.items()}
    assert found.pop("another END line") in ("pgp.truncated", "pgp.armor_invalid")
    assert found == dict.fromkeys(found, "pgp.armor_invalid")


def test_one_line_of_a_megabyte(rsa: PrivateKey) -> None:
    """FAULTS P12: line lengths are no matter."""
    plain = bytes(3_000_000)
    armored = write.armor(write.message(rsa, write.literal(plain)))
    begin, body, end = armored[:29], armored[29:-26], armored[-26:]
    assert plain_text(begin + body.replace(b"\n", b"") + b"\n" + end, rsa) == plain


def test_partial_lengths_in_every_layer(rsa: PrivateKey) -> None:
    """FAULTS P22: small parts after the first, a last part of nothing, borders across blocks."""
    data = bytes(n & 0xFF for n in range(70_000))
    body = b"b\0\0\0\0\0" + data
    for exponents in ([9], [9, 0, 0, 1, 3], [12] * 10, [16], [13, 13, 9, 1, 14]):
        inner = write.partial_packet(11, body, exponents)
        seipd = write.seipd_body(inner)
        outer = write.partial_packet(18, seipd, exponents)
        assert plain_text(write.pkesk(rsa) + outer, rsa) == data
    exact = write.partial_packet(11, b"b\0\0\0\0\0" + bytes(506), [9], last_octets=1)
    assert plain_text(write.message(rsa, exact), rsa) == bytes(506)


def test_a_slow_source_makes_no_difference(rsa: PrivateKey) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 13))

    binary = write.pkesk(rsa) + write.partial_packet(18, write.seipd_body(LITERAL), [9, 9, 10])
    for data in (binary, write.armor(binary, crc=b"AAAA")):
        assert b"".join(decrypt(Slow(data), [rsa])) == PLAIN


def test_indeterminate_length_of_the_encrypted_data(rsa: PrivateKey) -> None:
    """FAULTS P22."""
    body = write.seipd_body(write.old_packet(8, write.compressed(LITERAL)[6:]))
    assert plain_text(write.pkesk(rsa) + write.old_packet(18, body)[:0] + write.packet(18, body), rsa) == PLAIN


def test_lengths_that_lie_cost_no_memory(rsa: PrivateKey) -> None:
    """FAULTS P22: 0xFFFFFFF0, four gigabytes in a session key, a first part of one byte, a gigabyte in one part."""
    pkesk = write.pkesk(rsa)
    body = write.seipd_body(LITERAL)
    liar = write.literal(PLAIN).replace(len(PLAIN + bytes(6)).to_bytes(4), b"\xff\xff\xff\xf0")
    vectors = {
        pkesk + b"\xd2\xff\xff\xff\xff\xf0" + body: "pgp.truncated",
        b"\xc1\xff\xff\xff\xff\xf0" + pkesk[6:]: "pgp.armor_invalid",
        pkesk + b"\xd2\xe0" + body: "pgp.armor_invalid",
        pkesk + b"\xd2\xfe" + body: "pgp.truncated",
        b"\xc1\xe9" + bytes(600): "pgp.not_encrypted",
        write.message(rsa, liar): "pgp.corrupt",
        pkesk + b"\xd2\x00": "pgp.truncated",
    }
    with peak_memory() as peak:
        assert {data: verdict(data, rsa) for data in vectors} == vectors
        assert peak() < 8_000_000


def test_memory_stays_bounded(rsa: PrivateKey) -> None:
    """FAULTS P33: 90 MB of plain text in blocks."""
    data = write.message(rsa, write.compressed(write.literal(bytes(90_000_000))))
    with peak_memory() as peak:
        assert sum(map(len, decrypt(io.BytesIO(data), [rsa]))) == 90_000_000
        assert peak() < 10_000_000


class Dribble(io.BytesIO):
    """A file that gives at most ``most`` bytes a read."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self._most if size is None or size < 0 else min(size, self._most))


@pytest.mark.parametrize("end", [b"QU\0\0\0\0\0\0\0\0-E", b"QUJD\n-----EN", b"QUJ*\n-----END PGP MESSAGE-----\n"])
def test_verdict_on_armor_does_not_depend_on_where_reads_end(rsa: PrivateKey, end: bytes) -> None:
    """FAULTS P3, P12: damaged, cut, and both at once; found by fuzzing."""
    message = write.armor(write.message(rsa, write.literal(random.Random(1).randbytes(BLOCK_BYTES))))
    start = message[: message.rindex(b"\n", 0, BLOCK_BYTES) + 1]
    data = start + b"A" * ((BLOCK_BYTES - len(start)) & ~3) + end
    verdicts = set()
    for most in (1 << 24, 4096, 3, 2, 1):
        with pytest.raises(KeystoreError) as caught:
            list(decrypt(Dribble(data, most), [rsa], engine="native"))
        verdicts.add(caught.value.code)
    assert len(verdicts) == 1

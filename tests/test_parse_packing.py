"""What stands around the records: gzip inside the encryption, and encodings other than UTF-8."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.steps.gunzip import gunzipped
from ingest.steps.transcode import transcoded
from manifests.encodings import ENCODINGS
from manifests.errors import DataEncoding, DataMalformed, LimitExceeded

PLAIN = b"identity,score\nu1,1\n" * 500
PACKED = gzip.compress(PLAIN, mtime=0)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    yield from (data[start : start + size] for start in range(0, len(data), size))


def unpacked(data: bytes, size: int = 1000, *, max_bytes: int = 10**9, max_ratio: int = 200) -> bytes:
    return b"".join(gunzipped(pieces(data, size), max_bytes=max_bytes, max_ratio=max_ratio, ratio_free_bytes=10_000))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_members_of_a_gzip_are_read_one_after_another_whatever_the_chunks(members: list[bytes], size: int) -> None:
    assert unpacked(b"".join(gzip.compress(member) for member in members), size) == b"".join(members)


@pytest.mark.parametrize("data", [b"", b"\x1f", b"identity\nu1\n", b"\x1e\x8b\x08"])
@pytest.mark.parametrize("size", [1, 100])
def test_what_does_not_begin_as_gzip_passes_through(data: bytes, size: int) -> None:
    assert unpacked(data, size) == data


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("cut", [2, 9, 10, 20, len(PACKED) - 9, len(PACKED) - 8, len(PACKED) - 1])
def test_truncated_gzip_is_named(cut: int, size: int) -> None:
    with pytest.raises(DataMalformed, match="cut short"):
        unpacked(PACKED[:cut], size)
    with pytest.raises(DataMalformed, match="cut short"):
        unpacked(PACKED + PACKED[:cut], size)


@pytest.mark.parametrize("at", [3, 15, len(PACKED) - 6, len(PACKED) - 2])
def test_damaged_gzip_is_named(at: int) -> None:
    """Header, deflate, CRC and length."""
    damaged = bytearray(PACKED)
    damaged[at] ^= 0xFF
    with pytest.raises(DataMalformed, match=r"gzip (is damaged|ends)"):
        unpacked(bytes(damaged))


def test_something_else_behind_the_gzip_is_named() -> None:
    with pytest.raises(DataMalformed, match="something follows it"):
        unpacked(PACKED + b"identity,score\nu2,2\n")


def test_gzip_is_bounded_while_it_is_unpacked() -> None:
    """FAULTS P13 inside the encryption: a bomb by size and by ratio, of one member and of many."""
    bomb = gzip.compress(bytes(30_000_000))
    produced: list[int] = []
    unpacking = gunzipped(pieces(bomb, 1000), max_bytes=10**9, max_ratio=200, ratio_free_bytes=10_000)
    with pytest.raises(LimitExceeded, match="200 times"):
        produced.extend(map(len, unpacking))
    assert sum(produced) < 3_000_000
    with pytest.raises(LimitExceeded, match="larger than 1,000,000 bytes"):
        unpacked(gzip.compress(random.Random(1).randbytes(1_000_001)), max_bytes=1_000_000)
    with pytest.raises(LimitExceeded, match="larger than 1,000,000 bytes"):
        unpacked(PACKED * 101, max_bytes=1_000_000)


TEXTS = {
    "utf_16_le": "identity,näme\nü,😀\n",
    "utf_16_be": "identity,näme\nü,😀\n",
    "utf_16": "identity,näme\nü,😀\n",
    "utf_32": "identity,näme\nü,😀\n",
    "latin_1": "identity,näme\nü,þ\n",
    "iso8859_15": "identity,preis\nü,5 €\n",
    "cp1252": "identity,preis\nü,„5 €“\n",
    "cp1251": "identity,имя\nu,Жук\n",
    "koi8_r": "identity,имя\nu,Жук\n",
    "shift_jis": "identity,名前\nu,ソース表\n",
    "euc_jp": "identity,名前\nu,ソース表\n",
    "gb18030": "identity,名字\nu,汉字😀\n",
    "big5": "identity,名字\nu,漢字功\n",
    "euc_kr": "identity,이름\nu,한글\n",
}


@pytest.mark.parametrize("encoding", TEXTS)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_text_is_the_same_in_every_encoding_whatever_the_chunks(encoding: str, size: int) -> None:
    text = TEXTS[encoding] * 3
    read = b"".join(transcoded(pieces(text.encode(encoding), size), encoding))
    assert read.decode().removeprefix("\ufeff") == text


@given(st.sampled_from(ENCODINGS[1:]), st.binary(max_size=60), st.integers(1, 20))
@settings(max_examples=300, deadline=None)
def test_bytes_are_what_the_codec_says_or_an_error_with_the_place(encoding: str, data: bytes, size: int) -> None:
    """FAULTS D3: strict; the offset is that of the whole file, wherever it was cut."""
    if encoding in ("utf_16", "utf_32"):  # Python guesses the order of a text without BOM; we do not
        data = "\ufeff".encode(encoding) + data
    try:
        expected = data.decode(encoding)
    except UnicodeDecodeError as error:
        with pytest.raises(DataEncoding, match=rf"\(byte {error.start}\)"):
            list(transcoded(pieces(data, size), encoding))
    else:
        assert b"".join(transcoded(pieces(data, size), encoding)).decode() == expected


def test_a_bad_byte_is_named_by_its_place_and_not_by_what_stands_there() -> None:
    """FAULTS D3: the error names the byte offset, not the content."""
    data = b"identity,name\n" * 1000 + b"secret\x81\n"
    with pytest.raises(DataEncoding, match=r"CP1252.*\(byte 14006\)") as caught:
        list(transcoded(pieces(data, 999), "cp1252"))
    assert "secret" not in caught.value.public
    assert "x81" not in caught.value.public


def test_bom_of_utf_16_wins_and_is_asked_for() -> None:
    """FAULTS D3: BOM."""
    text = "identity\nu\n"
    for order in ("utf_16_le", "utf_16_be"):
        assert b"".join(transcoded([("\ufeff" + text).encode(order)], "utf_16")).decode() == text
        with pytest.raises(DataEncoding, match="byte order mark"):
            list(transcoded([text.encode(order)], "utf_16"))

"""The digest over a document, against a plain reading of RFC 9580 §5.2.1."""

from __future__ import annotations

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from keystore.openpgp.document_hash import DocumentHash
from keystore.openpgp.packets import Block

_BLOCKS = st.lists(st.text("\r\na", max_size=6).map(str.encode) | st.binary(max_size=40), max_size=12)


def as_text(data: bytes) -> bytes:
    """Octet by octet: each LF that no CR stands before gets one."""
    out = bytearray()
    for at, octet in enumerate(data):
        if octet == ord("\n") and data[at - 1 : at] != b"\r":
            out += b"\r"
        out.append(octet)
    return bytes(out)


def digest(blocks: list[Block], *, is_text: bool) -> bytes:
    hashing = DocumentHash(hashlib.sha256(), is_text=is_text)
    for block in blocks:
        hashing.update(block)
    whole = hashing.finished().digest()
    assert hashing.finished().digest() == whole, "asking again changes nothing"
    return whole


@settings(deadline=None)
@given(_BLOCKS)
def test_line_ends_count_as_crlf_wherever_the_blocks_end(blocks: list[bytes]) -> None:
    """FAULTS P21."""
    expected = hashlib.sha256(as_text(b"".join(blocks))).digest()
    assert digest(list(blocks), is_text=True) == expected
    assert digest([memoryview(block) for block in blocks], is_text=True) == expected
    assert digest([b"".join(blocks)], is_text=True) == expected


@settings(deadline=None)
@given(_BLOCKS)
def test_a_binary_document_is_hashed_as_it_is(blocks: list[bytes]) -> None:
    """FAULTS P21."""
    assert digest(list(blocks), is_text=False) == hashlib.sha256(b"".join(blocks)).digest()


def test_the_same_text_with_either_line_end_has_one_digest() -> None:
    """RFC 9580 §5.2.1.2; a CR alone is no line end, as for GnuPG."""
    unix, dos = b"a\n\nb\nc", b"a\r\n\r\nb\r\nc"
    assert digest([unix], is_text=True) == digest([dos], is_text=True) == hashlib.sha256(dos).digest()
    assert digest([unix], is_text=False) != digest([dos], is_text=False)
    assert digest([b"a\rb\r"], is_text=True) == hashlib.sha256(b"a\rb\r").digest()
    assert digest([b"a\r\r\nb"], is_text=True) == hashlib.sha256(b"a\r\r\nb").digest()

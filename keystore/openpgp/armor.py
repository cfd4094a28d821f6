"""Armor: the text form of a message, taken off strictly and as a stream.

Content decides, not the file's name: a first octet with its highest bit set is binary (RFC 9580 §4.2), anything else
is text. Accepted: a UTF-8 byte order mark, CRLF or LF, blank lines before and after, any ``Key: value`` header lines,
no CRC24 or any. Refused: everything else, in particular text before or after the one block, and a second block
(FAULTS.md P9, P10, P12).

The CRC24 is not computed: RFC 9580 §6.1 forbids rejecting a message because its CRC24 is absent or wrong, and the
integrity check of the encryption is the stronger one (FAULTS.md P11).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import BinaryIO

import pybase64

from keystore.errors import ArmorInvalid, NotEncrypted, Truncated

BLOCK_BYTES = 1 << 18  # what a core's cache holds: a fifth faster than 1 MiB

_BEGIN = b"-----BEGIN PGP MESSAGE-----"
_END = b"-----END PGP MESSAGE-----"
_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_HEADERS_CAP = 1 << 16
_TAIL_CAP = 1 << 12

_BEGIN_LINE = re.compile(rb"(?:[ \t]*\r?\n)*-----BEGIN ([^\r\n]{1,64}?)-----[ \t]*\r?\n")
_ANY_BEGIN = re.compile(rb"-----BEGIN PGP ")
_HEADER_LINE = re.compile(rb"([ \t]*|[A-Za-z][A-Za-z0-9-]{0,63}:[^\r\n\x00\x0c]*)\r?\n")
_LINE_END = re.compile(rb"[ \t]*\r?\n[ \t\r\n]*")
# RFC 9580 §6.1: neither a wrong nor a malformed CRC24 is a reason to reject
_CRC_LINE = re.compile(rb"=[A-Za-z0-9+/=]{0,8}[ \t]*\r?\n[ \t\r\n]*")

_CUT = "The armored file ends before its -----END PGP MESSAGE----- line: the upload was cut short. Send it again."


def packet_bytes(source: BinaryIO) -> Iterator[bytes]:
    """The bytes of the packets in ``source``, armored or not, in blocks of about a megabyte.

    Ends normally only when the armor was complete and nothing followed it. Raises `NotEncrypted` when the text is no
    armored message, `ArmorInvalid` when the armor breaks a rule, `Truncated` when it ends too early.
    """
    head = _read_fully(source, BLOCK_BYTES)
    if not head:
        raise NotEncrypted("The file is empty. Encrypt the data with OpenPGP and send it again.")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head.startswith((b"-\0-\0", b"\0-\0-")):
        raise ArmorInvalid("The armored file is UTF-16 text. Save it as ASCII or UTF-8 and send it again.")
    if head[0] & 0x80 and not head.startswith(_BOM):
        yield head
        while block := source.read(BLOCK_BYTES):
            yield block
        return
    text = head.removeprefix(_BOM)
    yield from _body(source, text, _start_of_body(text))


def _read_fully(source: BinaryIO, count: int) -> bytes:
    data = source.read(count)
    while data and len(data) < count and (more := source.read(count - len(data))):
        data += more
    return data


def _start_of_body(text: bytes) -> int:
    """Where the Base64 lines begin: after the header line, the headers and the blank line (RFC 9580 §6.2)."""
    begin = _BEGIN_LINE.match(text)
    if begin is None:
        raise _no_begin(text)
    if begin[1] != b"PGP MESSAGE":
        raise _other_block(begin[1])
    at = begin.end()
    while line := _HEADER_LINE.match(text, at, begin.end() + _HEADERS_CAP):
        at = line.end()
        if not line[1].strip(_BLANK):
            return at
    rest = text[at : begin.end() + _HEADERS_CAP]
    if len(text) < begin.end() + _HEADERS_CAP and b"\n" not in rest:
        raise Truncated(_CUT)
    raise ArmorInvalid(
        "The armor has a header that is not of the form 'Name: value', or no blank line after its headers."
    )


def _no_begin(text: bytes) -> Exception:
    if text.strip(_BLANK) and _BEGIN.startswith(text.strip(_BLANK)):
        return Truncated(_CUT)
    if _ANY_BEGIN.search(text):
        return ArmorInvalid(
            "Text stands before the -----BEGIN PGP MESSAGE----- line. The file may hold the encrypted message only."
        )
    return NotEncrypted("The file is not encrypted: it holds no OpenPGP message.")


def _other_block(label: bytes) -> Exception:
    if label == b"PGP SIGNED MESSAGE":
        return NotEncrypted("The file is signed as clear text, but not encrypted.")
    if label == b"PGP SIGNATURE":
        return NotEncrypted("The file is a signature, not an encrypted message.")
    if label == b"PGP PRIVATE KEY BLOCK":
        return NotEncrypted("The file is a private key, not an encrypted message. Treat that key as exposed.")
    if label.endswith(b"KEY BLOCK"):
        return NotEncrypted("The file is an OpenPGP key, not an encrypted message.")
    if label.startswith(b"PGP MESSAGE"):
        return ArmorInvalid("The message is split into parts. Send it as one file.")
    return NotEncrypted("The file is not encrypted: its armor is not that of an OpenPGP message.")


def _body(source: BinaryIO, text: bytes, start: int) -> Iterator[bytes]:
    """Decode up to the first ``=`` or ``-``, which Base64 data does not contain, then check the end."""
    block = text[start:]
    carry, line_start = b"", True
    while True:
        stop = min((at for at in (block.find(b"="), block.find(b"-")) if at >= 0), default=-1)
        clean = carry + _without_blanks(block if stop < 0 else block[:stop])
        if stop >= 0:
            line_start = block[:stop].endswith(b"\n") if stop else line_start
            yield from _end(source, clean, block[stop:], at_line_start=line_start)
            return
        whole = len(clean) & ~3
        yield _decode(memoryview(clean)[:whole])
        carry = clean[whole:]
        line_start = block.endswith(b"\n") if block else line_start
        block = source.read(BLOCK_BYTES)
        if not block:
            raise Truncated(_CUT)


def _without_blanks(text: bytes) -> bytes:
    """``text`` without `_BLANK`; looking for one octet and cutting it out is faster than a look at each octet."""
    clean = text.replace(b"\n", b"")
    for blank in (b"\r", b" ", b"\t"):
        if blank in clean:
            clean = clean.replace(blank, b"")
    return clean


def _end(source: BinaryIO, clean: bytes, tail: bytes, *, at_line_start: bool) -> Iterator[bytes]:
    """Padding, CRC24 line, END line; then nothing but blanks up to the end of the file."""
    if len(tail) < _TAIL_CAP:
        tail += _read_fully(source, _TAIL_CAP)
    whole = len(clean) & ~3
    # first what stands first, so that the verdict does not depend on where the reads ended
    yield _decode(memoryview(clean)[:whole])
    padding = -len(clean) % 4
    at = _end_line(tail, padding, at_line_start=at_line_start)
    yield _decode(clean[whole:] + b"=" * padding)
    rest = tail[at + len(_END) :]
    while rest:
        if rest.strip(_BLANK):
            raise ArmorInvalid(
                "Two armored blocks stand in one file. Send each message as a file of its own."
                if _ANY_BEGIN.search(rest)
                else "Text stands after the -----END PGP MESSAGE----- line. "
                "The file may hold the encrypted message only."
            )
        rest = source.read(BLOCK_BYTES)


def _end_line(tail: bytes, padding: int, *, at_line_start: bool) -> int:
    """Where the END line stands in ``tail``, which begins at the first ``=`` or ``-``."""
    at: int | None = None
    if padding == 0 and at_line_start:
        at = 0
    elif 0 < padding < 3 and tail.startswith(b"=" * padding) and (blank := _LINE_END.match(tail, padding)):
        at = blank.end()
    if at is not None and (crc := _CRC_LINE.match(tail, at)):
        at = crc.end()
    if at is not None and tail.startswith(_END, at):
        return at
    if len(tail) < _TAIL_CAP and _END not in tail and not _ANY_BEGIN.search(tail):
        raise Truncated(_CUT)
    raise ArmorInvalid("The end of the armor is damaged, or a character in it is not Base64.")


def _decode(data: bytes | memoryview) -> bytes:
    try:
        return pybase64.b64decode(data, validate=True)
    except binascii.Error:
        raise ArmorInvalid("The armor is damaged: a character in it is not Base64. Send the file again.") from None

"""Inside the encryption: from decrypted packets to the plain text of the one literal packet (ciphers: `mdc`, `aead`).

Generators over generators, all in C libraries below the block: inflate lets go of the GIL. What they yield is
provisional until they end normally. `FramingError` means that the decrypted data is not what it must be; the caller
makes `Corrupt` of it.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from isal import igzip_lib

from keystore.openpgp import packets
from keystore.openpgp.facts import Facts
from keystore.openpgp.limits import Limits, Meter
from keystore.openpgp.packets import Block, Feed, FramingError, Header
from keystore.openpgp.signed import LONGEST_PACKET, Signatures

_INFLATED_BYTES = 1 << 18
_PASSED_OVER_CAP = 256
_COMPRESSION_NAMES = {0: "none", 1: "zip", 2: "zlib", 3: "bzip2"}
_LITERAL_MODES = frozenset(b"btu")
_PASSED_OVER = frozenset({packets.SIGNATURE, packets.ONE_PASS, packets.MARKER, packets.PADDING})


@dataclass(frozen=True, slots=True)
class Inside:
    """What the reading of one message fills in, and what bounds it."""

    facts: Facts
    signatures: Signatures
    limits: Limits
    meter: Meter


def literal_data(data: Feed, inside: Inside) -> Iterator[Block]:
    """The contents of the one literal packet in decrypted ``data``, to the end of ``data``.

    Signatures are collected, not judged (RFC 9580 §10.3); marker, padding and unknown non-critical packets are passed
    over (RFC 9580 §4.3). Raises `FramingError` for anything else: no literal, two of them, too deep compression, data
    that does not inflate.
    """
    inside.facts.compression = "none"
    for block in _one_message(data, inside, depth=0):
        inside.signatures.update(block)
        yield block


def _one_message(data: Feed, inside: Inside, *, depth: int) -> Iterator[Block]:
    found = False
    passed_over = 0
    while not data.at_end():
        header = packets.read_header(data)
        blocks = packets.body(data, header)
        if header.tag in _PASSED_OVER or header.tag >= packets.NON_CRITICAL:
            passed_over += 1
            if passed_over > _PASSED_OVER_CAP:
                raise FramingError("too many packets around the literal")
            _pass_over(header, blocks, inside)
        elif header.tag == packets.LITERAL and not found:
            found = True
            inside.signatures.begin()
            yield from _literal(Feed(blocks))
        elif header.tag == packets.COMPRESSED and not found:
            found = True
            if depth >= inside.limits.max_nesting:
                raise FramingError(f"compressed more than {inside.limits.max_nesting} times")
            yield from _compressed(Feed(blocks), inside, depth=depth)
        else:
            raise FramingError(f"packet type {header.tag} is not allowed here")
    if not found:
        raise FramingError("no literal packet inside")


def _pass_over(header: Header, blocks: Iterator[Block], inside: Inside) -> None:
    """A packet that yields no plain text; signatures and what announces them are kept, unless they are too long."""
    is_kept = header.tag in (packets.SIGNATURE, packets.ONE_PASS) and (header.length or 0) <= LONGEST_PACKET
    pieces = []
    for block in blocks:
        inside.meter.check_time()
        if is_kept:
            pieces.append(block)
    body = b"".join(pieces) if is_kept else None
    if header.tag == packets.SIGNATURE:
        inside.signatures.add(body)
    elif header.tag == packets.ONE_PASS:
        inside.signatures.announce(body)


def _literal(data: Feed) -> Iterator[Block]:
    """RFC 9580 §5.9: mode, file name, date; the name is never used, the bytes are never converted (FAULTS.md P24)."""
    if data.octet() not in _LITERAL_MODES:
        raise FramingError("unknown literal mode")
    data.take(data.octet())
    data.take(4)
    yield from data.rest()


def _compressed(data: Feed, inside: Inside, *, depth: int) -> Iterator[Block]:
    """RFC 9580 §5.6: an algorithm ID, then compressed packets."""
    algorithm = data.octet()
    if algorithm not in _COMPRESSION_NAMES:
        raise FramingError(f"unknown compression algorithm {algorithm}")
    name = _COMPRESSION_NAMES[algorithm]
    inside.facts.compression = name if depth == 0 else f"{inside.facts.compression}+{name}"
    inner = data.rest() if algorithm == 0 else _inflated(data, _decompressor(algorithm), inside.meter)
    yield from _one_message(Feed(inner), inside, depth=depth + 1)


class _Decompressor(Protocol):
    """What `bz2.BZ2Decompressor` and isal's decompressor have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: Block, max_length: int) -> bytes: ...


def _decompressor(algorithm: int) -> _Decompressor:
    if algorithm == 3:
        bzip2: _Decompressor = bz2.BZ2Decompressor()
        return bzip2
    flag = igzip_lib.DECOMP_DEFLATE if algorithm == 1 else igzip_lib.DECOMP_ZLIB
    inflate: _Decompressor = igzip_lib.IgzipDecompressor(flag)
    return inflate


def _inflated(data: Feed, decompressor: _Decompressor, meter: Meter) -> Iterator[bytes]:
    """Decompressed blocks of bounded size; ends normally only at the end of both the stream and ``data``."""
    total = 0
    for compressed in data.rest():
        if decompressor.eof:
            raise FramingError("data after the end of the compressed data")
        block: Block = compressed
        while True:
            plain = _decompress(decompressor, block)
            total += len(plain)
            meter.made(total)
            if plain:
                yield plain
            if decompressor.needs_input or decompressor.eof:
                break
            if not plain and not block:
                raise FramingError("the compressed data makes no progress")
            block = b""
    if not decompressor.eof or decompressor.unused_data:
        raise FramingError("the compressed data is cut, or data follows it")


def _decompress(decompressor: _Decompressor, block: Block) -> bytes:
    try:
        return decompressor.decompress(block, _INFLATED_BYTES)
    except Exception as error:  # each library raises its own: IsalError, OSError, EOFError
        raise FramingError("the compressed data is damaged") from error

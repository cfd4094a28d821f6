"""gzip inside the encryption (RFC 1952): taken off where a file begins with its magic bytes, whatever its name says.

Members may follow each other; nothing else may follow the last. CRC and length of each are verified by isal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from isal import igzip_lib

from ingest.steps.slices import sliced
from manifests.errors import DataMalformed, LimitExceeded

_MAGIC = b"\x1f\x8b"
_INFLATED_BYTES = 1 << 20
_FED_BYTES = 1 << 14  # what follows a member is copied: a file of very small ones would cost its square


def gunzipped(
    chunks: Iterable[bytes], *, max_bytes: int, max_ratio: int, ratio_free_bytes: int = 100_000_000
) -> Iterator[bytes]:
    """The bytes without gzip, streaming; as they are when they do not begin with its magic bytes.

    The caps are those of a message's own compression (FAULTS.md P13): ``max_ratio`` is bytes out for each byte in, and
    counts beyond ``ratio_free_bytes``. Raises `LimitExceeded` beyond them, `DataMalformed` when the gzip is cut,
    damaged or followed by something else.
    """
    source = iter(chunks)
    first = b""
    while len(first) < len(_MAGIC) and (chunk := next(source, None)) is not None:
        first += chunk
    rest = chain((first,), source) if first else source
    if not first.startswith(_MAGIC):
        yield from rest
        return
    read = made = 0
    for piece, plain in _inflated(rest):
        read += piece
        made += len(plain)
        if made > max_bytes:
            raise LimitExceeded(
                f"Unpacked, the gzip is larger than {max_bytes:,} bytes, the most that one file may hold. Split the "
                "data into several files."
            )
        if made > ratio_free_bytes and made > max_ratio * read:
            raise LimitExceeded(
                f"The gzip unpacks to more than {max_ratio} times its size. Send the data uncompressed, or split it "
                "into several files."
            )
        yield plain


def _inflated(chunks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Pieces of bounded size, each with the bytes that were read for it."""
    member = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
    position = 0
    for chunk in sliced(chunks, _FED_BYTES):
        read, feed = len(chunk), chunk
        while feed or not (member.needs_input or member.eof):
            if member.eof:
                member = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
            try:
                plain = member.decompress(feed, _INFLATED_BYTES)
            except Exception as error:  # isal's own error, which has no public class
                raise DataMalformed(
                    f"The gzip is damaged, or something follows it, between byte {position} and byte "
                    f"{position + len(chunk)}."
                ) from error
            yield read, plain
            read, feed = 0, member.unused_data if member.eof else b""
        position += len(chunk)
    if not member.eof:
        raise DataMalformed(f"The gzip ends in the middle, after {position:,} bytes: it was cut short.")

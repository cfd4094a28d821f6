"""From the encoding that a manifest declares to UTF-8, in front of the readers; UTF-8 itself passes through."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from manifests.encodings import UTF_8
from manifests.errors import DataEncoding


def transcoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The text as UTF-8, chunk by chunk; ``encoding`` is one of `manifests.encodings.ENCODINGS`.

    A BOM stays in front: the readers know it. Bytes that are no UTF-8 are not looked at here: the readers say in which
    row they stand. Raises `DataEncoding` for the first byte that does not fit another encoding, with its offset.
    """
    if encoding == UTF_8:
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    position = 0
    for chunk in chunks:
        yield _decoded(decoder, chunk, position, encoding).encode()
        position += len(chunk)
    yield _decoded(decoder, b"", position, encoding, final=True).encode()


def _decoded(
    decoder: codecs.IncrementalDecoder, chunk: bytes, position: int, encoding: str, *, final: bool = False
) -> str:
    name = encoding.replace("_", "-").upper()
    try:
        return decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        kept = len(error.object) - len(chunk)  # bytes of a character that began in an earlier chunk
        offset = position - kept + error.start
        raise DataEncoding(f"The file is not {name}, the encoding that the manifest names (byte {offset}).") from None
    except UnicodeError:  # UTF-16 and UTF-32 say so without a place
        order = f"{name}LE or {name}BE"
        raise DataEncoding(
            f"The file does not begin with a byte order mark (byte 0), as {name} must: name {order} in `encoding`."
        ) from None

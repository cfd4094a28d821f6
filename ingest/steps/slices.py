"""Large chunks in slices, so that a large one does not become one large block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def sliced(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """The chunks, none longer than ``most`` bytes."""
    for chunk in chunks:
        if len(chunk) <= most:
            yield chunk
        else:
            for start in range(0, len(chunk), most):
                yield chunk[start : start + most]

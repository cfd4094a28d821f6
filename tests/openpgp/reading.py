"""Reading a message as the service does: all of it, or one error."""

from __future__ import annotations

import contextlib
import io
import tracemalloc
from collections.abc import Callable, Iterator

from keystore.errors import KeystoreError
from keystore.openpgp import EngineName, Limits, decrypt
from keystore.pgp_keys import PrivateKey

DEFAULT = Limits()


def plain_text(data: bytes, *keys: PrivateKey, engine: EngineName = "native", limits: Limits = DEFAULT) -> bytes:
    return b"".join(decrypt(io.BytesIO(data), keys, limits=limits, engine=engine))


def verdict(data: bytes, *keys: PrivateKey, engine: EngineName = "native", limits: Limits = DEFAULT) -> str:
    """``ok``, or the error's code."""
    try:
        plain_text(data, *keys, engine=engine, limits=limits)
    except KeystoreError as error:
        return error.code
    return "ok"


@contextlib.contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Traced bytes at their highest since the start."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

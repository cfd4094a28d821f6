"""Reading a message as the service does: all of it, or one error."""

from __future__ import annotations

import contextlib
import io
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from keystore.errors import KeystoreError
from keystore.openpgp import EngineName, Limits, decrypt
from keystore.pgp_keys import PrivateKey
from keystore.pgp_signer import Signer

DEFAULT = Limits()


def plain_text(
    data: bytes,
    *keys: PrivateKey,
    engine: EngineName = "native",
    limits: Limits = DEFAULT,
    signers: Sequence[Signer] = (),
) -> bytes:
    return b"".join(decrypt(io.BytesIO(data), keys, limits=limits, engine=engine, signers=signers))


def verdict(
    data: bytes,
    *keys: PrivateKey,
    engine: EngineName = "native",
    limits: Limits = DEFAULT,
    signers: Sequence[Signer] = (),
) -> str:
    """``ok``, or the error's code."""
    try:
        plain_text(data, *keys, engine=engine, limits=limits, signers=signers)
    except KeystoreError as error:
        return error.code
    return "ok"


class Judged(NamedTuple):
    """``ok`` or the error's code, and what is told of the signature."""

    code: str
    signature: str
    signer: str = ""


def judged(
    data: bytes,
    key: PrivateKey,
    signers: Sequence[Signer],
    *,
    engine: EngineName = "native",
    now: datetime | None = None,
) -> Judged:
    message = decrypt(io.BytesIO(data), [key], engine=engine, signers=signers, now=now)
    code = "ok"
    try:
        for _ in message:
            assert (message.signature, message.signer) == ("", ""), "nothing is told before the end"
    except KeystoreError as error:
        code = error.code
    return Judged(code, message.signature, message.signer)


@contextlib.contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Traced bytes at their highest since the start."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

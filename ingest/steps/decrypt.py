"""Decrypt: from the taken file to plain text, in a thread of its own beside the steps that follow.

The thread runs ahead by a few chunks and no further. What comes out is provisional until the iterator has ended
without an error: only then were integrity, size and SHA-256 proven.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from failpoints import passing
from ingest.errors import ChecksumMismatch, FileMissing, SizeMismatch
from ingest.steps.ahead import ahead
from ingest.steps.stopwatch import Stopwatch
from keystore.errors import KeystoreError, NotEncrypted
from keystore.openpgp import EngineName, Facts, Limits, decrypt
from keystore.pgp_pair import Pair
from keystore.pgp_signer import Signer
from manifests.model import Manifest

_CHUNK = 1 << 20
_CHUNKS_AHEAD = 8


class CipherText(io.RawIOBase):
    """The taken file, hashed while it is read; going back to its start begins the hash anew."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._hash = hashlib.sha256()
        self._at = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can go back to its start, and nowhere else."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io asks for any buffer, and passes this one
        """Read and hash up to the size of ``buffer``."""
        count = self._file.readinto(buffer) or 0
        self._hash.update(buffer[:count])
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go back to the start. Raises ``io.UnsupportedOperation`` for any other place."""
        if offset != 0 or whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only back to the start")
        self._file.seek(0)
        self._hash, self._at = hashlib.sha256(), 0
        return 0

    def tell(self) -> int:
        """How many bytes were read since the start."""
        return self._at

    def finish(self) -> tuple[int, str]:
        """Read what is left, and return size and SHA-256 (hexadecimal) of the whole file."""
        buffer = bytearray(_CHUNK)
        while self.readinto(memoryview(buffer)):
            pass
        return self._at, self._hash.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


@dataclass(frozen=True, slots=True)
class Opening:
    """What a file may be opened with, and what is asked of it."""

    pairs: Sequence[Pair]
    signers: Sequence[Signer]
    limits: Limits
    engine: EngineName
    require_encryption: bool
    now: datetime  # signatures are judged at this time


class PlainText:
    """The plain text of one taken file, chunk by chunk; facts about it are complete when the iteration has ended.

    ``facts`` are the message's, empty for a file that was not encrypted. Raises what `keystore.openpgp.decrypt` raises,
    `FileMissing`, `SizeMismatch` and `ChecksumMismatch`.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        opening: Opening,
        *,
        stopwatch: Stopwatch,
    ) -> None:
        self._path = path
        self._manifest = manifest
        self._opening = opening
        self._stopwatch = stopwatch
        self.facts = Facts()
        self.bytes_encrypted = 0
        self.bytes_plain = 0
        self.sha256: str | None = None

    def chunks(self) -> Generator[bytes, None, None]:
        """The plain text; iterate once, and close it when it is not read to its end."""
        return ahead(self._checked(), most=_CHUNKS_AHEAD, name="decrypt")

    def _checked(self) -> Generator[bytes, None, None]:
        self._check_size()
        with CipherText(self._path) as source:
            try:
                for chunk in self._stopwatch.timed("decrypt", self._decrypted(source)):
                    self.bytes_plain += len(chunk)
                    passing("decrypt.chunk")
                    yield chunk
            except KeystoreError:
                self.bytes_encrypted, self.sha256 = source.finish()  # the report names the file that was refused
                raise
            self.bytes_encrypted, self.sha256 = source.finish()
        self._check_hash()
        passing("decrypt.proven")

    def _decrypted(self, source: CipherText) -> Iterator[bytes]:
        buffered = io.BufferedReader(source, _CHUNK)
        opening = self._opening
        message = self.facts = decrypt(
            buffered,
            opening.pairs,
            limits=opening.limits,
            engine=opening.engine,
            signers=opening.signers,
            now=opening.now,
        )
        try:
            yield from message
        except NotEncrypted:
            if opening.require_encryption or self._manifest.key_id is not None:
                raise
            buffered.seek(0)
            yield from iter(lambda: buffered.read(_CHUNK), b"")
        finally:
            message.close()
            buffered.detach()  # or it would close the source, whose hash is still wanted

    def _check_size(self) -> None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            raise FileMissing("The data file that the manifest names is not there any more.") from None
        if self._manifest.size is not None and self._manifest.size != size:
            raise SizeMismatch(
                f"The encrypted file has {size:,} bytes, but the manifest says {self._manifest.size:,} in `size`."
            )

    def _check_hash(self) -> None:
        if self._manifest.sha256 is not None and self._manifest.sha256.lower() != self.sha256:
            raise ChecksumMismatch("The encrypted file has another SHA-256 than the manifest says in `sha256`.")

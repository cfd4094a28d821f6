"""Decrypt: from the taken file to plain text, in a thread of its own beside the steps that follow.

The thread runs ahead by a few chunks and no further. What comes out is provisional until the iterator has ended
without an error: only then were integrity, size and SHA-256 proven.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import queue
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

from ingest.errors import ChecksumMismatch, FileMissing, SizeMismatch
from ingest.steps.stopwatch import Stopwatch
from keystore.errors import NotEncrypted
from keystore.openpgp import EngineName, Limits, Message, decrypt
from keystore.pgp_keys import PrivateKey
from manifests.model import Manifest

_CHUNK = 1 << 20
_CHUNKS_AHEAD = 8


class CipherText(io.RawIOBase):
    """The taken file, hashed while it is read; going back to its start begins the hash anew."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise FileMissing("The data file that the manifest names is not there any more.") from None
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


class PlainText:
    """The plain text of one taken file, chunk by chunk; facts about it are complete when the iteration has ended.

    Raises what `keystore.openpgp.decrypt` raises, `FileMissing`, `SizeMismatch` and `ChecksumMismatch`.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        keys: list[PrivateKey],
        *,
        limits: Limits,
        engine: EngineName,
        require_encryption: bool,
        stopwatch: Stopwatch,
    ) -> None:
        self._path = path
        self._manifest = manifest
        self._keys = keys
        self._limits = limits
        self._engine: EngineName = engine
        self._require_encryption = require_encryption
        self._stopwatch = stopwatch
        self._chunks: queue.Queue[bytes | Exception | None] = queue.Queue(_CHUNKS_AHEAD)
        self._stop = threading.Event()
        self.bytes_encrypted = 0
        self.bytes_plain = 0
        self.sha256: str | None = None

    def chunks(self) -> Generator[bytes, None, None]:
        """Start the thread and hand its chunks on; an abandoned iteration stops the thread."""
        thread = threading.Thread(target=self._run, name="decrypt", daemon=True)
        thread.start()
        try:
            while (chunk := self._chunks.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        finally:
            self._stop.set()
            while thread.is_alive():
                with contextlib.suppress(queue.Empty):  # the thread may wait for room
                    self._chunks.get_nowait()
                thread.join(0.01)

    def _run(self) -> None:
        try:
            with CipherText(self._path) as source:
                self._check_size()
                try:
                    self._hand_over(source)
                finally:
                    if not self._stop.is_set():
                        self.bytes_encrypted, self.sha256 = source.finish()
                self._check_hash()
            self._chunks.put(None)
        except Exception as error:
            self._chunks.put(error)

    def _hand_over(self, source: CipherText) -> None:
        for chunk in self._stopwatch.timed("decrypt", self._decrypted(source)):
            self.bytes_plain += len(chunk)
            self._chunks.put(chunk)
            if self._stop.is_set():
                return

    def _decrypted(self, source: CipherText) -> Iterator[bytes]:
        buffered = io.BufferedReader(source, _CHUNK)
        message: Message | None = None
        try:
            message = decrypt(buffered, self._keys, limits=self._limits, engine=self._engine)
            yield from message
        except NotEncrypted:
            if self._require_encryption or self._manifest.key_id is not None:
                raise
            buffered.seek(0)
            yield from iter(lambda: buffered.read(_CHUNK), b"")
        finally:
            if message is not None:
                message.close()
            buffered.detach()  # or it would close the source, whose hash is still wanted

    def _check_size(self) -> None:
        size = self._path.stat().st_size
        if self._manifest.size is not None and self._manifest.size != size:
            raise SizeMismatch(
                f"The encrypted file has {size:,} bytes, but the manifest says {self._manifest.size:,} in `size`."
            )

    def _check_hash(self) -> None:
        if self._manifest.sha256 is not None and self._manifest.sha256.lower() != self.sha256:
            raise ChecksumMismatch("The encrypted file has another SHA-256 than the manifest says in `sha256`.")

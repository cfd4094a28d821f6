"""The GnuPG engine: gpg does what the native engine cannot, under the same envelope checks.

gpg sees only what `envelope` has accepted: the session keys that may be ours and the encrypted data, framed anew. It
takes off the encryption and nothing else (``--unwrap``): the packets inside are read by `stream`, as those of the
native engine are, with the same rules for literals, compression and signatures. gpg runs in a private folder of its
own, made for one message and removed after it (`gnupg_home`). The secret key and the passphrase travel through pipes
(FAULTS.md P31). gpg hands out data before it knows whether the data is right, so `refusal` decides after gpg has ended
(P1).

Diagnostics: gpg's status words of a refused message are in the error's ``detail``.
"""

from __future__ import annotations

import contextlib
import queue
import resource
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gnupg

from keystore.errors import Corrupt, EngineFailed, KeystoreError, Unsupported
from keystore.openpgp import packets
from keystore.openpgp.envelope import Envelope, Pkesk
from keystore.openpgp.facts import CIPHER_NAMES
from keystore.openpgp.gnupg_home import COMMAND_S, ENVIRONMENT, private_home
from keystore.openpgp.limits import Meter
from keystore.openpgp.native import Reading, legacy_refusal
from keystore.openpgp.packets import Feed, FramingError
from keystore.openpgp.session_key import LEGACY_CIPHERS
from keystore.openpgp.stream import literal_data

if TYPE_CHECKING:
    from keystore.pgp_keys import PrivateKey
    from keystore.pgp_pair import Pair

# public-key algorithms of GnuPG 2.2 (RFC 9580 §9.1); it drops other subkeys when it imports a key
ALGORITHMS = frozenset({1, 2, 3, 16, 17, 18, 19, 22})
_BLOCK_BYTES = 1 << 20
_QUEUE_BLOCKS = 4
_LONGEST_PASSPHRASE = 255  # of gpg-agent; it would say that there is no secret key
_POLL_S = 0.2
# none of RLIMIT_CORE: gpg reads and sets that itself when it starts, and dies when its maximum falls in between. The
# process of a command has none already, and gpg inherits it (`ingest.hardening`).
_LIMITS = {
    resource.RLIMIT_AS: 1 << 30,  # measured: 6 MB resident, some 100 MB of addresses
    resource.RLIMIT_FSIZE: 64 << 20,  # its keyring is all that it writes
    resource.RLIMIT_CPU: 6 * 3600,  # what `Meter` should have ended long before
    resource.RLIMIT_NOFILE: 64,
}
_OPTIONS = ["--no-auto-key-locate", "--no-auto-key-retrieve", "--disable-dirmngr", "--no-options"]
_REFUSED_STATUS = frozenset({"DECRYPTION_FAILED", "BADMDC", "UNEXPECTED", "NODATA", "ERROR", "FAILURE"})
_ENGINE_TROUBLE = ("Cannot allocate memory", "Out of core", "No agent running", "connect to the agent", "No space left")

Status = Sequence[tuple[str, str]]


class NotThisKey(Exception):
    """The key does not open the message; no plain text was handed out. ``final`` is what to raise without another."""

    def __init__(self, final: KeystoreError) -> None:
        super().__init__(final.detail)
        self.final = final


def is_installed() -> bool:
    """Whether a gpg program is found on PATH."""
    return shutil.which("gpg") is not None and shutil.which("gpgconf") is not None


def refusal(status: Status, returncode: int, *, aead_packet: bool) -> str:
    """Why a decryption is not accepted, for the log; empty when it is (FAULTS.md P1).

    ``aead_packet``: the data is in an OCB packet, whatever gpg says: 2.2 tells of no AEAD in DECRYPTION_INFO.
    """
    count = Counter(word for word, _ in status)
    first = {word: value.split() for word, value in reversed(status)}
    for word in sorted(_REFUSED_STATUS & count.keys()):
        return f"gpg said {word}"
    for word in ("BEGIN_DECRYPTION", "DECRYPTION_INFO", "DECRYPTION_OKAY"):
        if count[word] != 1:
            return f"gpg said {word} {count[word]} times"
    mdc, _, *aead = [int(field) for field in first["DECRYPTION_INFO"]]
    if count["GOODMDC"] != 1 or not (mdc or any(aead) or aead_packet):
        return "the message has no integrity protection"
    return f"gpg ended with {returncode}" if returncode else ""


def plain_blocks(envelope: Envelope, pkesks: Sequence[Pkesk], pair: Pair, reading: Reading) -> Iterator[bytes]:
    """The provisional plain text of one message with one pair, which is unlocked for it.

    Raises `NotThisKey` before the first block when another pair may open it; `KeyRetired`, `Truncated`, `ArmorInvalid`,
    `PlainTextTooLarge`, `EngineFailed`, `Unsupported` when gpg is missing or the cipher is a legacy one, `Corrupt`,
    and `SignatureRequired` after all else was well.
    """
    if not is_installed():
        raise Unsupported("This message needs GnuPG, which is not installed here.", detail="no gpg or gpgconf on PATH")
    feeder = _Feeder(envelope, pkesks)
    facts, inside, key = reading.facts, reading.inside(pair), pair.unlocked()
    damage = ""
    with private_home() as home:
        _import(home, key)
        run = _Run(home, feeder, key)
        unwrapped = run.blocks(reading.meter)
        facts.bytes_plain = 0
        try:
            for block in literal_data(Feed(unwrapped), inside):
                facts.bytes_plain += len(block)
                reading.meter.made(facts.bytes_plain)
                yield bytes(block)
        except FramingError as error:
            damage = str(error)
            # gpg's own verdict goes first, and it comes last
            for _ in unwrapped:
                pass
        finally:
            run.stop()
        feeder.finish()
        status, returncode, messages = run.outcome()
        problem = refusal(status, returncode, aead_packet=envelope.tag == packets.OCB)
        if problem:
            raise _failure(status, returncode, messages, problem)
        _fill_in(reading, key, next(value.split() for word, value in status if word == "DECRYPTION_INFO"))
        if damage:
            raise Corrupt(detail=damage)
    inside.signatures.settle(facts)


def _fill_in(reading: Reading, key: PrivateKey, info: list[str]) -> None:
    """The facts that gpg's DECRYPTION_INFO tells; raises `Unsupported` for a legacy cipher."""
    facts, cipher = reading.facts, int(info[1])
    facts.key_id, facts.pair = key.key_id, key.fingerprint
    if cipher in LEGACY_CIPHERS and not reading.limits.legacy_ciphers:
        raise legacy_refusal(CIPHER_NAMES[cipher])
    facts.cipher = CIPHER_NAMES.get(cipher, info[1])
    facts.integrity = "mdc" if info[0] != "0" else "aead"


def _failure(status: Status, returncode: int, messages: str, problem: str) -> Exception:
    detail = f"{problem}; gpg's status: {' '.join(word for word, _ in status)}"
    # FAULTS.md P27: an agent without memory makes gpg say "No secret key"; that is not the sender's fault, and a gpg
    # that ends without a status word has not judged the message at all
    if returncode < 0 or not status or any(trouble in messages for trouble in _ENGINE_TROUBLE):
        return EngineFailed("The file could not be decrypted just now. It will be tried again.", detail=detail)
    if not any(word == "DECRYPTION_INFO" for word, _ in status):
        return NotThisKey(Corrupt(detail=detail))
    return Corrupt(detail=detail)


def _import(home: Path, key: PrivateKey) -> None:
    """Import the protected key as it is; not through python-gnupg, whose debug log would show its first bytes."""
    try:
        done = subprocess.run(
            ["gpg", "--homedir", str(home), *_OPTIONS, "--batch", "--no-tty", "--quiet", "--import"],
            env=ENVIRONMENT,
            input=key.transferable.expose(),
            capture_output=True,
            timeout=COMMAND_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineFailed(_ENGINE_PUBLIC, detail=f"gpg could not be run: {type(error).__name__}") from error
    if done.returncode:
        raise EngineFailed(_ENGINE_PUBLIC, detail=f"gpg --import ended with {done.returncode}")


_ENGINE_PUBLIC = "The file could not be decrypted just now. It will be tried again."


class _Feeder:
    """What gpg reads: an object with ``read``, called from python-gnupg's writer thread."""

    def __init__(self, envelope: Envelope, pkesks: Sequence[Pkesk]) -> None:
        self._pieces = _framed(envelope, pkesks)
        self._lock = threading.Lock()
        self._error: KeystoreError | None = None
        self._ended = False

    def read(self, _size: int) -> bytes:
        """The next piece; empty at the end, after an error, and after `finish`."""
        with self._lock:
            if self._ended:
                return b""
            try:
                return next(self._pieces, b"")
            except KeystoreError as error:
                self._error, self._ended = error, True
                return b""

    def finish(self) -> None:
        """Read what gpg left; raises what the envelope has to say about it."""
        while self.read(_BLOCK_BYTES):
            pass
        if self._error:
            raise self._error

    def end(self) -> None:
        """Hand out no more."""
        with self._lock:
            self._ended = True


def _framed(envelope: Envelope, pkesks: Sequence[Pkesk]) -> Iterator[bytes]:
    """The message in new packets: definite lengths in front, 1 MiB partial lengths for the data (RFC 9580 §4.2.1)."""
    for pkesk in pkesks:
        yield bytes([0xC0 | packets.PKESK, 255]) + len(pkesk.raw).to_bytes(4) + pkesk.raw
    yield bytes([0xC0 | envelope.tag])
    piece = bytes([envelope.version]) + envelope.data.upto(_BLOCK_BYTES - 1)
    while len(piece) == _BLOCK_BYTES:
        yield b"\xf4" + piece
        piece = envelope.data.upto(_BLOCK_BYTES)
    yield b"\xff" + len(piece).to_bytes(4) + piece


class _Gpg(gnupg.GPG):  # type: ignore[misc]  # python-gnupg has no types
    """python-gnupg that lets us end the process it started, and keeps a result that it would drop.

    It offers no other way for either. When gpg ends before it has read all, the writer thread's broken pipe would
    replace gpg's own verdict.
    """

    process: subprocess.Popen[bytes] | None = None
    stopped = False

    def _handle_io(self, args: list[str], source: Any, result: Any, *more: Any, **options: Any) -> Any:
        with contextlib.suppress(BrokenPipeError):
            super()._handle_io(args, source, result, *more, **options)
        return result

    def _open_subprocess(self, args: list[str], passphrase: Any = False) -> subprocess.Popen[bytes]:  # noqa: FBT002
        process: subprocess.Popen[bytes] = super()._open_subprocess(args, passphrase)
        self.process = process
        _bound(process.pid)
        if self.stopped:
            process.kill()
        return process

    def stop(self) -> None:
        self.stopped = True
        if self.process is not None and self.process.poll() is None:
            self.process.kill()


def _bound(process_id: int) -> None:
    """Give a gpg that was just started limits of its own (FAULTS.md W15); its memory is not among its worker's."""
    for limit, most in _LIMITS.items():
        with contextlib.suppress(OSError):  # it has ended already
            _, hard = resource.prlimit(process_id, limit)
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(process_id, limit, (least, least))


class _Run:
    """One ``gpg --decrypt`` in a thread, its output in a bounded queue."""

    def __init__(self, home: Path, feeder: _Feeder, key: PrivateKey) -> None:
        try:
            self._gpg = _Gpg(gnupghome=str(home), options=_OPTIONS, env=ENVIRONMENT)
        except (OSError, ValueError) as error:
            raise EngineFailed(_ENGINE_PUBLIC, detail=f"gpg could not be run: {type(error).__name__}") from error
        self._gpg.buffer_size = _BLOCK_BYTES
        self._gpg.on_data = self._on_data
        self._feeder = feeder
        # the default encoding is Latin-1, so that any bytes come through as they are
        passphrase = key.passphrase.expose().decode("latin-1") if key.passphrase else ""
        if not self._gpg.is_valid_passphrase(passphrase):
            raise Unsupported("The key's passphrase holds a line break, which gpg does not take.")
        if len(passphrase) > _LONGEST_PASSPHRASE:
            raise Unsupported(
                f"The key's passphrase has more than {_LONGEST_PASSPHRASE} bytes, which gpg does not take."
            )
        self._passphrase = passphrase or None
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUE_BLOCKS)
        self._stopped = threading.Event()
        self._result: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._decrypt, name="sealdrop-gpg", daemon=True)
        self._thread.start()

    def blocks(self, meter: Meter) -> Iterator[bytes]:
        """gpg's output, to its end. Raises `EngineFailed` when the time limit passes first."""
        while True:
            try:
                block = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                meter.check_time()
                continue
            if block is None:
                return
            yield block

    def stop(self) -> None:
        """End gpg if it still runs, and the thread."""
        self._stopped.set()
        if self._thread.is_alive() and self._queue.empty():
            self._thread.join(_POLL_S)
        if self._thread.is_alive():
            self._feeder.end()
            self._gpg.stop()
        self._thread.join(COMMAND_S)

    def outcome(self) -> tuple[Status, int, str]:
        """gpg's status lines, its return code and its messages. Raises `EngineFailed` when it did not run."""
        if self._error is not None or self._result is None or self._result.returncode is None:
            raise EngineFailed(_ENGINE_PUBLIC, detail=f"gpg: {type(self._error).__name__}") from self._error
        messages = str(self._result.stderr)
        lines = [line.split(" ", 2) for line in messages.splitlines() if line.startswith("[GNUPG:] ")]
        status = [(line[1], line[2] if len(line) > 2 else "") for line in lines]
        return status, int(self._result.returncode), messages

    def _decrypt(self) -> None:
        try:
            self._result = self._gpg.decrypt_file(self._feeder, passphrase=self._passphrase, extra_args=["--unwrap"])
        except Exception as error:  # a thread's error is raised where its result is asked for
            self._error = error
        finally:
            self._put(None)

    def _on_data(self, data: bytes) -> bool:
        if data:
            self._put(data)
        return False  # python-gnupg keeps the data unless this is exactly False

    def _put(self, block: bytes | None) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(block, timeout=_POLL_S)
            except queue.Full:
                continue
            return

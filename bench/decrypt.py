"""Decryption alone, against `gpg --decrypt` to /dev/null in paired runs.

    python -m bench.decrypt --rows 10000000 --json

A CSV of events (600 MB for ten million rows; generated once, kept below bench/data) is encrypted by gpg with its
defaults (RSA 3072), armored and binary. Printed for each form: seconds and MB/s of plain text of our reader with an
unlocked key, its peak resident memory in a process of its own, gpg's seconds, and gpg's time divided by ours: medians
of runs that alternate, so that both meet the same machine. gpg starts and unlocks each time and a worker does so once:
``ratio_without_start`` takes off gpg's time what it needs for a tiny message, ``ratio_whole_process`` puts start,
imports and unlocking on both sides, ``ratio_lowest_pair`` is the worst of the pairs. Memory is the highest of the runs:
``start_rss_mib`` before the first block, ``peak_rss_mib`` while decrypting, ``unlock_peak_rss_mib`` while unlocking.

Then the parts alone on the same data, and the time of a small message. 1 MB = 10^6 bytes, 1 MiB = 2^20.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pybase64
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from isal import igzip_lib

from bench.events import PASSPHRASE, Encrypted, encrypted_events
from keystore.openpgp import decrypt
from keystore.pgp_keys import PrivateKey
from keystore.secret import Secret

SMALL_ROWS, SMALL_RUNS = 1000, 101
_BLOCK_BYTES = 1 << 20
_INFLATE_SAMPLE_BYTES = 64_000_000


def main() -> None:
    """Run the bench and print its figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--runs", type=int, default=5, help="paired runs; the median counts")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    file = encrypted_events(given.rows)
    tiny = encrypted_events(SMALL_ROWS)
    try:
        figures = _figures(given, file, tiny)
    finally:
        subprocess.run(["gpgconf", "--homedir", file.gpg_home, "--kill", "all"], check=True)
    if given.json:
        print(json.dumps(figures, indent=2))
    else:
        _print(figures)


def _figures(given: argparse.Namespace, file: Encrypted, tiny: Encrypted) -> dict[str, Any]:
    gpg_start_s = median(_gpg_seconds(tiny, tiny.cipher) for _ in range(given.runs + 1))
    return {
        "rows": given.rows,
        "bytes_plain": file.plain.stat().st_size,
        "gpg_start_s": round(gpg_start_s, 3),
        "armored": _paired(file, file.cipher, given.runs, gpg_start_s),
        "binary": _paired(file, _binary(file), given.runs, gpg_start_s),
        "parts": _parts(file),
        "small": _small(tiny),
    }


def _print(figures: dict[str, Any], prefix: str = "") -> None:
    for name, value in figures.items():
        if isinstance(value, dict):
            _print(value, f"{prefix}{name}.")
        else:
            print(f"{prefix + name:32} {value}")


def _gpg(file: Encrypted, *arguments: str | Path) -> tuple[str, ...]:
    return ("gpg", "--homedir", str(file.gpg_home), "--batch", "--yes", "--quiet", *map(str, arguments))


def _binary(file: Encrypted) -> Path:
    """The same packets without armor: what gpg writes without ``--armor``."""
    target = file.plain.with_name(file.plain.name + ".gpg")
    if not target.exists() or target.stat().st_mtime < file.cipher.stat().st_mtime:
        subprocess.run(_gpg(file, "--output", target, "--dearmor", file.cipher), check=True)
    return target


def _paired(file: Encrypted, message: Path, runs: int, gpg_start_s: float) -> dict[str, Any]:
    """Both engines in turn; the first pair is not counted, it fills the caches and starts the agent."""
    pairs = [(_ours(file, message), _gpg_seconds(file, message)) for _ in range(runs + 1)][1:]
    ours = [figures for figures, _ in pairs]
    seconds = median(figures["seconds"] for figures in ours)
    size = file.plain.stat().st_size
    if any(figures["bytes_plain"] != size for figures in ours):
        raise SystemExit("the plain text has another size than the file that was encrypted")
    return {
        "bytes_encrypted": message.stat().st_size,
        "seconds": round(seconds, 3),
        "mb_per_s": round(size / seconds / 1e6),
        "start_rss_mib": max(figures["start_rss_mib"] for figures in ours),
        "peak_rss_mib": max(figures["peak_rss_mib"] for figures in ours),
        "unlock_peak_rss_mib": max(figures["unlock_peak_rss_mib"] for figures in ours),
        "gpg_s": round(median(gpg for _, gpg in pairs), 3),
        "ratio": round(median(gpg / figures["seconds"] for figures, gpg in pairs), 2),
        "ratio_lowest_pair": round(min(gpg / figures["seconds"] for figures, gpg in pairs), 2),
        "ratio_without_start": round(median((gpg - gpg_start_s) / figures["seconds"] for figures, gpg in pairs), 2),
        "ratio_whole_process": round(median(gpg / figures["process_s"] for figures, gpg in pairs), 2),
    }


def _ours(file: Encrypted, message: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.only_decrypt", str(message), str(file.private_key)]
    start = time.perf_counter()
    ran = subprocess.run(command, input=PASSPHRASE, stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(ran.stdout)
    return {**figures, "process_s": time.perf_counter() - start}


def _gpg_seconds(file: Encrypted, message: Path) -> float:
    command = _gpg(file, "--pinentry-mode", "loopback", "--passphrase-fd", "0", "--decrypt", message)
    start = time.perf_counter()
    subprocess.run(command, input=PASSPHRASE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def _parts(file: Encrypted) -> dict[str, Any]:
    """What each part costs alone, in seconds for this file; their sum is what one thread can reach at best."""
    cipher_text = _binary(file)
    decryptor = Cipher(AES(bytes(32)), CFB(bytes(16))).decryptor()
    seconds = {
        "read": _timed(lambda: _each(_blocks(file.cipher), len)),
        "line_breaks": _timed(lambda: _each(_blocks(file.cipher), lambda block: block.translate(None, b" \t\r\n"))),
        "base64": _timed(lambda: _decoded(file.cipher)),
        "cipher": _timed(lambda: _each(_blocks(cipher_text), decryptor.update)),
        "hash": _timed(lambda: _each(_blocks(cipher_text), hashlib.sha1(usedforsecurity=False).update)),
    }
    rounded = {f"{name}_s": round(value, 3) for name, value in seconds.items()}
    return rounded | _inflate_part(file)


def _timed(work: Callable[[], object]) -> float:
    """The fastest of three: a part is a bound, not a forecast."""
    found = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while block := source.read(_BLOCK_BYTES):
            yield block


def _each(blocks: Iterator[bytes], work: Callable[[bytes], object]) -> None:
    for block in blocks:
        work(block)


def _decoded(path: Path) -> None:
    """Base64 of the same length, without line breaks."""
    text = pybase64.b64encode(bytes(_BLOCK_BYTES * 3 // 4))
    for _ in range(path.stat().st_size // _BLOCK_BYTES):
        pybase64.b64decode(text, validate=True)


def _inflate_part(file: Encrypted) -> dict[str, Any]:
    """Inflating a sample of the plain text, as gpg deflates it (level 6), scaled to the whole file."""
    with file.plain.open("rb") as source:
        sample = source.read(_INFLATE_SAMPLE_BYTES)
    deflated = zlib.compress(sample, 6)
    seconds = _timed(lambda: _inflate(deflated))
    return {
        "inflate_s": round(seconds * file.plain.stat().st_size / len(sample), 3),
        "inflate_mb_per_s": round(len(sample) / seconds / 1e6),
    }


def _inflate(deflated: bytes) -> None:
    decompressor = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB)
    for at in range(0, len(deflated), _BLOCK_BYTES):
        block = deflated[at : at + _BLOCK_BYTES]
        while not decompressor.eof:
            decompressor.decompress(block, _BLOCK_BYTES)
            block = b""
            if decompressor.needs_input:
                break


def _small(file: Encrypted) -> dict[str, Any]:
    """A message of a thousand rows in this process, with an unlocked key."""
    key = PrivateKey.unlock("bench", Secret(file.private_key.read_bytes()), Secret(PASSPHRASE))
    message, seconds = file.cipher.read_bytes(), []
    for _ in range(SMALL_RUNS):
        start = time.perf_counter()
        plain = b"".join(decrypt(io.BytesIO(message), [key], engine="native"))
        seconds.append(time.perf_counter() - start)
    if plain != file.plain.read_bytes():
        raise SystemExit("the plain text is not what was encrypted")
    return {"rows": SMALL_ROWS, "bytes_plain": len(plain), "median_ms": round(median(seconds) * 1000, 2)}


if __name__ == "__main__":
    main()

"""A process that does nothing but decrypt one file; `bench.decrypt` starts it and reads what it prints.

    python -m bench.only_decrypt MESSAGE PRIVATE-KEY < passphrase

Prints one JSON object: seconds with an unlocked key, seconds to unlock it, plain bytes, and the resident memory in MiB:
before the first block, at its peak while decrypting, and at its peak before that (unlocking). No more is imported than
decrypting needs, so the peaks are its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from keystore.openpgp import decrypt
from keystore.pgp_keys import PrivateKey
from keystore.secret import Secret


def main() -> None:
    """Decrypt, throw the plain text away, print the figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("message", type=Path)
    arguments.add_argument("private_key", type=Path)
    given = arguments.parse_args()
    message, private_key = given.message, given.private_key
    begin = time.perf_counter()
    key = PrivateKey.unlock("bench", Secret(private_key.read_bytes()), Secret(sys.stdin.buffer.read()))
    unlocked = time.perf_counter()
    before = {"start_rss_mib": _status_mib("VmRSS"), "unlock_peak_rss_mib": _status_mib("VmHWM")}
    # proc(5): 5 sets the peak back to what is resident now
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    total = 0
    with message.open("rb") as source:
        for block in decrypt(source, [key], engine="native"):
            total += len(block)
    figures = {
        "seconds": time.perf_counter() - start,
        "unlock_s": unlocked - begin,
        "bytes_plain": total,
        **before,
        "peak_rss_mib": _status_mib("VmHWM"),
    }
    print(json.dumps(figures))


def _status_mib(name: str) -> float:
    """A figure of the kernel's; not getrusage, whose peak a child inherits from the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith(name + ":"))


if __name__ == "__main__":
    main()

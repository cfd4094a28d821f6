"""A whole import, from cipher text to committed, against `gpg --decrypt` alone in the same run.

    python -m bench.import_run --rows 1000000 --json

Prints rows a second, seconds by step (they overlap), peak resident memory of the importing process, and the ratio of
its time to the time that gpg needs to decrypt the same file to /dev/null. The file is generated once and kept below
bench/data.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from bench.events import PASSPHRASE, Encrypted, encrypted_events
from ingest.demo.files import EVENT_COLUMNS

SEALDROP = Path(sys.executable).parent / "sealdrop"


def main() -> None:
    """Run the bench and print its figures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--runs", type=int, default=3, help="paired runs; the best of each side counts")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    file = encrypted_events(given.rows)
    gpg_s = min(_gpg_seconds(file) for _ in range(given.runs))
    runs = [_import(file) for _ in range(given.runs)]
    best = min(runs, key=lambda run: run["import_s"])
    figures = {
        "rows": given.rows,
        "bytes_plain": file.plain.stat().st_size,
        "bytes_encrypted": file.cipher.stat().st_size,
        **best,
        "rows_per_s": round(given.rows / best["import_s"]),
        "peak_rss_mib": max(run["peak_rss_mib"] for run in runs),
        "gpg_decrypt_s": round(gpg_s, 3),
        "ratio_to_gpg": round(best["import_s"] / gpg_s, 2),
    }
    if given.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:18} {value}")


def _gpg_seconds(file: Encrypted) -> float:
    unlock = ("--pinentry-mode", "loopback", "--passphrase-fd", "0")
    command = ["gpg", "--homedir", str(file.gpg_home), "--batch", "--quiet", *unlock, "--decrypt", str(file.cipher)]
    start = time.perf_counter()
    subprocess.run(command, input=PASSPHRASE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def _import(file: Encrypted) -> dict[str, Any]:
    """One import into a new installation; seconds from claim to settled, as the import's report says."""
    with tempfile.TemporaryDirectory(prefix="sealdrop-bench-", dir=file.plain.parent) as name:
        folder = Path(name)
        config = folder / "installation" / "sealdrop.toml"
        _sealdrop("init", config.parent)
        _sealdrop("--config", config, "account", "add", "bench", "--contact", "bench@example.com")
        passphrase = folder / "passphrase"
        passphrase.write_bytes(PASSPHRASE)
        command = ("key", "import", "bench", file.private_key, "--passphrase-file", passphrase, "--json")
        key_id = json.loads(_sealdrop("--config", config, *command))["key_id"]
        os.link(file.cipher, folder / file.cipher.name)
        manifest = {"fileName": file.cipher.name, "type": "event", "clientEmail": "bench@example.com", "keyId": key_id}
        (folder / "events.manifest").write_text(json.dumps({**manifest, "columns": EVENT_COLUMNS}))
        return _measured(["--config", str(config), "import", "run", "bench", str(folder / "events.manifest"), "--json"])


def _measured(command: list[str]) -> dict[str, Any]:
    """Run the import and watch its memory."""
    process = subprocess.Popen([str(SEALDROP), *command], stdout=subprocess.PIPE, text=True)
    peak = 0
    watched = psutil.Process(process.pid)

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                peak = max(peak, watched.memory_info().rss)
            except psutil.Error:
                return
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    out, _ = process.communicate()
    thread.join()
    report = json.loads(out)
    if report["state"] != "succeeded":
        raise SystemExit(f"the import {report['state']}: {report['code']}: {report['message']}")
    steps = report["seconds"]
    return {"import_s": steps.pop("total"), "steps_s": steps, "peak_rss_mib": round(peak / 2**20)}


def _sealdrop(*arguments: object) -> str:
    ran = subprocess.run([str(SEALDROP), *map(str, arguments)], capture_output=True, text=True, check=True)
    return ran.stdout


if __name__ == "__main__":
    main()

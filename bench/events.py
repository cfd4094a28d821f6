"""The event file of the benches: generated once for each size, kept below bench/data."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ingest.demo.sender import Gpg

DATA = Path(__file__).parent / "data"
PASSPHRASE = b"bench"
USER_ID = "bench@example.com"


@dataclass(frozen=True)
class Encrypted:
    """An event file and what opens it."""

    plain: Path
    cipher: Path
    private_key: Path
    gpg_home: Path


def write_events(path: Path, rows: int) -> None:
    """``rows`` events of about 64 bytes with the columns of the guide's sample; the same rows each time."""
    number = pl.int_range(rows, eager=True)
    mixed = (number * 2654435761) % 4294967296  # Knuth's multiplicative hash: looks random, compresses like real data
    names = pl.Series(["Charged", "Product viewed", "Added to cart", "Signed in"])
    items = pl.Series([f"item {letter}{digit}" for letter in "abcdefgh" for digit in range(10)])
    frame = pl.DataFrame(
        {
            "event_name": names.gather(mixed % 4),
            "time_stamp": 1735689600 + mixed % 31_536_000,
            "identity": "user-" + (mixed % 1_000_003).cast(pl.String),
            "item_name": items.gather(mixed // 7 % 80),
            "item_price": mixed // 11 % 5000,
            "item_delivery_date": (20_000 + mixed // 13 % 365).cast(pl.Int32).cast(pl.Date).cast(pl.String),
        }
    )
    frame.write_csv(path)


def encrypted_events(rows: int) -> Encrypted:
    """The file of this size, encrypted by gpg with its defaults, armored (RSA 3072); reused when it is there."""
    folder = DATA / f"events-{rows}"
    # short, since gpg-agent's socket lies in it; each checkout has its own pair
    checkout = hashlib.sha256(bytes(DATA)).hexdigest()[:8]
    gpg_home = Path(tempfile.gettempdir()) / f"sealdrop-bench-gpg-{checkout}"
    found = Encrypted(folder / "events.csv", folder / "events.csv.asc", DATA / "private.asc", gpg_home)
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_make(found, rows))
    return found


async def _make(wanted: Encrypted, rows: int) -> None:
    gpg = Gpg(wanted.gpg_home)
    try:
        if not wanted.private_key.exists() or not (wanted.gpg_home / "pubring.kbx").exists():
            wanted.private_key.write_bytes(await gpg.make_pair(USER_ID, PASSPHRASE))
            for cipher in DATA.glob("*/*.asc"):  # of every size
                cipher.unlink()
        if not wanted.plain.exists():
            write_events(wanted.plain, rows)
            wanted.cipher.unlink(missing_ok=True)
        if not wanted.cipher.exists():
            await gpg.encrypt(wanted.plain, USER_ID)
    finally:
        await gpg.close()

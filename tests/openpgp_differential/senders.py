"""Good messages from three senders: gpg, Sequoia, and the packet writer for what neither would write."""

from __future__ import annotations

import base64
import bz2
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pysequoia

from tests.openpgp import packet_writer as write
from tests.openpgp.sender import PASSPHRASE, Gpg
from tests.openpgp_differential.readers import KINDS, Readers
from tests.openpgp_differential.session import Session, told_session

CIPHERS = ("AES128", "AES192", "AES256")
RARE_CIPHERS = ("CAMELLIA256", "TWOFISH", "CAST5", "3DES")
COMPRESSIONS = ("none", "zip", "zlib", "bzip2")
SMALL = (0, 1, 191, 192, 511, 512, 513, 8191, 8192, 8193)
MIDDLE = (8383, 8384, 2**16 - 1, 2**16, 2**16 + 1)
LARGE = (2**20 - 1, 2**20, 2**20 + 1, 2**22 - 1, 2**22, 2**22 + 1)


@dataclass(frozen=True)
class Case:
    """A message to the pair of a kind, and the plain text that was encrypted; `None` when all should refuse it."""

    name: str
    kind: str
    message: bytes
    plain: bytes | None


@cache
def plain_text(size: int) -> bytes:
    """The first ``size`` bytes of a table that does not compress to nothing; the same each time."""
    chance = random.Random(20251122)
    rows = "".join(f"user{chance.getrandbits(40)},Charged,{chance.getrandbits(31)}\n" for _ in range(10_000)).encode()
    return (rows * (size // len(rows) + 1))[:size]


def from_gpg(gpg: Gpg, *, full: bool) -> Iterator[Case]:
    """Key x cipher x compression x armor, the sizes and signatures in turn; it writes partial lengths from a pipe."""
    sizes = itertools.cycle(SMALL + MIDDLE + (LARGE if full else ()))
    signed = itertools.cycle((False, False, True))
    for kind, cipher, compression in itertools.product(KINDS, CIPHERS, COMPRESSIONS):
        for armor in (True, False):
            size, sign = next(sizes), next(signed)
            name = _name("gpg", kind, cipher, compression, size, armor=armor, signed=sign)
            options = ["--cipher-algo", cipher, *_compressing(compression)]
            options += ["--armor"] * armor + ["--sign", "--local-user", f"={kind}"] * sign
            yield Case(name, kind, gpg.encrypt(kind, plain_text(size), *options), plain_text(size))
    # from gpg 2.3 on
    old = "--allow-old-cipher-algos"
    allowed = [old] if old in gpg.run("--dump-options").decode().split() else []
    for kind, cipher in itertools.product(KINDS if full else ("rsa",), RARE_CIPHERS):
        message = gpg.encrypt(kind, plain_text(513), "--cipher-algo", cipher, *allowed)
        yield Case(_name("gpg", kind, cipher, "zlib", 513), kind, message, plain_text(513))
    hidden = gpg.encrypt("cv", plain_text(513), "--throw-keyids")
    yield Case("gpg cv hidden recipient", "cv", hidden, plain_text(513))


def _compressing(compression: str) -> list[str]:
    return ["--compress-level", "0"] if compression == "none" else ["--compress-algo", compression]


def from_sequoia(readers: Readers, *, full: bool) -> Iterator[Case]:
    """Every key, armored and not, signed and not, in every size; it does not compress and chooses the cipher."""
    for kind, armor, sign in itertools.product(KINDS, (True, False), (True, False)):
        sizes = SMALL + MIDDLE if full else SMALL[:: 2 + sign] + MIDDLE[2:]
        # one kind of key is enough for the large ones
        for size in sizes + (LARGE if full or (kind == "cv" and not armor and not sign) else ()):
            message = pysequoia.encrypt(
                bytes=plain_text(size),
                recipients=[readers.tsks[kind].extract_certificate()],
                signer=readers.tsks[kind].signer(PASSPHRASE) if sign else None,
                armor=armor,
            )
            name = _name("sequoia", kind, "AES256", "none", size, armor=armor, signed=sign)
            yield Case(name, kind, message, plain_text(size))


def of_version_6(readers: Readers, *, full: bool) -> Iterator[Case]:
    """SEIPD version 2 with OCB, to a key of version 6 (RFC 9580 §5.13.2)."""
    recipients = [readers.tsks["v6"].extract_certificate()]
    for size, armor in itertools.product(SMALL + MIDDLE + (LARGE if full else LARGE[-1:]), (True, False)):
        message = pysequoia.encrypt(bytes=plain_text(size), recipients=recipients, armor=armor)
        name = _name("sequoia", "v6", "AES256", "none", size, armor=armor)
        yield Case(name, "v6", message, plain_text(size))
        if not armor:
            for cut in (len(message) - 1, len(message) - 16, len(message) // 2):
                yield Case(f"{name} cut to {cut}", "v6", message[:cut], None)
            for spot in (len(message) - 1, len(message) - 17, len(message) // 2):
                changed = message[:spot] + bytes([message[spot] ^ 1]) + message[spot + 1 :]
                yield Case(f"{name} changed at {spot}", "v6", changed, None)


def from_packet_writer(sessions: dict[tuple[str, str], Session], *, full: bool) -> Iterator[Case]:
    """Key x cipher x compression in every framing, the sizes in turn."""
    sizes = itertools.cycle(SMALL + MIDDLE + (LARGE if full else LARGE[-1:]))
    in_armor = itertools.cycle((False, False, True))
    for (kind, cipher), compression in itertools.product(sessions, COMPRESSIONS):
        for framing in ("definite", "partial", "parts of 512", "parts of 8 KiB"):
            size, armor = next(sizes), next(in_armor)
            message = crafted(
                sessions[kind, cipher], _compressed(write.literal(plain_text(size)), compression), framing
            )
            name = _name("writer", kind, cipher, compression, size, armor=armor) + f" {framing}"
            yield Case(name, kind, armored(message) if armor else message, plain_text(size))


def in_chunks(session: Session, kind: str) -> Iterator[Case]:
    """GnuPG's OCB packet with contents around the borders of its chunks, which are 64 bytes to 1 MiB."""
    around = (0, 1, 63, 64, 65)
    for exponent, size in [(0, 64), (6, 4096), (10, 65536), (14, 2**20)]:
        for count in (*around, *(2 * size + more for more in (-1, 0, 1))):
            literal = write.literal(plain_text(count))
            body = write.ocb_body(literal, exponent=exponent, session_key=session.key)
            name = f"OCB {kind} {count} in chunks of {size}"
            yield Case(name, kind, session.pkesk + write.packet(20, body), plain_text(count))
        # the literal packet has 12 octets besides its contents, so the last chunk is a whole one
        plain = plain_text(2 * size - 12)
        body = write.ocb_body(write.literal(plain), exponent=exponent, session_key=session.key)
        name = f"OCB {kind} {len(plain)} in whole chunks of {size}"
        yield Case(name, kind, session.pkesk + write.packet(20, body), plain)


def sessions(gpg: Gpg) -> dict[tuple[str, str], Session]:
    """One session for each kind of key and AES cipher."""
    return {(kind, cipher): told_session(gpg, kind, cipher) for kind, cipher in itertools.product(KINDS, CIPHERS)}


def crafted(session: Session, inner: bytes, framing: str = "definite") -> bytes:
    """A message with these packets in a SEIPD packet: of definite length, or in parts of growing or equal size."""
    body = write.seipd_body(inner, session_key=session.key)
    if framing == "definite" or len(body) < 512:
        return session.pkesk + write.packet(18, body)
    if framing == "partial":
        # 512, 1024, 2048 ... as long as something is left
        count = next(n for n in range(1, 30) if (2 << n) - 2 << 8 >= len(body)) - 1 or 1
        exponents = [9 + n for n in range(count) if sum(512 << m for m in range(n + 1)) <= len(body)]
    else:
        exponent = 9 if framing == "parts of 512" else 13
        exponents = [exponent] * (len(body) >> exponent) or [9]
    return session.pkesk + write.partial_packet(18, body, exponents)


def armored(data: bytes, **form: bytes) -> bytes:
    """Armor with the right CRC24, since gpg refuses some messages without one (RFC 9580 §6.1.1)."""
    crc = 0xB704CE
    for octet in data:
        crc = (crc << 8 ^ _CRC24[crc >> 16 ^ octet]) & 0xFFFFFF
    return write.armor(data, crc=base64.b64encode(crc.to_bytes(3)), **form)


def _crc24_of(octet: int) -> int:
    crc = octet << 16
    for _ in range(8):
        crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc


_CRC24 = tuple(map(_crc24_of, range(256)))


def _compressed(literal: bytes, compression: str) -> bytes:
    if compression == "none":
        return literal
    if compression == "bzip2":
        return write.packet(8, b"\x03" + bz2.compress(literal))
    return write.compressed(literal, 1 if compression == "zip" else 2)


def _name(
    sender: str, kind: str, cipher: str, compression: str, size: int, *, armor: bool = False, signed: bool = False
) -> str:
    return " ".join([sender, kind, cipher, compression, str(size)] + ["armor"] * armor + ["signed"] * signed)

"""Messages that should be refused, and those that some refuse: damage, forgery and bad company, from a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.openpgp import packet_writer as write
from tests.openpgp.sender import PASSPHRASE, Gpg
from tests.openpgp_differential.senders import Case, armored, crafted, plain_text
from tests.openpgp_differential.session import Session

_PLAIN = plain_text(3000)
_LITERAL = write.literal(_PLAIN)


def damaged(kind: str, session: Session, *, full: bool) -> Iterator[Case]:
    """A crafted message that is cut, changed in one bit, prolonged; binary and armored."""
    good = crafted(session, _LITERAL)
    start = len(session.pkesk)
    for name, data in {"binary": good, "armored": armored(good)}.items():
        end = len(data) if name == "binary" else data.index(b"\n-----END")
        for cut in _cuts(data, end, start if name == "binary" else 30):
            yield Case(f"{kind} {name} cut to {cut}", kind, data[:cut], None)
        for more in (b"x", b"\0", b"\x85", b"more text\n", data, write.packet(11, b"b\0\0\0\0\0a,b\n")):
            yield Case(f"{kind} {name} followed by {_shown(more)}", kind, data + more, None)
    # from the version octet on; what stands in front is public and has tests of its own
    chance = random.Random(3)
    spots = {start + 6, start + 7, start + 22, start + 24, *(len(good) - n for n in range(1, 23, 1 if full else 3))}
    spots |= {chance.randrange(start + 6, len(good)) for _ in range(120 if full else 12)}
    for spot in sorted(spots):
        bit = 1 << chance.randrange(8)
        changed = good[:spot] + bytes([good[spot] ^ bit]) + good[spot + 1 :]
        yield Case(f"{kind} bit {bit:#x} of octet {spot - start} of the data", kind, changed, None)


def _cuts(data: bytes, end: int, start: int) -> list[int]:
    inside = random.Random(7).sample(range(start + 7, end - 22), 4)
    return sorted(
        {0, 1, 2, start // 2, start, start + 1, start + 6, *inside, end - 22, end - 20, end - 1} - {len(data)}
    )


def _shown(more: bytes) -> str:
    return "itself" if len(more) > 100 else repr(more)


def without_integrity(kind: str, session: Session) -> Iterator[Case]:
    """FAULTS P4, P5: no MDC, another one, not at the end; the packet that has none."""
    seipd = write.seipd_body(_LITERAL, session_key=session.key)
    bare = write.seipd_body(_LITERAL, mdc=False, session_key=session.key)
    twice = write.seipd_body(_LITERAL + b"\xd3\x14" + bytes(20), session_key=session.key)
    for name, packet in {
        "tag 9": write.packet(9, seipd[1:]),
        "relabelled as tag 9": write.packet(9, seipd),
        "without MDC": write.packet(18, bare),
        "MDC cut off": write.packet(18, seipd[:-22]),
        "an MDC before the MDC": write.packet(18, twice),
        "version 0": write.packet(18, b"\0" + seipd[1:]),
        "version 3": write.packet(18, b"\3" + seipd[1:]),
    }.items():
        yield Case(f"{kind} {name}", kind, session.pkesk + packet, None)


def inside(kind: str, session: Session) -> Iterator[Case]:
    """FAULTS P8, P14, P25: what stands in the encrypted data beside the one literal, or instead of it."""
    deflated = write.compressed(_LITERAL)
    deep = _LITERAL
    for _ in range(40):
        deep = write.compressed(deep, 0)
    refused = {
        "nothing": b"",
        "two literals": _LITERAL + _LITERAL,
        "a literal cut": _LITERAL[:-9],
        "a literal and garbage": _LITERAL + b"garbage",
        "compressed twice over": write.compressed(_LITERAL + _LITERAL),
        "compressed and a literal": deflated + _LITERAL,
        "compressed data cut": write.packet(8, deflated[6:-20]),
        "an unknown compression": write.packet(8, b"\x6e" + bytes(40)),
        "40 layers": deep,
        "a marker only": write.packet(10, b"PGP"),
        "an unknown critical packet": write.packet(22, b"x") + _LITERAL,
        "a public key": write.packet(6, b"\x04" + bytes(20)) + _LITERAL,
        "another message": crafted(session, _LITERAL),
    }
    for name, inner in refused.items():
        yield Case(f"{kind} with {name} inside", kind, crafted(session, inner), None)
    read = {
        "a marker first": write.packet(10, b"PGP") + _LITERAL,
        "an unknown non-critical packet first": write.packet(60, b"x") + _LITERAL,
        "padding last": _LITERAL + write.packet(21, bytes(30)),
        "a literal of text": write.literal(_PLAIN, mode=b"t"),
        "a literal of UTF-8": write.literal(_PLAIN, mode=b"u"),
        "a literal with a long name": write.literal(_PLAIN, name=b"../" * 85),
        "a literal of indeterminate length": write.old_packet(11, b"b\0\0\0\0\0" + _PLAIN),
        "a literal in parts": write.partial_packet(11, b"b\0\0\0\0\0" + _PLAIN, [9, 10]),
        "three layers": write.compressed(write.compressed(deflated, 1)),
    }
    for name, inner in read.items():
        yield Case(f"{kind} with {name} inside", kind, crafted(session, inner), _PLAIN)


def _lengths(session: Session) -> Iterator[tuple[int, bytes]]:
    """The same message in the three lengths that Base64 pads differently."""
    for more in range(3):
        message = crafted(session, write.literal(_PLAIN, name=bytes(more)))
        yield len(message) % 3, message


def around(gpg: Gpg, kind: str, session: Session) -> Iterator[Case]:
    """FAULTS P7, P9, P10, P11, P12, P20: what surrounds the message, and what is no encrypted message."""
    good = crafted(session, _LITERAL)
    text = armored(good)
    read = {
        "CRLF": armored(good, newline=b"\r\n"),
        "a byte order mark": b"\xef\xbb\xbf" + text,
        "blank lines around": b"\n\n" + text + b"\n \n",
        "an armor header": armored(good, headers=b"Version: any\nX-Own: header"),
        "no last line break": text[:-1],
        "a wrong CRC24": write.armor(good, crc=b"AAAA"),
        **{f"no CRC24, length {n} modulo 3": write.armor(padded) for n, padded in _lengths(session)},
        "a marker first": write.packet(10, b"PGP") + good,
        "a foreign recipient first": write.foreign_pkesk(b"12345678") + good,
    }
    for name, message in read.items():
        yield Case(f"{kind} {name}", kind, message, _PLAIN)
    refused = {
        "text before the armor": b"Dear all,\n" + text,
        "no END line": text[: text.index(b"-----END")],
        "a character that is not Base64": text[:200] + b"*" + text[201:],
        "UTF-16": text.decode().encode("utf-16"),
        "another label": text.replace(b"PGP MESSAGE", b"PGP SIGNATURE"),
        "plain text": _PLAIN,
        "nothing at all": b"",
        "a literal": _LITERAL,
        "a compressed literal": write.compressed(_LITERAL),
        "signed only": gpg.run("--local-user", f"={kind}", "--sign", stdin=_PLAIN),
        "clear-signed": gpg.run("--local-user", f"={kind}", "--clearsign", stdin=_PLAIN),
        "a key": gpg.run("--export", f"={kind}"),
        "a password only": gpg.run("--symmetric", stdin=_PLAIN),
        "a password as well": gpg.encrypt(kind, _PLAIN, "--symmetric", "--passphrase", PASSPHRASE),
        "a session key alone": session.pkesk,
        "encrypted data alone": good[len(session.pkesk) :],
        "a foreign recipient only": write.foreign_pkesk(b"12345678") + good[len(session.pkesk) :],
        "a session key of another message": session.pkesk + write.packet(18, write.seipd_body(_LITERAL)),
        "a literal before the message": _LITERAL + good,
    }
    for name, message in refused.items():
        yield Case(f"{kind} {name}", kind, message, None)

"""A key file, armored or binary, as its packets (RFC 9580 §6, §10). What they hold is `pgp_certificate`'s to say."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from keystore.errors import KeyRejected
from keystore.openpgp.packets import MARKER, NON_CRITICAL, PADDING, Feed, FramingError, body, read_header

MAX_KEY_BYTES = 64 * 1024
# possessive where it can be: a file of blanks would otherwise take minutes
_ARMORED = re.compile(
    rb"-----BEGIN PGP (PUBLIC|PRIVATE) KEY BLOCK-----[ \t]*+\r?\n(?:[^\r\n:]++:[^\r\n]*+\r?\n)*+[ \t]*+\r?\n"
    rb"([A-Za-z0-9+/\s]++(?:={1,2}\s*+)?)(?:(?<=\n)=[A-Za-z0-9+/]{4}\s*+)?-----END PGP \1 KEY BLOCK-----"
)


def key_packets(data: bytes, *, wanted: str = "private") -> list[tuple[int, bytes]]:
    """Type and body of each packet of the file, at least one.

    ``wanted`` is the kind of key, ``private`` or ``public``, that the error texts ask for. Raises `KeyRejected`.
    """
    try:
        found = list(_each_packet(Feed(iter((_binary(data, wanted),)))))
    except FramingError as error:
        raise KeyRejected("The key file is damaged. Export the key again.", detail=str(error)) from None
    if not found:
        raise KeyRejected("The key file holds no key. Export the key again.")
    return found


def framed(tag: int, content: bytes) -> bytes:
    """A packet, as it stands in a file."""
    return bytes([0xC0 | tag, 255]) + len(content).to_bytes(4) + content


def _binary(data: bytes, wanted: str) -> bytes:
    """The packets of a key file, armored or not."""
    export = "--export-secret-keys" if wanted == "private" else "--export --export-options export-minimal"
    if len(data) > MAX_KEY_BYTES:
        raise KeyRejected(f"The key file is larger than {MAX_KEY_BYTES // 1024} KiB. Export one key without photos.")
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not data:
        raise KeyRejected("The key file is empty.")
    if data[0] & 0x80:
        return data
    if data.count(b"-----BEGIN PGP ") > 1:
        raise KeyRejected(f"The file holds several armored blocks. Export exactly one {wanted} key.")
    armored = _ARMORED.fullmatch(data.rstrip())
    if armored is None:
        raise KeyRejected(f"The file is not an OpenPGP key. Export it with: gpg --armor {export} KEY")
    try:
        return base64.b64decode(b"".join(armored[2].split()), validate=True)
    except binascii.Error:
        raise KeyRejected("The armor of the key file is damaged. Export the key again.") from None


def _each_packet(feed: Feed) -> Iterator[tuple[int, bytes]]:
    while not feed.at_end():
        header = read_header(feed)
        content = b"".join(body(feed, header))
        # RFC 9580 §5.8, §5.14, §4.3
        if header.tag not in (MARKER, PADDING) and header.tag < NON_CRITICAL:
            yield header.tag, content

"""The envelope: all that anyone can see of an encrypted message without a private key.

It is read before any key is touched, the same for both engines, and its errors are precise because they are public
facts (FAULTS.md, rule 4). What the packets inside hold is not known here.

Grammar (RFC 9580 §10.3): one or more PKESK packets, then one encrypted-data packet, then the end of the file. Marker,
padding packets are passed over, and unknown non-critical ones behind the first packet and before the data. Everything
else is refused. A PKESK packet counts only before the encrypted data
that its version belongs to (RFC 9580 §10.3.2.1): 3 before SEIPD version 1 and GnuPG's OCB packet, 6 before version 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from keystore.errors import (
    ArmorInvalid,
    KeystoreError,
    NoIntegrity,
    NotEncrypted,
    PasswordEncrypted,
    Truncated,
    Unsupported,
)
from keystore.openpgp import packets
from keystore.openpgp.aead import AeadHead, read_head
from keystore.openpgp.armor import packet_bytes
from keystore.openpgp.limits import Limits, Meter
from keystore.openpgp.packets import Block, EndedEarly, Feed, FramingError, Header

_PKESK_CAP = 1 << 13  # an RSA key of 16384 bits needs 2 KiB
_PASSED_OVER_CAP = 64
_PASSED_OVER = frozenset({packets.MARKER, packets.PADDING})
_CUT = "The file ends before the encrypted message does: the upload was cut short. Send it again."
ANONYMOUS = bytes(8)


@dataclass(frozen=True, slots=True)
class Pkesk:
    """A session key encrypted to one recipient, version 3 or 6 (RFC 9580 §5.1.1, §5.1.2)."""

    version: int
    key_id: bytes  # 8 octets; all zero when the recipient is hidden
    algorithm: int
    fields: bytes  # the algorithm's own part
    raw: bytes  # the whole body


@dataclass(frozen=True, slots=True)
class Envelope:
    """The packets in front, and the encrypted data as a stream.

    ``data`` ends normally only when the outermost packet was complete and nothing followed it; reading it raises
    `Truncated` or `ArmorInvalid` otherwise. So a decryption that meets an error reads it to its end first.
    """

    pkesks: tuple[Pkesk, ...]
    tag: int  # SEIPD or OCB
    version: int  # first octet of the encrypted-data packet, not part of ``data``
    data: Feed
    head: AeadHead | None  # of SEIPD version 2, not part of ``data`` either

    @property
    def recipients(self) -> tuple[str, ...]:
        """The recipients' OpenPGP key IDs in file order, upper hex."""
        return tuple(pkesk.key_id.hex().upper() for pkesk in self.pkesks)


def read_envelope(source: BinaryIO, limits: Limits, meter: Meter) -> Envelope:
    """Read up to the encrypted data.

    Raises `NotEncrypted`, `NoIntegrity`, `PasswordEncrypted`, `Truncated`, `ArmorInvalid`, or `Unsupported` for
    versions that no engine reads, too many recipients, and a message that names no recipient.
    """
    feed = Feed(_metered(packet_bytes(source), meter))
    try:
        return _read(feed, limits)
    except EndedEarly:
        raise Truncated(_CUT) from None
    except FramingError as error:
        raise ArmorInvalid(
            "The file begins like an OpenPGP message, but its packets are damaged. Send the file again.",
            detail=str(error),
        ) from None


def _metered(blocks: Iterator[bytes], meter: Meter) -> Iterator[bytes]:
    for block in blocks:
        meter.read(len(block))
        yield block


def _read(feed: Feed, limits: Limits) -> Envelope:
    if feed.at_end():
        raise NotEncrypted("The file holds an empty OpenPGP message. Encrypt the data and send it again.")
    pkesks: list[Pkesk] = []
    versions: set[int] = set()
    passed_over = 0
    header = _first_header(feed)
    if header.tag >= packets.NON_CRITICAL:  # text begins like this more often than a message does
        raise NotEncrypted("The file is not encrypted: it does not begin like an OpenPGP message.")
    while header.tag == packets.PKESK or _is_passed_over(header):
        pkesk = _read_pkesk(_small_body(feed, header)) if header.tag == packets.PKESK else None
        if isinstance(pkesk, Pkesk):
            pkesks.append(pkesk)
        else:
            passed_over += 1
            if pkesk is None:
                _pass_over(feed, header)
            else:
                versions.add(pkesk)
        _check_counts(pkesks, passed_over, limits)
        header = packets.read_header(feed)
    data = Feed(_checked(feed, header))
    _check_container(header, data, after_session_key=bool(pkesks or versions))
    version = data.octet()
    _check_versions(header.tag, version, named=bool(pkesks or versions))
    head = _read_aead_head(data) if version == 2 else None
    wanted = 3 if head is None else 6
    fitting = tuple(pkesk for pkesk in pkesks if pkesk.version == wanted)
    if not fitting:
        seen = sorted(versions.union(pkesk.version for pkesk in pkesks))
        raise Unsupported(
            f"The session key packets have version {', '.join(map(str, seen))}, but the encrypted data needs version "
            f"{wanted}, or an algorithm of their own that is not supported."
        )
    return Envelope(fitting, header.tag, version, data, head)


def _first_header(feed: Feed) -> Header:
    try:
        return packets.read_header(feed)
    except EndedEarly:
        raise
    except FramingError as error:
        raise NotEncrypted("The file is not encrypted: it is not an OpenPGP message.", detail=str(error)) from None


def _is_passed_over(header: Header) -> bool:
    return header.tag in _PASSED_OVER or header.tag >= packets.NON_CRITICAL


def _small_body(feed: Feed, header: Header) -> bytes:
    if header.length is None or header.length > _PKESK_CAP:
        raise FramingError("a session key packet is too long")
    return feed.take(header.length)


def _read_pkesk(raw: bytes) -> Pkesk | int:
    """The parsed packet, or its version number when that is neither 3 nor 6."""
    if not raw:
        raise FramingError("an empty session key packet")
    if raw[0] == 6:
        return _read_pkesk_6(raw)
    if raw[0] != 3:
        return raw[0]
    if len(raw) < 12:
        raise FramingError("a session key packet is too short")
    return Pkesk(3, key_id=raw[1:9], algorithm=raw[9], fields=raw[10:], raw=raw)


def _read_pkesk_6(raw: bytes) -> Pkesk | int:
    """RFC 9580 §5.1.2: the recipient is a key version and a fingerprint, or nothing at all."""
    at = 2 + raw[1] if len(raw) > 1 else 0
    if len(raw) < at + 2 or at == 0:
        raise FramingError("a session key packet is too short")
    recipient = raw[2:at]
    # RFC 9580 §5.5.4: the key ID is the end of a version 4 fingerprint, the beginning of a version 6 one
    if not recipient:
        key_id = ANONYMOUS
    elif recipient[0] == 4 and len(recipient) == 21:
        key_id = recipient[-8:]
    elif recipient[0] == 6 and len(recipient) == 33:
        key_id = recipient[1:9]
    else:
        raise FramingError("a session key packet for a recipient of unknown form")
    return Pkesk(6, key_id=key_id, algorithm=raw[at], fields=raw[at + 1 :], raw=raw)


def _read_aead_head(data: Feed) -> AeadHead:
    head = read_head(data)
    if head.refusal:
        raise Unsupported(f"The message uses {head.refusal}, which is not supported. Encrypt it with AES and OCB.")
    return head


def _pass_over(feed: Feed, header: Header) -> None:
    for _ in packets.body(feed, header):
        pass


def _check_counts(pkesks: list[Pkesk], passed_over: int, limits: Limits) -> None:
    """FAULTS.md P15: each recipient may cost a private key operation for each of our keys."""
    hidden = sum(pkesk.key_id == ANONYMOUS for pkesk in pkesks)
    if len(pkesks) > limits.max_recipients or passed_over > _PASSED_OVER_CAP:
        raise Unsupported(f"The message has more than {limits.max_recipients} recipients. Encrypt it to our key only.")
    if hidden > limits.max_anonymous_recipients:
        raise Unsupported(
            f"The message has more than {limits.max_anonymous_recipients} hidden recipients. "
            "Encrypt it to our key only, and name the key."
        )


def _check_container(header: Header, data: Feed, *, after_session_key: bool) -> None:
    # text may begin with an octet that looks like this packet's: look at its version as well (RFC 9580 §5.3)
    if header.tag == packets.SKESK and (after_session_key or data.octet() in (4, 5, 6)):
        raise PasswordEncrypted("The message is encrypted with a password. Encrypt it to our public key instead.")
    if header.tag == packets.SED:
        # RFC 9580 §5.7: without integrity protection anyone can change the data unnoticed
        raise NoIntegrity(
            "The message has no integrity protection, so nobody could tell whether it was changed on its way. "
            "Encrypt it with a current program (with MDC or AEAD)."
        )
    if header.tag in (packets.SEIPD, packets.OCB):
        return
    if after_session_key:
        raise FramingError(f"packet type {header.tag} after the session keys")
    if header.tag in packets.KEY_MATERIAL:
        raise NotEncrypted("The file is an OpenPGP key, not an encrypted message.")
    if header.tag in (packets.SIGNATURE, packets.ONE_PASS):
        raise NotEncrypted("The file is signed, but not encrypted.")
    raise NotEncrypted("The file is not encrypted. Encrypt it to our public key and send it again.")


def _check_versions(tag: int, version: int, *, named: bool) -> None:
    if not named:
        if version not in (1, 2):
            raise NotEncrypted("The file is not encrypted. Encrypt it to our public key and send it again.")
        raise Unsupported("The message names no recipient. Encrypt it to our public key.")
    if version != 1 and (tag, version) != (packets.SEIPD, 2):
        name = "SEIPD" if tag == packets.SEIPD else "OCB"
        raise Unsupported(
            f"The message uses version {version} of the {name} packet, which is not supported. "
            "Encrypt it with a current program (RFC 9580)."
        )


def _checked(feed: Feed, header: Header) -> Iterator[Block]:
    """The encrypted data; then proof that the packet was whole and the file ends there."""
    try:
        yield from packets.body(feed, header)
        while not feed.at_end():
            trailing = packets.read_header(feed)
            if trailing.tag not in _PASSED_OVER:
                raise FramingError(f"packet type {trailing.tag} after the message")
            _pass_over(feed, trailing)
    except EndedEarly:
        raise Truncated(_CUT) from None
    except FramingError as error:
        raise _trailing(str(error)) from None


def _trailing(detail: str) -> KeystoreError:
    return ArmorInvalid(
        "Something stands after the encrypted message. The file may hold one message and nothing else.",
        detail=detail,
    )

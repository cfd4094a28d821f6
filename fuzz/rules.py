"""What holds for every input, whoever makes it; `Broken` or any other error but the documented ones is a finding.

Three rooms, from the outside in: the armor, the packets in front of the encrypted data, the whole stream with a key
that opens it. And the certificates of signers. The first octet of an input chooses the variant, so that a fuzzer finds
all of them by itself; a certificate has none.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from fuzz.pair import KNOWN_PLAIN, NOW, SIGNED, SIGNED_TEXT, Pair, certificates
from keystore.errors import KeyRejected, KeystoreError
from keystore.openpgp import Limits, Message, decrypt, packets
from keystore.openpgp.armor import BLOCK_BYTES, packet_bytes
from keystore.openpgp.envelope import read_envelope
from keystore.openpgp.limits import Meter
from keystore.openpgp.packets import Block, Feed, FramingError
from keystore.pgp_signer import Signer
from tests.openpgp import packet_writer as write
from tests.openpgp.signature_writer import canonical

LIMITS = Limits(max_plain_bytes=1 << 23, ratio_free_bytes=1 << 20, max_seconds=5.0)

Rule = Callable[[bytes], None]

# what may be said of a file that nobody has decrypted
_PUBLIC = frozenset(
    {
        "pgp.not_encrypted",
        "pgp.armor_invalid",
        "pgp.truncated",
        "pgp.no_integrity",
        "pgp.password_encrypted",
        "pgp.unsupported",
    }
)
# the outcomes whose plain text is proven
_PROVEN = frozenset({"ok", "pgp.signature_required"})
_INSIDE = _PROVEN | {"pgp.corrupt", "data.too_large"}
_ANY = _PUBLIC | _INSIDE | {"pgp.wrong_key"}


class Broken(Exception):
    """A rule does not hold for an input."""


class _Pieces(io.BytesIO):
    """A file whose reads end early once its first block is read, as those of a pipe do."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._size = size

    def read(self, count: int | None = -1, /) -> bytes:
        """Up to ``count`` bytes."""
        return super().read(count if self.tell() < BLOCK_BYTES else self._size)


def armor(data: bytes) -> None:
    """Taking the armor off ends, or says why not; where the reads end makes no difference (RFC 9580 §6.2)."""
    size, text = _choice(data)
    if size & 0x80:
        # the text's end is read behind a first block of good armor
        lines = b"QUJD" * 16 + b"\n"
        begin = b"-----BEGIN PGP MESSAGE-----\n\n"
        text = (begin + lines * (BLOCK_BYTES // len(lines) + 1))[:BLOCK_BYTES] + text
    whole = _outcome(lambda: packet_bytes(io.BytesIO(text)), _PUBLIC)
    if whole != _outcome(lambda: packet_bytes(_Pieces(text, size % 64 + 1)), _PUBLIC):
        raise Broken("the outcome depends on where the reads end")


def envelope(data: bytes) -> None:
    """Packets are framed alike however the blocks are cut, and the envelope is read with public errors only."""
    size, message = _choice(data)
    if _framed(Feed(iter([message]))) != _framed(Feed(_cut(message, size % 64 + 1))):
        raise Broken("the packets depend on where the blocks end")
    _outcome(lambda: _encrypted_data(message), _PUBLIC)


class Stream:
    """The whole way to the plain text, with an unlocked key; called with one input."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair

    def __call__(self, data: bytes) -> None:
        """Read the input as a whole message, or as what stands inside encrypted data of each form."""
        variant, rest = _choice(data)
        own, exponent = self._pair.session_key, variant >> 5
        if variant % 4 == 0:
            # nobody without the session key may make a proven plain text
            code, plain = self._read(rest, _ANY)
            if code in _PROVEN and plain not in KNOWN_PLAIN:
                raise Broken("a plain text was proven that nobody encrypted")
        elif variant % 4 == 1:
            body = write.seipd_body(rest, session_key=own)
            self._read(self._pair.pkesk + write.packet(packets.SEIPD, body), _INSIDE)
        elif variant % 4 == 2:
            body = write.ocb_body(rest, exponent=exponent, session_key=own)
            self._read(self._pair.pkesk + write.packet(packets.OCB, body), _INSIDE)
        else:
            aead = write.GCM if variant & 0x10 else write.OCB
            body = write.seipd2_body(rest, exponent=exponent, aead=aead)
            self._read(self._pair.pkesk6 + write.packet(packets.SEIPD, body), _INSIDE)

    def _read(self, message: bytes, allowed: frozenset[str]) -> tuple[str, bytes]:
        pair = self._pair
        read = decrypt(
            io.BytesIO(message),
            [pair.key, pair.key6],
            limits=LIMITS,
            engine="native",
            signers=pair.signers,
            now=NOW,
        )
        code, plain = _outcome(lambda: iter(read), allowed)
        self._check_signature(read, code, plain)
        return code, plain

    def _check_signature(self, read: Message, code: str, plain: bytes) -> None:
        """Nothing is told before the integrity is proven, and nobody without a signer's key makes a good signature."""
        if (read.signature != "") != (code in _PROVEN):
            raise Broken(f"the signature is called {read.signature!r} although the outcome is {code}")
        if read.signature == "good":
            signers = {signer.fingerprint for signer in self._pair.signers}
            if read.signer not in signers or (plain != SIGNED and canonical(plain) != SIGNED_TEXT):
                raise Broken("a signature is good that nobody made")
        required = read.pair == self._pair.key6.fingerprint
        if code in _PROVEN and (code == "ok") != (not required or read.signature == "good"):
            raise Broken(f"{code} with a signature that is {read.signature}")


class Certificates:
    """A signer is read, or refused with a reason; nobody but its owner adds anything to a certificate."""

    def __init__(self) -> None:
        known = [Signer.stored(each) for each in certificates()]
        self._keys = {signer.fingerprint: set[bytes]() for signer in known}
        self._user_ids = {signer.fingerprint: set[str]() for signer in known}
        for signer in known:
            self._keys[signer.fingerprint] |= signer.keys.keys()
            self._user_ids[signer.fingerprint] |= set(signer.user_ids)

    def __call__(self, data: bytes) -> None:
        """Read the input as a certificate."""
        try:
            signer = Signer.stored(data)
        except KeyRejected:
            return
        if not signer.keys.keys() <= self._keys.get(signer.fingerprint, set()):
            raise Broken("a key signs for a certificate that its owner has not bound")
        if not self._user_ids[signer.fingerprint].issuperset(signer.user_ids):
            raise Broken("a user ID is shown that nobody signed")
        if Signer.stored(signer.certificate) != signer:
            raise Broken("what is stored of a certificate is not what was read")


def _choice(data: bytes) -> tuple[int, bytes]:
    return (data[0], data[1:]) if data else (0, b"")


def _outcome(blocks: Callable[[], Iterator[Block]], allowed: frozenset[str]) -> tuple[str, bytes]:
    """``ok`` or the error's code, and what was handed out if that is proven."""
    code, made = "ok", list[Block]()
    try:
        made.extend(blocks())
    except KeystoreError as error:
        code = error.code
        if code not in allowed:
            raise Broken(f"{code} is not an error of this part: {error.detail}") from error
    if sum(map(len, made)) > LIMITS.max_plain_bytes:
        raise Broken("more plain text than the limit allows")
    return code, b"".join(made) if code in _PROVEN else b""


def _encrypted_data(message: bytes) -> Iterator[Block]:
    yield from read_envelope(io.BytesIO(message), LIMITS, Meter(LIMITS)).data.rest()


def _cut(data: bytes, size: int) -> Iterator[Block]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def _framed(feed: Feed) -> list[object]:
    """Each packet's type and body, then the kind of the end."""
    found: list[object] = []
    try:
        while not feed.at_end():
            header = packets.read_header(feed)
            found.append((header, b"".join(packets.body(feed, header))))
    except FramingError as error:
        found.append(type(error))
    return found

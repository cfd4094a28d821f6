"""The throw-away pairs and signers that the stream is fuzzed with, and the corpus that is made for it."""

from __future__ import annotations

import bz2
from datetime import UTC, datetime
from pathlib import Path

import pysequoia

from keystore.armored import armored
from keystore.pgp_keys import PrivateKey
from keystore.pgp_signer import Signer
from keystore.secret import Secret
from tests.openpgp import certificate_writer, signature_writer
from tests.openpgp import packet_writer as write
from tests.openpgp.sender import PASSPHRASE, Gpg
from tests.openpgp_differential.session import Session, told_session

_PLAIN = b"identity,evtName,ts\n" + b"".join(b"user%d,Charged,17000%05d\n" % (n, n) for n in range(40))
_TEXT = _PLAIN.replace(b"\n", b"\r\n", 20) + b"\r"
KNOWN_PLAIN = frozenset({_PLAIN, _TEXT, b""})
# what a registered signer has signed: as it is, and as text, whose line ends do not count (RFC 9580 §5.2.1.2)
SIGNED, SIGNED_TEXT = _PLAIN, signature_writer.canonical(_TEXT)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
_PUBLIC_KEY = "PGP PUBLIC KEY BLOCK"
_SIGNERS = [signature_writer.key(*kind) for kind in (("Ed25519", 4), ("Ed25519", 6), ("P-256", 4), ("RSA", 4))]


class Pair:
    """A Curve25519 pair of version 4 and one of version 6, which open a session key ten times as fast as RSA does.

    Both are kept in ``folder`` for other runs. ``pkesk`` holds ``session_key`` for AES-256, encrypted to the first by
    gpg, ``pkesk6`` that of the packet writer, encrypted to the second, which Sequoia made. Signatures by ``signers``
    are verified in what is sent to the first, and required in what is sent to the second.
    """

    def __init__(self, folder: Path) -> None:
        private, private6 = folder / "pair.asc", folder / "pair6.pgp"
        packet, session_key = folder / "pkesk", folder / "session-key"
        if not private6.exists():
            secret, session = _made()
            private.write_bytes(secret)
            packet.write_bytes(session.pkesk)
            session_key.write_bytes(session.key)
            private6.write_bytes(bytes(pysequoia.Tsk.generate("fuzz", profile=pysequoia.Profile.RFC9580)))
        self.key = PrivateKey.unlock("fuzz", Secret(private.read_bytes()), Secret(PASSPHRASE.encode()))
        self.key6 = PrivateKey.unlock("fuzz6", Secret(private6.read_bytes()), None, signatures="require")
        self.signers = [Signer.read(certificate_writer.certificate(key), NOW) for key in _SIGNERS]
        self.pkesk = packet.read_bytes()
        self.session_key = session_key.read_bytes()
        self.pkesk6 = write.pkesk6(self.key6)


def _made() -> tuple[bytes, Session]:
    gpg = Gpg()
    try:
        gpg.make_key("fuzz", "ed25519", "cv25519")
        return gpg.secret_key("fuzz"), told_session(gpg, "fuzz", "AES256")
    finally:
        gpg.close()


def seeds(pair: Pair) -> dict[str, list[bytes]]:
    """Inputs to begin with, for each rule; the first octet is the variant."""
    inner, messages = [*_inner(), *_signed(pair)], _messages(pair)
    texts = [write.armor(message, newline=end) for message in messages for end in (b"\n", b"\r\n")]
    texts += [write.armor(messages[0], crc=b"AAAA", headers=b"Comment: x"), b"\xef\xbb\xbf" + texts[0]]
    tails = [b"QUI=\n-----END PGP MESSAGE-----\n", b"\n=AAAA\n-----END PGP MESSAGE-----\n", b"QQ==\n=AAAA\n-----END"]
    return {
        "armor": [b"\x05" + text for text in texts] + [b"\x85" + tail for tail in tails],
        "certificate": [text for data in certificates() for text in (data, armored(_PUBLIC_KEY, data, with_crc=True))],
        "envelope": [bytes([size]) + message for size in (0, 30) for message in messages],
        "stream": [
            *(b"\x00" + message for message in messages),
            *(b"\x00" + text for text in texts),
            *(bytes([variant]) + data for variant in (1, 2, 0x62, 3, 0x13) for data in inner),
        ],
    }


def _inner() -> list[bytes]:
    """What may stand inside, and a little of what may not."""
    literal = write.literal(_PLAIN, name=b"events.csv")
    parts = write.partial_packet(11, b"b\0\0\0\0\0" + _PLAIN, [9])
    return [
        literal,
        parts,
        write.old_packet(11, b"b\0\0\0\0\0" + _PLAIN),
        write.packet(10, b"PGP") + write.packet(4, bytes(13)) + literal + write.packet(2, bytes(20)),
        *(write.compressed(literal, algorithm) for algorithm in (0, 1, 2)),
        write.old_packet(8, b"\x03" + bz2.compress(literal)),
        write.compressed(write.compressed(parts)),
        literal + literal,
    ]


def certificates() -> list[bytes]:
    """Of the signers, and with all that a certificate may hold: subkeys, user IDs, revocations, forgeries."""
    first, second, third, fourth = _SIGNERS
    sub, sub6 = signature_writer.key("P-256", seed=2), signature_writer.key("P-384", 6)
    ends = certificate_writer.flags(certificate_writer.CERTIFY) + certificate_writer.seconds_valid(1 << 28)
    return [
        *(certificate_writer.certificate(key) for key in _SIGNERS),
        certificate_writer.certificate(first, certificate_writer.subkey(first, sub)),
        certificate_writer.primary(second)
        + certificate_writer.direct(second, extra=ends)
        + certificate_writer.user_id(second, b"second")
        + certificate_writer.subkey(second, sub6),
        certificate_writer.certificate(
            third,
            certificate_writer.user_id(third, b"later", made=signature_writer.SIGNED),
            certificate_writer.user_id(third, b"forged", by=first, claimed=third),
            certificate_writer.subkey(third, first),
            certificate_writer.revocation(third, first, reason=certificate_writer.RETIRED),
            certificate_writer.subkey(third, sub, by=first, claimed=third),
        ),
        certificate_writer.certificate(fourth, write.packet(17, b"\x05photo"), write.packet(12, b"\x06")),
    ]


def _signed(pair: Pair) -> list[bytes]:
    """The same with signatures: of each signer and each kind, in front and behind, by several, odd ones."""
    literal, text = write.literal(_PLAIN), write.literal(_TEXT, mode=b"u")
    first, second, *_ = _SIGNERS
    recipient = bytes([6]) + bytes.fromhex(pair.key6.fingerprint)
    odd = {
        "recipient": signature_writer.subpacket(35, recipient),
        "expiry": signature_writer.seconds(3, 86_400),
        "critical": signature_writer.subpacket(100 | signature_writer.CRITICAL, b"?"),
    }
    around = (
        signature_writer.one_pass(first, last=False)
        + signature_writer.one_pass(second)
        + write.compressed(literal)
        + signature_writer.signature(second, _PLAIN)
        + signature_writer.signature(first, _PLAIN)
    )
    return [
        *(signature_writer.signed(key, _PLAIN) for key in _SIGNERS),
        *(
            signature_writer.one_pass(key, kind=signature_writer.TEXT)
            + text
            + signature_writer.signature(key, _TEXT, kind=signature_writer.TEXT)
            for key in _SIGNERS
        ),
        *(signature_writer.signature(key, _PLAIN) + literal for key in _SIGNERS),
        *(signature_writer.signed(second, _PLAIN, extra=extra) for extra in odd.values()),
        signature_writer.signed(first, _PLAIN, hash_id=signature_writer.SHA3_512),
        write.compressed(signature_writer.signed(second, _PLAIN)),
        around,
    ]


def _messages(pair: Pair) -> list[bytes]:
    inner = write.compressed(write.literal(_PLAIN))
    own = pair.session_key
    body, ocb = write.seipd_body(inner, session_key=own), write.ocb_body(inner, exponent=1, session_key=own)
    parts = write.seipd_body(write.literal(_PLAIN), session_key=own)
    empty = write.seipd_body(write.literal(b""), session_key=own)
    return [
        pair.pkesk + write.packet(18, body),
        pair.pkesk + write.packet(9, body),
        pair.pkesk + write.partial_packet(18, parts, [9]),
        write.packet(10, b"PGP") + write.foreign_pkesk(bytes(8)) + pair.pkesk + write.packet(20, ocb),
        pair.pkesk6 + write.packet(18, write.seipd2_body(inner)),
        pair.pkesk6 + write.packet(18, write.seipd2_body(inner, aead=write.GCM, exponent=2)),
        pair.pkesk + write.packet(18, empty) + write.packet(21, bytes(9)),
        pair.pkesk + write.packet(18, write.seipd_body(signature_writer.signed(_SIGNERS[0], _PLAIN), session_key=own)),
        pair.pkesk6 + write.packet(18, write.seipd2_body(signature_writer.signed(_SIGNERS[1], _PLAIN))),
    ]

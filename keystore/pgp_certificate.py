"""Reading OpenPGP keys: from untrusted bytes to a certificate, and what may be asked of one (RFC 9580 §10).

A key arrives as untrusted bytes, so whatever is wrong with them is `KeyRejected`, whose text says what to do. Versions
4 and 6; secret keys need not be unlocked for anything here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from keystore.errors import KeyRejected
from keystore.openpgp.packets import FramingError
from keystore.openpgp.session_key import RSA_ALGORITHMS
from keystore.openpgp.signature import (
    AUTHENTICATE,
    CERTIFIES,
    CERTIFY,
    DIRECT_KEY,
    ENCRYPT_COMMUNICATIONS,
    ENCRYPT_STORAGE,
    KEY_REVOCATION,
    REVOKES,
    SIGN,
    SUBKEY_BINDING,
    Signature,
    read_signature,
)
from keystore.pgp_key_file import framed, key_packets
from keystore.pgp_key_packet import KeyPart, UnknownAlgorithm, read_part
from keystore.pgp_protection import is_stub

RSA_BITS = range(2048, 8193)
_SIGNATURE, _SECRET_KEY, _PUBLIC_KEY, _SECRET_SUBKEY, _USER_ID, _PUBLIC_SUBKEY, _USER_ATTRIBUTE = 2, 5, 6, 7, 13, 14, 17
# signatures, trust, user IDs and attributes, secret subkeys (RFC 9580 §10.2)
_BESIDE_A_SECRET_KEY = frozenset({2, 7, 12, 13, 17})
USER_ID_PREFIX = b"\xb4"  # the first octet of one that is framed for hashing (RFC 9580 §5.2.4)
_NAMES = {_USER_ID: USER_ID_PREFIX, _USER_ATTRIBUTE: b"\xd1"}
_KEYS = frozenset({_SECRET_KEY, _PUBLIC_KEY, _SECRET_SUBKEY, _PUBLIC_SUBKEY})
_ENCRYPTS = ENCRYPT_COMMUNICATIONS | ENCRYPT_STORAGE
_USAGE = {
    CERTIFY: "certify",
    SIGN: "sign",
    ENCRYPT_COMMUNICATIONS: "encrypt",
    ENCRYPT_STORAGE: "encrypt",
    AUTHENTICATE: "authenticate",
}


@dataclass(frozen=True)
class SubkeyFacts:
    """What a subkey is for."""

    fingerprint: str
    algorithm: str
    usage: tuple[str, ...]  # "certify", "sign", "encrypt", "authenticate"
    expires_at: datetime | None


@dataclass(frozen=True)
class KeyFacts:
    """What may be shown of a key pair."""

    fingerprint: str  # of the primary key, upper hex
    algorithm: str  # such as "RSA 3072" or "Ed25519 + Curve25519"
    user_ids: tuple[str, ...]
    subkeys: tuple[SubkeyFacts, ...]
    created_at: datetime
    expires_at: datetime | None  # when nobody can encrypt to it any more


@dataclass(slots=True, repr=False)
class Certificate:
    """A key as its file has it: the primary key first, then the subkeys, with the signatures on each."""

    parts: list[KeyPart] = field(default_factory=list)
    user_ids: list[str] = field(default_factory=list)
    signatures: list[list[Signature]] = field(default_factory=list)  # beside ``parts``; user IDs' are the primary's
    name: bytes = b""  # user ID or attribute that the next signature is about, framed for hashing

    @property
    def primary(self) -> KeyPart:
        """The primary key."""
        return self.parts[0]

    def encrypting(self) -> list[KeyPart]:
        """The parts that may encrypt, by algorithm and by key flags; without flags the algorithm alone decides."""
        return [part for part in self.parts if part.opens_session_keys and self._may(part, _ENCRYPTS)]

    def recipients(self) -> list[KeyPart]:
        """The parts that may encrypt and are not revoked, newest first; at the same age a subkey goes first."""
        usable = [part for part in self.encrypting() if not self.is_revoked(part)]
        return sorted(usable, key=lambda part: (part.created_at, not part.is_primary), reverse=True)

    def is_revoked(self, part: KeyPart) -> bool:
        """Whether a revocation is attached. It is not verified: who attaches one to a key file means it."""
        return any(signature.kind in REVOKES for signature in self._on(part))

    def revoked_from(self, part: KeyPart) -> datetime | None:
        """Since when the part is not to be believed: its creation, or a later time when it was only replaced."""
        revocations = [signature for signature in self._on(part) if signature.kind in REVOKES]
        times = [part.created_at if each.is_hard_revocation else each.created_at for each in revocations]
        return min(times, default=None)

    def expires_at(self, part: KeyPart) -> datetime | None:
        """From the newest self-signature: when the part does, or that signature (RFC 9580 §5.2.3.13, §5.2.3.18)."""
        newest = self.self_signatures(part)[-1:]
        ends = [part.created_at + each.valid_for for each in newest if each.valid_for is not None]
        ends += [each.created_at + each.expires_after for each in newest if each.expires_after is not None]
        return min(ends, default=None)

    def usable_until(self) -> datetime | None:
        """The expiry of the primary key, or of the encryption key that lasts longest when that is earlier."""
        recipients = [self.expires_at(part) for part in self.recipients()]
        known = [expires for expires in recipients if expires is not None]
        last = max(known) if known and len(known) == len(recipients) else None
        ends = [expires for expires in (self.expires_at(self.primary), last) if expires is not None]
        return min(ends, default=None)

    def usage(self, part: KeyPart) -> tuple[str, ...]:
        """Such as ``("certify", "sign")``."""
        flags = self._flags(part) or 0
        return tuple(dict.fromkeys(name for flag, name in _USAGE.items() if flag & flags))

    def signing(self) -> list[KeyPart]:
        """The parts that may sign by their key flags; without flags, all that can."""
        return [part for part in self.parts if self._may(part, SIGN)]

    def _on(self, part: KeyPart) -> list[Signature]:
        return self.signatures[self.parts.index(part)]

    def self_signatures(self, part: KeyPart) -> list[Signature]:
        """The signatures by which the primary key speaks of this part, oldest first."""
        wanted = CERTIFIES if part.is_primary else {SUBKEY_BINDING}
        issuer = self.primary.key_id
        ours = [signature for signature in self._on(part) if signature.kind in wanted and signature.issuer == issuer]
        # RFC 9580 §5.2.3.10: a version 6 key says what holds for all of it in direct key signatures
        direct = {DIRECT_KEY} if self.primary.version == 6 else set[int]()
        return sorted(ours, key=lambda signature: (signature.kind in direct, signature.created_at))

    def _may(self, part: KeyPart, purpose: int) -> bool:
        flags = self._flags(part)
        return flags is None or bool(flags & purpose)

    def _flags(self, part: KeyPart) -> int | None:
        """Those of the newest self-signature that has any (RFC 9580 §5.2.3.29); ``None`` when none does."""
        flags = [signature.key_flags for signature in self.self_signatures(part) if signature.key_flags is not None]
        return flags[-1] if flags else None


def parse_public(data: bytes) -> Certificate:
    """An armored or binary public certificate. Raises `KeyRejected`."""
    packets = key_packets(data)
    tags = [tag for tag, _ in packets]
    if tags[0] != _PUBLIC_KEY or tags.count(_PUBLIC_KEY) > 1 or _SECRET_KEY in tags:
        raise KeyRejected("The file is not exactly one OpenPGP public key.")
    return certificate_of(packets)


def parse_private(data: bytes) -> Certificate:
    """An armored or binary secret key, not yet unlocked. Raises `KeyRejected`."""
    packets = key_packets(data)
    tags = [tag for tag, _ in packets]
    if tags[0] == _PUBLIC_KEY:
        raise KeyRejected(
            "The file holds a public key only. Export the private key: gpg --armor --export-secret-keys KEY"
        )
    if tags.count(_SECRET_KEY) > 1 or _PUBLIC_KEY in tags:
        raise KeyRejected("The file holds several keys. Export exactly one private key.")
    if tags[0] != _SECRET_KEY or not _BESIDE_A_SECRET_KEY.issuperset(tags[1:]):
        raise KeyRejected("The file is not an OpenPGP private key.")
    return certificate_of(packets)


def public_packets(data: bytes) -> bytes:
    """The public certificate of a secret key that `parse_private` has accepted, binary; it holds no secret."""
    out = []
    for tag, content in key_packets(data):
        if tag in (_SECRET_KEY, _SECRET_SUBKEY):
            public = read_part(content, is_primary=tag == _SECRET_KEY, is_secret=True).public
            out.append(framed(_PUBLIC_KEY if tag == _SECRET_KEY else _PUBLIC_SUBKEY, public))
        else:
            out.append(framed(tag, content))
    return b"".join(out)


def certificate_of(packets: list[tuple[int, bytes]]) -> Certificate:
    """Packets that begin with a primary key, public or secret. Raises `KeyRejected`."""
    certificate = Certificate()
    try:
        for tag, content in packets:
            _add(certificate, tag, content)
    except UnknownAlgorithm as error:
        raise KeyRejected(
            f"The key uses {error}, which is not supported. Use RSA, Curve25519 or X25519, or export it without "
            "that subkey."
        ) from None
    except FramingError as error:
        raise KeyRejected("The key could not be read. Export it again.", detail=str(error)) from None
    return certificate


def _add(certificate: Certificate, tag: int, content: bytes) -> None:
    if tag in _KEYS:
        if content[:1] not in (b"\x04", b"\x06"):
            version = content[0] if content else "none"
            raise KeyRejected(f"The key has version {version}; only OpenPGP version 4 and 6 keys are supported.")
        primary, secret = tag in (_SECRET_KEY, _PUBLIC_KEY), tag in (_SECRET_KEY, _SECRET_SUBKEY)
        certificate.parts.append(read_part(content, is_primary=primary, is_secret=secret))
        certificate.signatures.append([])
        certificate.name = b""
    elif tag in _NAMES:
        # RFC 9580 §5.2.4: how a user ID and a user attribute are framed for hashing
        certificate.name = _NAMES[tag] + len(content).to_bytes(4) + content
        if tag == _USER_ID:
            certificate.user_ids.append(content.decode(errors="replace"))
    elif tag == _SIGNATURE and (signature := read_signature(content)) is not None:
        # these two are about the primary key, wherever they stand
        at = 0 if signature.kind in (DIRECT_KEY, KEY_REVOCATION) else -1
        certificate.signatures[at].append(replace(signature, name=certificate.name))


def check_usable(certificate: Certificate, now: datetime) -> None:
    """Raise `KeyRejected` unless somebody may encrypt to the key at ``now`` (FAULTS.md K7)."""
    if certificate.is_revoked(certificate.primary):
        raise KeyRejected("The key is revoked. Import or generate another one.")
    expires = certificate.expires_at(certificate.primary)
    if expires is not None and expires <= now:
        raise KeyRejected(f"The key expired on {expires:%Y-%m-%d}. Extend it (gpg --edit-key, expire) or use another.")
    encrypting = certificate.encrypting()
    if not encrypting:
        raise KeyRejected(NOTHING_ENCRYPTS)
    problems = [_problem(certificate, part, now) for part in encrypting]
    if all(problems):
        raise KeyRejected(next(problem for problem in problems if problem))


def _problem(certificate: Certificate, part: KeyPart, now: datetime) -> str:
    """Why nobody should encrypt to this part; empty when they may."""
    expires = certificate.expires_at(part)
    if certificate.is_revoked(part):
        return "The key's encryption subkey is revoked. Add a new one and export the key again."
    if expires is not None and expires <= now:
        return f"The key's encryption subkey expired on {expires:%Y-%m-%d}. Extend it and export the key again."
    if is_stub(part):
        return STUB
    if part.algorithm in RSA_ALGORITHMS and part.bits not in RSA_BITS:
        return f"The key is RSA with {part.bits} bits; {RSA_BITS[0]} to {RSA_BITS[-1]} are accepted."
    return ""


STUB = "The file holds only a stub of the encryption key (it lives on a smartcard or elsewhere). Export the whole key."
NOTHING_ENCRYPTS = (
    "The key has no RSA or ECDH encryption subkey (X25519 and X448 will do as well). Add one (gpg --edit-key, addkey) "
    "and export it again."
)


def key_facts(certificate: Certificate) -> KeyFacts:
    """What may be shown of the key; public or secret, locked or not."""
    primary, *subkeys = certificate.parts
    encrypting = [part.name for part in certificate.encrypting()]
    return KeyFacts(
        fingerprint=primary.fingerprint.hex().upper(),
        algorithm=" + ".join(dict.fromkeys([primary.name, *encrypting])),
        user_ids=tuple(certificate.user_ids),
        subkeys=tuple(
            SubkeyFacts(
                part.fingerprint.hex().upper(), part.name, certificate.usage(part), certificate.expires_at(part)
            )
            for part in subkeys
        ),
        created_at=primary.created_at,
        expires_at=certificate.usable_until(),
    )


def public_facts(public_armored: bytes) -> KeyFacts:
    """What may be shown of a stored pair, from its public certificate. Raises `KeyRejected`."""
    return key_facts(parse_public(public_armored))

"""A signer: somebody whose signatures on messages count for an account (RFC 9580 §5.2, §10.1).

A signer is read from a public certificate. Nothing in one is believed that its primary key has not signed with an
algorithm and a hash that we verify; the expiry dates and key flags are those of the newest such signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from keystore.errors import KeyRejected
from keystore.openpgp.signature import Signature
from keystore.pgp_binding import believed, has_signed_back
from keystore.pgp_certificate import RSA_BITS, Certificate, certificate_of
from keystore.pgp_key_file import framed, key_packets
from keystore.pgp_key_packet import KeyPart
from keystore.pgp_verify import can_verify, verified_digest

_PUBLIC_KEY, _SECRET = 6, frozenset({5, 7})
# signatures, public key, user IDs, public subkeys, user attributes
_KEPT = frozenset({2, 6, 13, 14, 17})
_MEASURED_IN_BITS = frozenset({1, 2, 3, 17})


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A primary key or subkey that may sign, and from when on its signatures are not good any more."""

    part: KeyPart
    expires_at: datetime | None  # its own or its primary key's, what is earlier
    revoked_from: datetime | None

    def was_valid(self, at: datetime) -> bool:
        """Whether the key had neither expired nor been revoked at that time."""
        return (self.expires_at is None or at < self.expires_at) and (
            self.revoked_from is None or at < self.revoked_from
        )


@dataclass(frozen=True, slots=True)
class Signer:
    """A public certificate whose signing keys are known."""

    fingerprint: str  # of the primary key, upper hex
    algorithm: str  # such as "RSA 3072" or "Ed25519", of the keys that sign
    user_ids: tuple[str, ...]
    expires_at: datetime | None  # when the last of its signing keys does
    certificate: bytes = field(repr=False)  # binary packets, nothing secret
    keys: Mapping[bytes, SigningKey] = field(repr=False)  # by OpenPGP key ID

    @classmethod
    def read(cls, data: bytes, now: datetime) -> Signer:
        """A signer's armored or binary certificate, checked before it is stored; ``now`` is aware.

        Raises `KeyRejected` (a private key, several keys, too large, damaged, no verifiable self-signature, revoked,
        expired, nothing in it that signs and can be verified here), whose text says what to do.
        """
        signer = cls.stored(data)
        if signer.expires_at is not None and signer.expires_at <= now:
            raise KeyRejected(
                f"The signer's key expired on {signer.expires_at:%Y-%m-%d}. Extend it (gpg --edit-key, expire) and "
                "export it again."
            )
        if not any(key.was_valid(now) for key in signer.keys.values()):
            raise KeyRejected("The signer's signing subkey is revoked. Add a new one and export the key again.")
        return signer

    @classmethod
    def stored(cls, certificate: bytes) -> Signer:
        """The same from a certificate that `read` has accepted once, whatever has expired since.

        What such a signer signed in time is still good. Raises `KeyRejected` for what never was acceptable.
        """
        packets = _public_packets(certificate)
        own = believed(certificate_of(packets))
        _check_primary(own)
        keys = {part.key_id: _signing_key(own, part) for part in _signing_parts(own)}
        ends = [key.expires_at for key in keys.values()]
        return cls(
            fingerprint=own.primary.fingerprint.hex().upper(),
            algorithm=" + ".join(dict.fromkeys(key.part.name for key in keys.values())),
            user_ids=tuple(own.user_ids),
            expires_at=None if None in ends else max(end for end in ends if end is not None),
            certificate=b"".join(framed(tag, content) for tag, content in packets),
            keys=keys,
        )

    def verdict(self, issuer: bytes, signature: Signature, digest: bytes) -> Literal["good", "bad", "expired"]:
        """What a signature by the key with the ID ``issuer`` is worth, whose digest is ``digest``.

        ``expired``: the key was expired or revoked at the time that the signature says. Raises ``KeyError`` when no
        key here has that ID.
        """
        key = self.keys[issuer]
        if not verified_digest(key.part, signature, digest) or signature.created_at < key.part.created_at:
            return "bad"
        return "good" if key.was_valid(signature.created_at) else "expired"


def _public_packets(data: bytes) -> list[tuple[int, bytes]]:
    packets = key_packets(data, wanted="public")
    tags = [tag for tag, _ in packets]
    if _SECRET.intersection(tags):
        raise KeyRejected(
            "The file holds a private key, which nobody but its owner may have. Export the public key: gpg --armor "
            "--export KEY"
        )
    if tags[0] != _PUBLIC_KEY:
        raise KeyRejected("The file is not an OpenPGP public key. Export it with: gpg --armor --export KEY")
    if tags.count(_PUBLIC_KEY) > 1:
        raise KeyRejected("The file holds several keys. Export exactly one public key.")
    return [(tag, content) for tag, content in packets if tag in _KEPT]


def _check_primary(own: Certificate) -> None:
    primary = own.primary
    if not can_verify(primary):
        raise KeyRejected(f"The primary key signs with {primary.name}, which cannot be verified here. Use {_USE}.")
    if not _is_strong(primary):
        raise KeyRejected(f"The primary key is {primary.name}, which is not accepted. Use {_USE}.")
    if own.is_revoked(primary):
        raise KeyRejected("The signer's key is revoked. Register another one.")
    if not own.self_signatures(primary):
        raise KeyRejected(
            "No self-signature of the key could be verified: it is forged or damaged, or made with SHA-1 or MD5, which "
            "prove nothing any more. Renew it (gpg --cert-digest-algo SHA256 --quick-set-expire KEY 0) and export the "
            "key again."
        )


_USE = f"RSA with {RSA_BITS[0]} to {RSA_BITS[-1]} bits, Ed25519, or ECDSA"


def _signing_parts(own: Certificate) -> list[KeyPart]:
    """The parts that sign, at least one."""
    named = own.signing()
    usable = [part for part in named if _is_strong(part) and has_signed_back(own, part)]
    if usable:
        return usable
    problems = [f"{part.name} cannot be used" for part in named if can_verify(part) and not _is_strong(part)]
    if any(can_verify(part) for part in named) and not problems:
        problems = ["no signature of the signing subkey over its primary key could be verified"]
    raise KeyRejected(
        f"The key has nothing to sign with that can be verified here{''.join(f'; {text}' for text in problems)}. Add a "
        f"signing subkey (gpg --edit-key, addkey; {_USE}) and export the key again."
    )


def _is_strong(part: KeyPart) -> bool:
    return can_verify(part) and (part.algorithm not in _MEASURED_IN_BITS or part.bits in RSA_BITS)


def _signing_key(own: Certificate, part: KeyPart) -> SigningKey:
    ends = [end for each in (own.primary, part) if (end := own.expires_at(each)) is not None]
    return SigningKey(part, min(ends, default=None), own.revoked_from(part))

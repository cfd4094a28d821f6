"""Reading OpenPGP keys: from untrusted bytes to PGPy's key object, and what may be asked of one (RFC 9580 §10).

A key arrives as untrusted bytes, so size and packet types are checked before PGPy parses it, and whatever PGPy raises
becomes `KeyRejected`. PGPy's objects are untyped; only `keystore.pgp_keys` and `keystore.pgp_encrypt` see them.
"""

from __future__ import annotations

import base64
import binascii
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pgpy
from cryptography.utils import CryptographyDeprecationWarning
from pgpy.constants import KeyFlags, PubKeyAlgorithm, SignatureType, String2KeyType

from keystore.errors import KeyRejected
from keystore.openpgp.packets import Feed, FramingError, body, read_header
from keystore.openpgp.session_key import ECDH_ALGORITHM, RSA_ALGORITHMS

# PGPy 0.6 asks cryptography for ciphers under their old names; users can do nothing about it
warnings.filterwarnings("ignore", r".*has been moved to cryptography\.hazmat\.decrepit", CryptographyDeprecationWarning)

MAX_KEY_BYTES = 64 * 1024
_RSA_BITS = range(2048, 8193)
_SECRET_KEY, _PUBLIC_KEY, _PUBLIC_SUBKEY = 5, 6, 14
# signatures, trust, user IDs and attributes, secret subkeys (RFC 9580 §10.2)
_BESIDE_A_SECRET_KEY = frozenset({2, 7, 12, 13, 17})
ENCRYPTS = frozenset({KeyFlags.EncryptCommunications, KeyFlags.EncryptStorage})
_CERTIFIES = frozenset(
    {
        SignatureType.Generic_Cert,
        SignatureType.Persona_Cert,
        SignatureType.Casual_Cert,
        SignatureType.Positive_Cert,
        SignatureType.DirectlyOnKey,
    }
)
_USAGE = {
    KeyFlags.Certify: "certify",
    KeyFlags.Sign: "sign",
    KeyFlags.EncryptCommunications: "encrypt",
    KeyFlags.EncryptStorage: "encrypt",
    KeyFlags.Authentication: "authenticate",
}
_CURVES = {"NIST_P256": "NIST P-256", "NIST_P384": "NIST P-384", "NIST_P521": "NIST P-521"}
_ARMORED = re.compile(
    rb"-----BEGIN PGP (PUBLIC|PRIVATE) KEY BLOCK-----[ \t]*\r?\n(?:[^\r\n:]+:[^\r\n]*\r?\n)*[ \t]*\r?\n"
    rb"([A-Za-z0-9+/\s]+={0,2}\s*?)(?:\n=[A-Za-z0-9+/]{4}\s*)?-----END PGP \1 KEY BLOCK-----"
)


@dataclass(frozen=True)
class SubkeyFacts:
    """What a subkey is for."""

    fingerprint: str
    algorithm: str
    usage: tuple[str, ...]  # "certify", "sign", "encrypt", "authenticate"


@dataclass(frozen=True)
class KeyFacts:
    """What may be shown of a key pair."""

    fingerprint: str  # of the primary key, upper hex
    algorithm: str  # such as "RSA 3072" or "Ed25519 + Curve25519"
    user_ids: tuple[str, ...]
    subkeys: tuple[SubkeyFacts, ...]
    created_at: datetime
    expires_at: datetime | None


def parse_public(data: bytes) -> Any:
    """PGPy's key for an armored or binary public certificate. Raises `KeyRejected`."""
    return _parse(_binary(data), _PUBLIC_KEY)


def encryption_keys(key: Any) -> list[Any]:
    """The parts of ``key`` that may encrypt and are neither revoked nor of an unknown algorithm, newest first."""
    usable = [part for part in parts(key) if may_encrypt(part) and not _revoked(part)]
    return sorted(usable, key=lambda part: (part.created, not part.is_primary), reverse=True)


def parse_private(data: bytes) -> Any:
    """PGPy's key for an armored or binary secret key, not yet unlocked. Raises `KeyRejected`."""
    return _parse(_binary(data), _SECRET_KEY)


def _binary(data: bytes) -> bytes:
    """The packets of a key file, armored or not."""
    if len(data) > MAX_KEY_BYTES:
        raise KeyRejected(f"The key file is larger than {MAX_KEY_BYTES // 1024} KiB. Export one key without photos.")
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not data:
        raise KeyRejected("The key file is empty.")
    if data[0] & 0x80:
        return data
    if data.count(b"-----BEGIN PGP ") > 1:
        raise KeyRejected("The file holds several armored blocks. Export exactly one private key.")
    armored = _ARMORED.fullmatch(data.rstrip())
    if armored is None:
        raise KeyRejected("The file is not an OpenPGP key. Export it with: gpg --armor --export-secret-keys KEY")
    try:
        return base64.b64decode(b"".join(armored[2].split()), validate=True)
    except binascii.Error:
        raise KeyRejected("The armor of the key file is damaged. Export the key again.") from None


def _parse(data: bytes, wanted: int) -> Any:
    """Check the packets' types, then let PGPy parse them."""
    tags = [tag for tag, _ in _packets(data)]
    if wanted == _SECRET_KEY:
        if tags[0] == _PUBLIC_KEY:
            raise KeyRejected(
                "The file holds a public key only. Export the private key: gpg --armor --export-secret-keys KEY"
            )
        if tags.count(_SECRET_KEY) > 1 or _PUBLIC_KEY in tags:
            raise KeyRejected("The file holds several keys. Export exactly one private key.")
        if tags[0] != _SECRET_KEY or not _BESIDE_A_SECRET_KEY.issuperset(tags[1:]):
            raise KeyRejected("The file is not an OpenPGP private key.")
    elif tags[0] != _PUBLIC_KEY or tags.count(_PUBLIC_KEY) > 1 or _SECRET_KEY in tags:
        raise KeyRejected("The file is not exactly one OpenPGP public key.")
    for tag, first in _packets(data):
        if tag in (_SECRET_KEY, 7, _PUBLIC_KEY, _PUBLIC_SUBKEY) and first != 4:
            raise KeyRejected(f"The key has version {first}; only OpenPGP version 4 keys are supported.")
    try:
        key, _ = pgpy.PGPKey.from_blob(data)
        key_facts(key)
    except Exception as error:
        raise KeyRejected("The key could not be read. Export it again.", detail=type(error).__name__) from error
    return key


def _packets(data: bytes) -> Iterator[tuple[int, int]]:
    """Type and first octet of each packet."""
    feed = Feed(iter((data,)))
    try:
        while not feed.at_end():
            header = read_header(feed)
            content = b"".join(body(feed, header))
            yield header.tag, content[0] if content else -1
    except FramingError as error:
        raise KeyRejected("The key file is damaged. Export the key again.", detail=str(error)) from None


def parts(key: Any) -> list[Any]:
    """The primary key and its subkeys, in file order."""
    return [key, *key.subkeys.values()]


def openpgp_key_id(part: Any) -> bytes:
    """The last 8 octets of the fingerprint (RFC 9580 §5.5.4.2)."""
    return bytes.fromhex(part.fingerprint.keyid)


def _self_signatures(part: Any) -> list[Any]:
    """The signatures by which the primary key speaks of this part, oldest first; unverified."""
    if part.is_primary:
        on_uids = [signature for uid in part.userids for signature in uid.__sig__]
        wanted, issuer, found = _CERTIFIES, part.fingerprint.keyid, on_uids + part.__sig__
    else:
        wanted, issuer, found = frozenset({SignatureType.Subkey_Binding}), part.parent.fingerprint.keyid, part.__sig__
    ours = [signature for signature in found if signature.type in wanted and signature.signer == issuer]
    return sorted(ours, key=lambda signature: signature.created)


def _flags(part: Any) -> frozenset[Any]:
    signatures = [signature for signature in _self_signatures(part) if signature.key_flags]
    return frozenset(signatures[-1].key_flags) if signatures else frozenset()


def _expires_at(part: Any) -> datetime | None:
    """From the newest self-signature (RFC 9580 §5.2.3.13)."""
    signatures = _self_signatures(part)
    if not signatures or not signatures[-1].key_expiration:
        return None
    expires: datetime = part.created + signatures[-1].key_expiration
    return expires


def _revoked(part: Any) -> bool:
    """Whether a revocation is attached. It is not verified: who attaches one to a key file means it."""
    return any(
        signature.type in (SignatureType.KeyRevocation, SignatureType.SubkeyRevocation) for signature in part.__sig__
    )


def may_encrypt(part: Any) -> bool:
    """By algorithm and by key flags; without flags the algorithm alone decides."""
    algorithm = int(part.key_algorithm)
    if algorithm not in RSA_ALGORITHMS and algorithm != ECDH_ALGORITHM:
        return False
    flags = _flags(part)
    return not flags or bool(flags & ENCRYPTS)


def check_usable(key: Any, now: datetime) -> None:
    """Raise `KeyRejected` unless somebody may encrypt to the key at ``now`` (FAULTS.md K7)."""
    if _revoked(key):
        raise KeyRejected("The key is revoked. Import or generate another one.")
    expires = _expires_at(key)
    if expires is not None and expires <= now:
        raise KeyRejected(f"The key expired on {expires:%Y-%m-%d}. Extend it (gpg --edit-key, expire) or use another.")
    encrypting = [part for part in parts(key) if may_encrypt(part)]
    if not encrypting:
        raise KeyRejected(
            "The key has no RSA or ECDH encryption subkey. Add one (gpg --edit-key, addkey) and export it again."
        )
    problems = [_problem(part, now) for part in encrypting]
    if all(problems):
        raise KeyRejected(next(problem for problem in problems if problem))


def _problem(part: Any, now: datetime) -> str:
    """Why nobody should encrypt to this part; empty when they may."""
    expires = _expires_at(part)
    if _revoked(part):
        return "The key's encryption subkey is revoked. Add a new one and export the key again."
    if expires is not None and expires <= now:
        return f"The key's encryption subkey expired on {expires:%Y-%m-%d}. Extend it and export the key again."
    if is_stub(part):
        return STUB
    if int(part.key_algorithm) in RSA_ALGORITHMS and part.key_size not in _RSA_BITS:
        return f"The key is RSA with {part.key_size} bits; {_RSA_BITS[0]} to {_RSA_BITS[-1]} are accepted."
    return ""


STUB = "The file holds only a stub of the encryption key (it lives on a smartcard or elsewhere). Export the whole key."


def is_stub(part: Any) -> bool:
    """GnuPG's mark for a secret part that is kept elsewhere."""
    s2k = part._key.keymaterial.s2k
    return bool(s2k) and s2k.specifier == String2KeyType.GNUExtension


def key_facts(key: Any) -> KeyFacts:
    """What may be shown of the key; public or secret, locked or not."""
    encrypting = [_algorithm(part) for part in parts(key) if may_encrypt(part)]
    return KeyFacts(
        fingerprint=str(key.fingerprint),
        algorithm=" + ".join(dict.fromkeys([_algorithm(key), *encrypting])),
        user_ids=tuple(str(uid._uid.uid) for uid in key.userids),
        subkeys=tuple(
            SubkeyFacts(str(part.fingerprint), _algorithm(part), _usage(part)) for part in key.subkeys.values()
        ),
        created_at=key.created,
        expires_at=_expires_at(key),
    )


def _algorithm(part: Any) -> str:
    algorithm = part.key_algorithm
    if algorithm in (PubKeyAlgorithm.ECDH, PubKeyAlgorithm.ECDSA, PubKeyAlgorithm.EdDSA):
        name = str(part.key_size.name)
        return _CURVES.get(name, name)
    name = "RSA" if int(algorithm) in RSA_ALGORITHMS else str(algorithm.name)
    return f"{name} {part.key_size}"


def _usage(part: Any) -> tuple[str, ...]:
    flags = _flags(part)
    return tuple(dict.fromkeys(name for flag, name in _USAGE.items() if flag in flags))

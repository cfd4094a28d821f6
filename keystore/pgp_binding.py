"""Which signatures of a certificate its own primary key has made (RFC 9580 §5.2.1, §5.2.4).

Whoever carries a certificate can add packets to it: subkeys, user IDs, key flags, expiry dates. Only what the primary
key has signed belongs to it, and a signing subkey must have signed the primary key in return (RFC 9580 §5.2.1.9).
"""

from __future__ import annotations

from keystore.openpgp.packets import FramingError
from keystore.openpgp.signature import PRIMARY_KEY_BINDING, REVOKES, SUBKEY_BINDING, Signature, new_hash, read_signature
from keystore.pgp_certificate import USER_ID_PREFIX, Certificate
from keystore.pgp_key_packet import KeyPart
from keystore.pgp_verify import can_verify, verified

_ABOUT_A_SUBKEY = frozenset({SUBKEY_BINDING, 0x28})
_ABOUT_THE_KEY_ALONE = frozenset({0x1F, 0x20})


def genuine(certificate: Certificate, part: KeyPart, signature: Signature) -> bool | None:
    """Whether the primary key made this signature on ``part`` or on one of the user IDs.

    ``None`` when that cannot be told: another key is said to have made it, or it uses an algorithm or a hash that we
    do not verify (SHA-1, MD5).
    """
    primary = certificate.primary
    if signature.issuer != primary.key_id or not can_verify(primary) or new_hash(signature.hash_id, b"") is None:
        return None
    if signature.kind in _ABOUT_A_SUBKEY:
        about = part.framed
    else:
        about = b"" if signature.kind in _ABOUT_THE_KEY_ALONE else signature.name
    return verified(primary, signature, primary.framed + about)


def believed(certificate: Certificate) -> Certificate:
    """The same with only what its primary key has said, and without the subkeys and user IDs that it did not bind.

    Revocations stay unless they are forged: who attaches one to a certificate of his own means it.
    """
    kept = Certificate()
    for part, signatures in zip(certificate.parts, certificate.signatures, strict=True):
        ours = [signature for signature in signatures if _is_believed(certificate, part, signature)]
        if part.is_primary or any(signature.kind == SUBKEY_BINDING for signature in ours):
            kept.parts.append(part)
            kept.signatures.append(ours)
    named = dict.fromkeys(signature.name for signature in kept.signatures[0] if signature.name[:1] == USER_ID_PREFIX)
    kept.user_ids = [name[5:].decode(errors="replace") for name in named]
    return kept


def _is_believed(certificate: Certificate, part: KeyPart, signature: Signature) -> bool:
    if signature.kind in REVOKES:
        return genuine(certificate, part, signature) is not False
    # RFC 9580 §5.2.3.7: a critical subpacket that we do not know
    return signature.understood and genuine(certificate, part, signature) is True


def is_forged(certificate: Certificate, part: KeyPart) -> bool:
    """Whether a subkey has no binding that its primary key made; a primary key needs none.

    SHA-1 is good enough here: keys that were bound with it are still in use, and whoever adds a subkey to a file cannot
    have chosen what the key's owner signed. A primary key whose algorithm we cannot verify is believed.
    """
    primary = certificate.primary
    if part.is_primary or not can_verify(primary):
        return False
    about = primary.framed + part.framed
    return not any(verified(primary, each, about, with_sha1=True) for each in certificate.self_signatures(part))


def has_signed_back(certificate: Certificate, part: KeyPart) -> bool:
    """Whether a subkey that signs has agreed to belong to this primary key; a primary key need not."""
    if part.is_primary:
        return True
    about = certificate.primary.framed + part.framed
    embedded = [_embedded(binding) for binding in certificate.self_signatures(part)]
    return any(
        back is not None and back.kind == PRIMARY_KEY_BINDING and back.understood and verified(part, back, about)
        for back in embedded
    )


def _embedded(binding: Signature) -> Signature | None:
    try:
        return read_signature(binding.embedded) if binding.embedded else None
    except FramingError:
        return None
